"""The answers of the web server, over ledgers of real loads: what `status --json` tells, and nothing of a row."""

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from pipeline.core.errors import FatalError, UnexpectedError
from pipeline.edges.clock import Clock
from pipeline.jobs.status.tenants import statuses
from pipeline.service.web.latest import FRESH_S, Latest
from tests.service.web.ledgers import enter_jobs, load_canaries
from tests.service.web.site import of_clients, of_settings, site
from tests.tools.faults.canaries import is_marked
from tests.tools.support import until

ALWAYS = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Frame-Options": "DENY",
    "Server": "profile-pipeline",
}
#: Every address, and some that are none.
ADDRESSES = ("/healthz", "/readyz", "/status", "/jobs", "/jobs?limit=x", "/jobs/none", "/openapi.json", "/none")


@pytest.fixture(scope="module")
def canaries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("canaries")
    load_canaries(directory)
    return directory


async def test_the_status_is_that_of_the_command(canaries: Path) -> None:
    configuration = of_settings(canaries)
    async with site(configuration) as at:
        told = (await at.get("/status")).told
    assert told == statuses(configuration, None, datetime.now(UTC)).as_json()
    assert [job["state"] for job in told["jobs"]] == ["done", "incomplete", "failed", "failed"]


async def test_jobs_are_those_of_the_status_the_latest_first(canaries: Path) -> None:
    async with site(of_settings(canaries)) as at:
        jobs, status = (await at.get("/jobs")).told, (await at.get("/status")).told
        assert sorted(jobs["jobs"], key=lambda job: job["job"]) == sorted(status["jobs"], key=lambda job: job["job"])
        assert jobs["jobs"] == sorted(jobs["jobs"], key=lambda job: job["job"], reverse=True)
        assert jobs["next_before"] is None
        for job in jobs["jobs"]:
            assert (await at.get(f"/jobs/{job['job']}")).told == job
            assert job["client_code"] == "demo"


async def test_no_id_and_no_value_is_in_an_answer(canaries: Path) -> None:
    async with site(of_settings(canaries)) as at:
        ids = [job["job"] for job in (await at.get("/jobs")).told["jobs"]]
        assert len(ids) == 4
        for path in (*ADDRESSES, "/", *(f"/jobs/{job_id}" for job_id in ids)):
            for accepted in ("*/*", "text/html"):
                said = await at.get(path, Accept=accepted)
                assert not is_marked(said.body + repr(said.headers).encode()), path


async def test_every_answer_has_the_headers_that_protect(canaries: Path) -> None:
    async with site(of_settings(canaries)) as at:
        for path in ADDRESSES:
            for method in ("GET", "HEAD", "POST", "OPTIONS", "TRACE"):
                said = await at.get(path, method=method)
                assert {name: said.headers.get(name) for name in ALWAYS} == ALWAYS, (method, path)
                assert not [name for name in said.headers if name.startswith("Access-Control")]


