"""The same export a second time: sent if anything may come of it, and said to be loaded already where nothing can."""

import signal
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.sandbox import Fault, FaultPlan
from tests.tools.faults.loading import ledger_of
from tests.tools.support import (
    ONE_BY_ONE,
    SIX_ROWS,
    Bench,
    Ended,
    assert_every_row_is_in_one_class,
    bench,
    ended,
    names_in,
    run_program,
    started,
    unheard,
    until,
)

TIERS: dict[str, Any] = {"export": {"columns": {"tier": "tier"}, "unlisted": "ignore"}}


def jobs(at: Bench) -> list[str]:
    with ledger_of(at.state) as ledger:
        return [job.job_id for job in ledger.jobs()]


async def load(at: Bench, *options: str | Path, name: str = "export.csv", **sections: Any) -> Ended:
    """Load with a configuration of these sections; the equation holds of each report."""
    done = await run_program("load", at.directory / name, *options, "--config", at.config(**sections), "--json")
    for line in done.out.splitlines():
        assert_every_row_is_in_one_class(orjson.loads(line))
    return done


class TestAlreadyLoaded:
    async def test_is_said_in_the_first_line_and_nothing_is_sent(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            export, config = at.export(*SIX_ROWS), at.config()
            first = await load(at)
            before = at.sandbox.calls["posts"]
            done = await run_program("load", export, "--config", config)
            assert done.code == 0
            told = " ".join(done.out.splitlines()[0].split())
            assert f"export.csv: nothing sent, because job {first.report['job']} has the same" in told
            assert "--again" in told
            assert "rows read" not in done.out
            assert (at.sandbox.calls["posts"], jobs(at)) == (before, [first.report["job"]])

    async def test_is_in_the_report(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            at.export(*SIX_ROWS)
            first = await load(at)
            done = await load(at)
            assert (done.code, done.report["state"], done.report["error"]) == (0, "skipped", None)
            assert done.report["same_as"] == first.report["job"]
            assert names_in(at.state / "jobs") == [first.report["job"]]
            again = await load(at, "--again")
            assert (again.report["state"], again.report["same_as"]) == ("done", None)

    async def test_with_another_mapping_it_is_sent(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            at.export(*SIX_ROWS)
            await load(at, **TIERS)
            done = await load(at, export={"columns": {"ltv": "value"}, "unlisted": "ignore"})
            assert (done.code, done.report["state"]) == (0, "done")
            at.sandbox.apply_all()
            assert all("value" in cells for cells in at.sandbox.profiles().values() if "tier" in cells)
            # And so is the first one once more, as it is to win.
            assert (await load(at, **TIERS)).report["state"] == "done"

    async def test_why_it_is_sent_again_is_said(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            a, b = at.export(*SIX_ROWS, name="a.csv"), at.export("u1,gold,7", name="b.csv")
            await run_program("load", a, b, "--config", at.config())
            turned = await run_program("load", b, a, "--config", at.config())
            changed = await run_program("load", a, "--config", at.config(**TIERS))
        for done, why in (
            (turned, "what is named before it was loaded after it"),
            (changed, "it was loaded with other settings"),
        ):
            events = [orjson.loads(line) for line in done.err.splitlines()]
            assert [each["why"] for each in events if each["event"] == "export_sent_again"] == [why]

    async def test_after_a_wrong_mapping_it_is_sent(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            at.export(*SIX_ROWS)
            wrong = await load(at, export={"columns": {"teir": "tier"}, "unlisted": "ignore"})
            assert wrong.code == 65
            done = await load(at, **TIERS)
            assert (done.code, done.report["state"]) == (0, "done")

    @pytest.mark.parametrize("max_rejects", [0, 1])
    async def test_after_a_failure_it_is_tried_again(self, tmp_path: Path, max_rejects: int) -> None:
        """Also with the same settings: somebody may have mended something."""
        async with bench(tmp_path) as at:
            at.export("u/0,gold,1", *SIX_ROWS)
            assert (await load(at, export={"max_rejects": 0})).code == 65
            done = await load(at, export={"max_rejects": max_rejects})
            assert done.code == (0 if max_rejects else 65)
            assert len(jobs(at)) == 2

    async def test_after_an_abandoned_job_it_is_sent(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            away = unheard(tmp_path).config(**{**ONE_BY_ONE, "upload": {"give_up_after_s": 0.3}})
            export = at.export(*SIX_ROWS)
            first = await run_program("load", export, "--config", away, "--json")
            assert first.code == 69
            await run_program("abandon", first.report["job"], "--config", away)
            done = await run_program("load", export, "--config", at.config(), "--json")
            reports = [orjson.loads(line) for line in done.out.splitlines()]
            assert [report["state"] for report in reports] == ["failed", "done"]
            assert len(jobs(at)) == 2

    async def test_after_a_loss_it_is_sent(self, tmp_path: Path) -> None:
        async with bench(tmp_path, faults=FaultPlan(statuses={1: Fault.STATUS_LOST})) as at:
            at.export(*SIX_ROWS)
            assert (await load(at)).code == 76
            done = await load(at)
            assert (done.code, done.report["state"]) == (0, "done")

    async def test_somewhere_else_it_is_sent(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            at.export(*SIX_ROWS)
            await load(at)
            async with bench(tmp_path) as elsewhere:
                done = await load(elsewhere)
                assert done.report["state"] == "done"
                assert elsewhere.sandbox.calls["posts"] == 1

    async def test_a_copy_in_one_command_is_named(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            export, copy = at.export(*SIX_ROWS), at.export(*SIX_ROWS, name="copy.csv")
            done = await run_program("load", export, copy, "--config", at.config(), "--json")
            first, second = (orjson.loads(line) for line in done.out.splitlines())
            assert (first["state"], second["state"], second["same_as"]) == ("done", "skipped", first["job"])
            assert second["export"]["name"] == "copy.csv"
            assert at.sandbox.calls["posts"] == 1


class TestOtherSettingsForWhatIsUnfinished:
    async def test_are_not_those_of_a_job_that_has_begun_and_that_is_said(self, tmp_path: Path) -> None:
        async with bench(tmp_path, apply_min_s=0.5, apply_max_s=0.5) as at:
            export = at.export(*SIX_ROWS)
            config = at.config(**{**ONE_BY_ONE, **TIERS})
            async with started("load", export, "--config", config, "--json") as process:
                await until(lambda: at.sandbox.calls["posts"])
                process.send_signal(signal.SIGTERM)
                first = await ended(process)
            assert first.code == 75, first.said
            other: dict[str, Any] = {**ONE_BY_ONE, "export": {"columns": {"ltv": "value"}, "unlisted": "ignore"}}
            done = await load(at, **other)
            assert (done.code, done.report["job"]) == (0, first.report["job"])
            assert done.report["columns_sent"] == ["tier"]
            assert done.report["warnings"]["earlier_settings"] == 1
            (said,) = (line for line in map(orjson.loads, done.err.splitlines()) if "its_settings" in line["event"])
            assert said["keys"] == ["columns"]
            # It is no load by the new ones.
            assert (await load(at, **other)).report["columns_sent"] == ["value"]


class TestATypedPathThatDoesNotExist:
    @pytest.mark.parametrize("kind", ["missing", "directory"])
    async def test_is_said_in_a_line_and_leaves_nothing(self, tmp_path: Path, kind: str) -> None:
        async with bench(tmp_path) as at:
            export, config = tmp_path / "nosuch.csv", at.config()
            if kind == "directory":
                export.mkdir()
            done = await run_program("load", export, "--config", config)
            assert done.code == 66
            assert len(done.out.splitlines()) == 1
            assert "nosuch.csv" in done.out
            assert not at.state.exists()
            told = await run_program("load", export, "--config", config, "--json")
            assert (told.code, told.report["state"], told.report["job"]) == (66, "failed", "")
            assert not at.state.exists()

    async def test_enters_nothing_beside_other_jobs_and_goes_on_with_none(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            away = unheard(tmp_path).config(**{**ONE_BY_ONE, "upload": {"give_up_after_s": 0.3}})
            first = await run_program("load", at.export(*SIX_ROWS), "--config", away, "--json")
            done = await load(at, name="nosuch.csv")
            assert (done.code, done.report["job"]) == (66, "")
            assert jobs(at) == names_in(at.state / "jobs") == [first.report["job"]]
            assert at.sandbox.calls["posts"] == 0

    async def test_keeps_no_other_export_from_being_loaded(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            first, last = at.export(*SIX_ROWS), at.export("u9,gold,9", name="last.csv")
            done = await run_program("load", first, tmp_path / "no.csv", last, "--config", at.config(), "--json")
            told = [orjson.loads(line) for line in done.out.splitlines()]
            assert [(report["export"]["name"], report["state"]) for report in told] == [
                ("export.csv", "done"),
                ("no.csv", "failed"),
                ("last.csv", "done"),
            ]
            assert done.code == 66
            assert len(jobs(at)) == 2

    async def test_that_vanished_from_a_command_that_was_cut_off_keeps_its_job(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            lines = [f"v{number},gold,1" for number in range(40)]
            exports = at.export(*lines), at.export("u9,gold,9", name="last.csv")
            away = unheard(tmp_path).config(**{**ONE_BY_ONE, "upload": {"give_up_after_s": 0.3}})
            assert (await run_program("load", *exports, "--config", away, "--json")).code == 69
            exports[1].unlink()
            done = await run_program("load", *exports, "--config", at.config(**ONE_BY_ONE), "--json")
            told = [orjson.loads(line) for line in done.out.splitlines()]
            assert [report["state"] for report in told] == ["done", "failed"]
            assert (done.code, len(jobs(at))) == (66, 2)
