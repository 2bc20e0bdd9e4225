"""`explain` as a process: beside a service, with Target's profile, and without a cell that nobody asked for."""

from pathlib import Path
from typing import Any

import orjson

from pipeline.sandbox import Sandbox
from tests.tools.dropping import text_of
from tests.tools.support import CLOSED, Bench, bench, run_program, started, unheard, until

#: In every cell and id.
MARK = "MARK"
ROWS = (f"{MARK}-1,{MARK}gold,{MARK}5", f"{MARK}-2,,", f"{MARK}-1,{MARK}silver,", f"{MARK}/3,{MARK},1")
VALUES = {"memory": {"remember": "values"}, "export": {"max_rejects": "100%"}}


def told(out: str) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(out)
    return found


async def test_conclusion_first_then_the_command_then_the_jobs(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        done = await at.load(*ROWS, **VALUES)
        config = at.directory / "config.toml"
        said = await run_program("explain", f"{MARK}-1", "--config", config, cold=True)
        named = await run_program("explain", f"{MARK}-1", env={"PROFILE_PIPELINE_CONFIG": str(config)})
        as_json = await run_program("explain", f"{MARK}-1", "--config", config, "--json")
    assert (said.code, said.err) == (0, "")
    first, then, memory, _, job, *rows = said.out.splitlines()
    assert "is in batch 1, which Target says it has applied" in first
    assert then == f"Next: profile-pipeline explain {MARK}-1 --live --config {config}"
    assert named.out.splitlines()[1] == f"Next: profile-pipeline explain {MARK}-1 --live"
    assert memory.startswith("The memory has it (thirdPartyId), last sent at ")
    assert job == f"{done.report['job']}  done, export.csv"
    assert rows[0] == "  line 2 of export.csv: superseded by line 4"
    assert rows[1].startswith("  line 4 of export.csv: confirmed, batch 1, since ")
    values = told(as_json.out)
    assert [row["fate"] for row in values["jobs"][0]["rows"]] == ["superseded", "confirmed"]
    assert values["conclusions"][0]["command"] == ["profile-pipeline", "explain", "ID", "--live"]
    assert MARK not in as_json.out


async def test_target_is_asked_and_no_value_is_shown_unasked(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await at.load(*ROWS, **VALUES)
        config = at.directory / "config.toml"
        names = await run_program("explain", f"{MARK}-1", "--live", "--config", config)
        as_json = await run_program("explain", f"{MARK}-1", "--live", "--config", config, "--json")
        values = await run_program("explain", f"{MARK}-1", "--live", "--values", "--config", config)
        rejected = await run_program("explain", f"{MARK}/3", "--live", "--config", config)
    assert "Target has the profile; compared with what is remembered as sent:" in names.out
    assert "  tier: equal" in names.out.splitlines()
    assert names.out.count(MARK) == 1, "the id in the command to type"
    assert names.err == ""
    (live,) = told(as_json.out)["live"]
    assert (live["is_there"], live["known_by"]) == (True, "memory")
    assert live["cells"] == [{"name": "tier", "state": "equal"}, {"name": "ltv", "state": "equal"}]
    assert MARK not in as_json.out
    assert f"  tier: equal (sent '{MARK}silver', Target has '{MARK}silver')" in values.out.splitlines()
    assert "Target has no such profile" in rejected.out


async def test_what_differs_and_what_is_missing(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await at.load("u1,gold,1", "u2,gold,1", **VALUES)
        # Somebody else sends too.
        other = Bench(tmp_path / "other", at.base_url, at.sandbox)
        (tmp_path / "other").mkdir()
        await run_program("load", other.export("u1,iron,"), "--config", other.config())
        config = at.config(**VALUES)
        done = await run_program("explain", "u1", "--live", "--config", config, "--json")
        plain = at.config(state={"directory": str(tmp_path / "other" / "state")})
        only_names = await run_program("explain", "u1", "--live", "--config", plain, "--json")
    (live,) = told(done.out)["live"]
    assert live["cells"] == [{"name": "tier", "state": "different"}, {"name": "ltv", "state": "equal"}]
    (live,) = told(only_names.out)["live"]
    assert (live["known_by"], [cell["name"] for cell in live["cells"]]) == ("names", ["tier", "ltv"])


async def test_beside_a_service_that_works(tmp_path: Path) -> None:
    async with bench(tmp_path, apply_min_s=3_600.0, apply_max_s=3_600.0) as at:
        drop = tmp_path / "drop"
        drop.mkdir()
        config = at.config(drop={"directory": str(drop), "poll_s": 0.05, "settle_s": 0.05}, export={"max_rejects": 9})
        (drop / "a.csv").write_text(text_of(*ROWS))
        (drop / "a.csv.ready").touch()
        async with started("serve", "--config", config) as process:
            await until(lambda: at.sandbox.calls["posts"] == 1)
            await until(lambda: at.sandbox.calls["statuses"] > 0)
            said = await run_program("explain", f"{MARK}-1", "--live", "--config", config)
            assert process.returncode is None
    assert said.code == 0
    assert "which Target accepted and has not applied yet" in said.out
    assert "Target has no such profile, or has applied nothing to it yet." in said.out
    assert said.err == ""


async def test_target_that_cannot_be_asked(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await at.load(*ROWS, **VALUES)
    said = await run_program("explain", f"{MARK}-1", "--live", "--config", tmp_path / "config.toml")
    assert said.code == 0
    assert "Target could not be asked: no connection" in said.out


async def test_before_the_first_load_and_without_an_id(tmp_path: Path) -> None:
    config = unheard(tmp_path).config()
    said = await run_program("explain", "u1", "--config", config)
    assert (said.code, said.out.splitlines()[0]) == (0, "No export was loaded yet.")
    without = await run_program("explain", " ", "--config", config)
    assert (without.code, "an id is needed" in without.err) == (64, True)
    assert not (tmp_path / "state").exists()


async def test_every_client_code_is_told(tmp_path: Path) -> None:
    at = Bench(tmp_path, CLOSED, Sandbox())
    (tmp_path / "drop").mkdir()
    config = at.config()
    with config.open("a") as file:
        file.write(f'\n[[routes]]\nname = "other"\ntarget.client_code = "acme"\ndrop.directory = "{tmp_path}/drop"\n')
    said = await run_program("explain", "u1", "--config", config, "--json")
    assert said.code == 0, said.err
    assert [each["client_code"] for each in told(said.out)["client_codes"]] == ["demo", "acme"]