async def test_head_is_the_answer_without_its_body(canaries: Path) -> None:
    async with site(of_settings(canaries)) as at:
        whole, head = await at.get("/jobs"), await at.get("/jobs", method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Length"] == whole.headers["Content-Length"] == str(len(whole.body))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
async def test_nothing_can_be_changed(tmp_path: Path, method: str) -> None:
    async with site(of_settings(tmp_path)) as at:
        said = await at.get("/jobs", method=method)
        assert (said.status, said.headers["Allow"]) == (405, "GET, HEAD")
        assert said.told["title"] == "Method Not Allowed"


async def test_a_state_directory_in_which_nothing_was_loaded(tmp_path: Path) -> None:
    async with site(of_settings(tmp_path)) as at:
        assert (await at.get("/status")).told["jobs"] == []
        assert (await at.get("/jobs")).told == {"jobs": [], "next_before": None}
        assert (await at.get("/jobs/20261123T021400Z-a-3f2a")).status == 404


class TestPagesOfJobs:
    async def test_each_job_is_on_one_of_them(self, tmp_path: Path) -> None:
        job_ids = enter_jobs(tmp_path / "state", 23, unfinished=3)
        async with site(of_settings(tmp_path)) as at:
            found, sizes, before = [], [], ""
            while before is not None:
                page = (await at.get(f"/jobs?limit=10{before and f'&before={before}'}")).told
                found += [job["job"] for job in page["jobs"]]
                sizes.append(len(page["jobs"]))
                before = page["next_before"]
        assert (found, sizes) == (job_ids[::-1], [10, 10, 3])

    async def test_twenty_unless_it_is_said(self, tmp_path: Path) -> None:
        job_ids = enter_jobs(tmp_path / "state", 21)
        async with site(of_settings(tmp_path)) as at:
            page = (await at.get("/jobs")).told
        assert ([job["job"] for job in page["jobs"]], page["next_before"]) == (job_ids[:0:-1], job_ids[1])

    async def test_those_of_several_client_codes_are_one_list(self, tmp_path: Path) -> None:
        a = enter_jobs(tmp_path / "a", 3, client_code="a", name="x")
        b = enter_jobs(tmp_path / "b", 3, client_code="b", name="y")
        configuration = of_clients(tmp_path, "a", "b")
        async with site(configuration) as at:
            first = (await at.get("/jobs?limit=4")).told
            rest = (await at.get(f"/jobs?limit=4&before={first['next_before']}")).told
            assert (await at.get(f"/jobs/{b[0]}")).told["client_code"] == "b"
            assert (await at.get("/status")).told == statuses(configuration, None, datetime.now(UTC)).as_json()
        found = [(job["client_code"], job["job"]) for job in (*first["jobs"], *rest["jobs"])]
        assert found == [each for pair in zip(a, b, strict=True) for each in zip("ab", pair, strict=True)][::-1]
        assert rest["next_before"] is None

    async def test_what_an_unfinished_one_waits_for_is_told_as_in_the_status(self, tmp_path: Path) -> None:
        enter_jobs(tmp_path / "state", 4, unfinished=3)
        async with site(of_settings(tmp_path)) as at:
            status, jobs = (await at.get("/status")).told, (await at.get("/jobs")).told
            last = (await at.get(f"/jobs/{jobs['jobs'][0]['job']}")).told
        assert jobs["jobs"] == status["jobs"][::-1]
        assert last["waits_for"] == jobs["jobs"][0]["waits_for"] == ["its turn, behind 2 jobs"]

    @pytest.mark.parametrize(
        "query", ["limit=0", "limit=101", "limit=-1", "limit=", "limit=ten", "limit=1e1", "limit=%C2%B2", "before="]
    )
    async def test_a_parameter_that_is_none(self, tmp_path: Path, query: str) -> None:
        async with site(of_settings(tmp_path)) as at:
            said = await at.get(f"/jobs?{query}")
            assert (said.status, said.headers["Content-Type"]) == (400, "application/problem+json")
            assert said.told["detail"].startswith(query.partition("=")[0])

    @pytest.mark.parametrize("job_id", ["none", "%00", "%FF", "..%2F..%2Fetc%2Fpasswd", "a" * 3_000, "'"])
    async def test_a_job_that_is_none(self, tmp_path: Path, job_id: str) -> None:
        enter_jobs(tmp_path / "state", 1)
        async with site(of_settings(tmp_path)) as at:
            said = await at.get(f"/jobs/{job_id}")
            assert (said.status, said.headers["Content-Type"]) == (404, "application/problem+json")


class TestHealth:
    async def test_whoever_is_asked_is_well(self, tmp_path: Path) -> None:
        async with site(of_settings(tmp_path)) as at:
            at.served.error = FatalError("Target is away, and everything else")
            assert ((await at.get("/healthz")).status, (await at.get("/healthz")).told) == (200, {"is_well": True})

    async def test_ready(self, tmp_path: Path) -> None:
        enter_jobs(tmp_path / "state", 1)
        async with site(of_settings(tmp_path)) as at:
            said = await at.get("/readyz")
            assert (said.status, said.told) == (200, {"is_ready": True, "why": []})

    async def test_not_while_it_ends_or_drains_or_is_not_served(self, tmp_path: Path) -> None:
        enter_jobs(tmp_path / "state", 1)
        async with site(of_settings(tmp_path), drain=True) as at:
            assert await reasons(at) == ["it drains: what is signalled is loaded, then it ends"]
            at.served.error = FatalError("the ledger is damaged.")
            at.ending.hasten(UnexpectedError("a signal"))
            ends, not_served = await reasons(at)
            assert ends.startswith("it is ending")
            assert not_served == "client code demo is not served: the ledger is damaged."

    async def test_not_without_its_directories_and_its_ledger(self, tmp_path: Path) -> None:
        drop = tmp_path / "drop"
        configuration = of_settings(tmp_path, drop={"directory": str(drop)})
        async with site(configuration) as at:
            gone = "is gone, or may not be written"
            state = tmp_path / "state"
            assert await reasons(at) == [
                f"the directory {state} (state) {gone}",
                f"the directory {drop} (drop (default)) {gone}",
                f"there is no ledger in {state}",
            ]

    async def test_not_with_a_ledger_that_cannot_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "ledger.db").write_bytes(b"no database" * 1_000)
        async with site(of_settings(tmp_path)) as at:
            (why,) = await reasons(at)
            assert "ledger.db" in why
            said = await at.get("/status")
            assert (said.status, said.headers["Content-Type"]) == (503, "application/problem+json")
            assert "ledger.db" in said.told["detail"]


