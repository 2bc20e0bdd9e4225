"""A Target that counts rows as failed or not consumed and does not name them: nobody can tell which to send again."""

from pathlib import Path

import pytest
from aiohttp import web

from pipeline.edges.host import Host
from pipeline.edges.store.mailbox import Request
from pipeline.edges.store.state import open_state
from pipeline.jobs.control import carry_out
from pipeline.jobs.one_shot import load_export
from tests.tools.support import answering, settings_for, write_export

ROWS = 10
COUNTED = {"batchSize": ROWS, "profilesNotFound": 0}


def answer_with(**counts: object) -> str:
    return "".join(f"<{name}>{count}</{name}>" for name, count in {**COUNTED, **counts}.items())


@pytest.mark.parametrize(
    ("inside", "told"),
    [
        (answer_with(consumedCount=7, failedUpdates=1), "has nothing to send again; 4 rows cannot be told"),
        (
            answer_with(consumedCount=10, failedUpdates=3)
            + "<batchProfiles><profile><id>u1</id><status>failed</status></profile></batchProfiles>",
            "1 row of job",
        ),
        (answer_with(consumedCount=10, failedUpdates=0), "has nothing to send again."),
    ],
)
async def test_retry_says_what_it_cannot_send(tmp_path: Path, inside: str, told: str) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        reply = f"<status>complete</status>{inside}"
        if request.method == "POST":
            await request.read()
            url = f"{request.url.origin()}/m2/demo/profile/batchStatus?batchId=1"
            reply = f"<success>true</success><batchStatus>{url}</batchStatus>"
        return web.Response(text=f"<response>{reply}</response>", content_type="application/xml")

    async with answering(answer) as base_url:
        settings = settings_for(base_url, tmp_path / "state", settle={"poll_first_s": 0.01, "poll_max_s": 0.05})
        export = write_export(tmp_path / "export.csv", *(f"u{number},a,1" for number in range(ROWS)))
        report = (await load_export(export, settings, host=Host())).as_json()
    async with open_state(settings.state.directory, "demo", Host(), min_free_bytes=0) as state:
        said = await carry_out(Request("", "retry", report["job"]), state, running=None)
        retried = [job for job in state.ledger.jobs() if job.retry_of == report["job"]]
        # As what was dropped is, it may be kept with its job, or not at all.
        kept = state.folder(report["job"]).directory / "drop" / export.name
        kept.parent.mkdir()
        export.rename(kept)
        said_of_kept = await carry_out(Request("", "retry", report["job"]), state, running=None)
        kept.unlink()
        said_of_gone = await carry_out(Request("", "retry", report["job"]), state, running=None)
    assert told in said
    unnamed = report["rows"]["failed"] + report["rows"]["unconfirmed"] - len(retried)
    assert (f"{unnamed} rows cannot be told from the others" in said) == bool(unnamed)
    assert (f"`load {export} --again` sends all rows again" in said) == bool(unnamed)
    if retried:
        # There is one already, and a second says no more than that.
        assert f"by job {retried[0].job_id} already" in said_of_kept
        assert said_of_gone == said_of_kept
        return
    assert (f"`load {kept} --again` sends all rows again" in said_of_kept) == bool(unnamed)
    assert ("of export.csv, which was not kept, sends all rows again" in said_of_gone) == bool(unnamed)