async def reasons(at: Any) -> list[str]:
    said = await at.get("/readyz")
    assert (said.status, said.told["is_ready"]) == (503, False)
    why: list[str] = said.told["why"]
    return why


async def test_many_who_ask_cost_one_reading_a_second(tmp_path: Path) -> None:
    now_s = 0.0
    enter_jobs(tmp_path / "state", 2)
    async with site(of_settings(tmp_path), clock=Clock(monotonic=lambda: now_s)) as at:
        before = (await at.get("/status")).body
        enter_jobs(tmp_path / "state", 1, unfinished=1, name="new")
        assert {(await at.get("/status")).body for _ in range(3)} == {before}
        now_s += FRESH_S
        after = (await at.get("/status")).told
        assert len(after["jobs"]) == 3


async def test_what_was_read_before_something_changed_is_not_told_after_it(tmp_path: Path) -> None:
    now_s = 0.0
    enter_jobs(tmp_path / "state", 1)
    async with site(of_settings(tmp_path), clock=Clock(monotonic=lambda: now_s)) as at:
        await at.latest.status()
        now_s += FRESH_S / 2
        assert len((await at.get("/jobs")).told["jobs"]) == 1
        (later,) = enter_jobs(tmp_path / "state", 1, name="later")
        now_s += FRESH_S / 2
        assert later.encode() in (await at.get("/status")).body
        assert len((await at.get("/jobs")).told["jobs"]) == 2
        assert later.encode() in (await at.get("/", Accept="text/html")).body


async def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    read: list[int] = []
    async with site(of_settings(tmp_path), clock=Clock(monotonic=lambda: 0.0)) as at:
        for number in (*range(70), 69, 0):
            await at.latest.read(("thing", number), lambda *_, number=number: read.append(number))
    # The last is kept, and the first had to go.
    assert read == [*range(70), 0]


async def test_another_configuration_is_read_by_at_once(tmp_path: Path) -> None:
    async with site(of_settings(tmp_path)) as at:
        assert (await at.get("/status")).told["client_code"] == "demo"
        at.latest.take(of_settings(tmp_path, target={"client_code": "other"}))
        assert (await at.get("/status")).told["client_code"] == "other"


async def test_who_waits_for_a_disk_that_does_not_answer_is_told(tmp_path: Path) -> None:
    answers, is_asked = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        is_asked.set()
        answers.wait(60)

    latest = Latest(of_settings(tmp_path), Clock(), wait_s=0.05)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(latest.read, "what hangs", hang)
        await until(is_asked.is_set)
        with pytest.raises(FatalError, match="its disk is slow, or does not answer"):
            await latest.status()
        answers.set()
    assert (await latest.status()).statuses.tenants
