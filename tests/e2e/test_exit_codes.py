"""The program as a process: every way to end has its code, and says in a line what was wrong and what to do."""

import asyncio
import os
import re
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from pipeline import __version__
from pipeline.sandbox import Fault, FaultPlan
from tests.tools.support import (
    ONE_BY_ONE,
    SIX_ROWS,
    Ended,
    assert_every_row_is_in_one_class,
    assert_reported,
    bench,
    ended,
    profiles_after,
    run_program,
    small_disk,
    started,
    unheard,
    until,
    write_export,
)


async def test_done(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        done = await run_program("load", at.export(*SIX_ROWS), "--config", at.config(), "--json", cold=True)
        assert_reported(done, at.state)
        assert done.code == 0
        assert done.report["state"] == "done"
        assert at.sandbox.profiles() == profiles_after(*SIX_ROWS)
        assert at.sandbox.mistakes == []


async def test_a_report_for_people(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        done = await run_program("load", at.export(*SIX_ROWS), "--config", at.config(), cold=True)
    assert done.code == 0
    assert "export.csv -> Target client demo: done" in done.out
    assert re.search(r"6 +confirmed", done.out)


async def test_a_header_and_nothing_below(tmp_path: Path) -> None:
    done = await unheard(tmp_path).load("", "")
    assert done.code == 0
    assert done.report["rows"]["read"] == 0


async def all_of(*runs: Any) -> list[Ended]:
    """Several processes at once, as each takes most of its time to start."""
    return list(await asyncio.gather(*runs))


class TestUsage:
    ARGUMENTS: Sequence[tuple[tuple[str, ...], str]] = (
        ((), "Usage"),
        (("load", "a.csv"), "--config FILE"),
        (("load", "a.csv", "--id-column", "id"), "--sandbox"),
        (("load", "a.csv", "--sandbox", "--id-column", "id", "--config", "c.toml"), "instead of a --config"),
        (("nonsense",), "No such command"),
        (("config", "show"), "Missing option"),
    )

    async def test_all(self) -> None:
        runs = await all_of(*(run_program(*arguments) for arguments, _ in self.ARGUMENTS))
        for (arguments, message), done in zip(self.ARGUMENTS, runs, strict=True):
            assert done.code == 64, arguments
            assert message in done.said, (arguments, done.said)
            assert "Traceback" not in done.err


class TestUnusableExports:
    EXPORTS: Mapping[str, tuple[bytes, dict[str, Any], str]] = {
        "empty": (b"", {}, "is empty"),
        "mark": (b"\xef\xbb\xbf", {}, "is empty"),
        "broken": (b'"id"x,tier\na,1\n', {}, "the header line is broken"),
        "unclosed": (b'id,"tier\na,1\n', {}, "the header line is broken"),
        "utf16": ("id,tier\na,1\n".encode("utf-16"), {"encoding": "windows-1252"}, 'set encoding = "auto"'),
        "latin1": ("id,Größe\na,1\n".encode("latin-1"), {}, 'set [export] encoding = "windows-1252"'),
        "no_id": (b"key,tier\na,1\n", {}, "the column 'id' ([export] id_column) is not in the header row, which has 2"),
        "twice": (b"id,tier,tier\na,1,2\n", {}, "'tier' (columns 2, 3) is sent, and is in the header more than once"),
        "name": (b"id,Loyalty tier\na,1\n", {}, '"Loyalty tier" = "Loyalty_tier"'),
        "reserved": (b"id,profile.tier\na,1\n", {}, '"profile.tier" = "tier"'),
        "unlisted": (b"id,tier,email\na,1,2\n", {"unlisted": "stop", "columns": {"tier": "tier"}}, "'email' is not"),
        "gone": (b"id,tier\na,1\n", {"columns": {"ltv": "ltv"}}, "'ltv' ([export] columns) is not in the header row"),
        "id_only": (b"id\na\n", {}, "no column to send besides the id column 'id'"),
        "cut_wrong": (b"id;tier\na;1\n", {"delimiter": ","}, "[export] delimiter"),
    }

    async def test_all(self, tmp_path: Path) -> None:
        """Those that need no configuration of their own in one run: it goes on after each."""
        at = unheard(tmp_path)
        for name, (content, _, _) in self.EXPORTS.items():
            (tmp_path / f"{name}.csv").write_bytes(content)
        runs: dict[str, list[str]] = {}
        for name, (_, keys, _) in self.EXPORTS.items():
            runs.setdefault(repr(keys), []).append(name)
        for names in runs.values():
            config = at.config(export=self.EXPORTS[names[0]][1])
            exports = [tmp_path / f"{name}.csv" for name in names]
            done = await run_program("load", *exports, "--config", config, "--json")
            assert done.code == 65
            for name, line in zip(names, done.out.splitlines(), strict=True):
                assert_reported(Ended(65, line, ""), tmp_path / "state")
                report = orjson.loads(line)
                assert report["export"]["name"] == f"{name}.csv"
                assert self.EXPORTS[name][2] in report["error"], name
                assert report["state"] == "failed"
                assert report["rows"]["read"] == 0

    async def test_said_to_people_too(self, tmp_path: Path) -> None:
        at = unheard(tmp_path)
        export = at.export("a,1", header="key,tier")
        done = await run_program("load", export, "--config", at.config())
        assert done.code == 65
        assert "export.csv -> Target client demo: failed" in done.out
        assert "the column 'id' ([export] id_column) is not in the header row" in done.out


class TestRejects:
    @staticmethod
    def good(count: int) -> list[str]:
        return [f"user-{n:06},gold,{n:030}" for n in range(count)]

    async def test_by_count_at_once(self, tmp_path: Path) -> None:
        """What was sent by then is followed to its end, the rest is not sent."""
        lines = [*self.good(6_000), *[",gold,1"] * 50, *self.good(3_000)]
        async with bench(tmp_path) as at:
            done = await at.load(
                *lines, batch={"max_rows": 1_000}, upload={"concurrency": 1}, export={"max_rejects": 49}
            )
            assert done.code == 65
            sent = sum(batch["rows"] for batch in at.sandbox.state()["batches"])  # type: ignore[attr-defined]
        rows, error = done.report["rows"], done.report["error"]
        assert rows["confirmed"] == sent >= 1_000
        assert rows["unsent"] == rows["read"] - rows["confirmed"] - 50 > 0
        assert rows["failed"] == rows["unconfirmed"] == 0
        assert {batch["state"] for batch in done.report["batches"]} == {"complete"}
        assert f"50 of the {rows['read']:,} rows read are rejected" in error
        assert "max_rejects = 49" in error
        assert "line 6,002: local.empty_id; line 6,003: local.empty_id; line 6,004: local.empty_id" in error
        assert "rejects.jsonl" in error
        assert done.report["rejects"]["by_reason"] == {"local.empty_id": 50}

    async def test_nothing_more_is_begun(self, tmp_path: Path) -> None:
        """The second batch waits for the status of the first when the third block shows the rejects: it is not sent."""
        lines = [f"user-{n:06},gold,{n:090}" for n in range(2_700)] + [",gold,1"] * 10
        async with bench(tmp_path, apply_min_s=1.0, apply_max_s=1.0) as at:
            done = await at.load(*lines, **{**ONE_BY_ONE, "batch": {"max_rows": 1_000}}, export={"max_rejects": 9})
            assert at.sandbox.calls["posts"] == 1
        assert done.code == 65
        assert (done.report["rows"]["confirmed"], done.report["rows"]["unconfirmed"]) == (1_000, 0)
        assert done.report["rows"]["unsent"] == 1_700

    async def test_by_count_just_within(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            done = await at.load(*SIX_ROWS, ",gold,1", ",gold,2", export={"max_rejects": 2})
        assert (done.code, done.report["rows"]["rejected"]) == (0, 2)

    async def test_by_percentage_from_ten_thousand_rows_on(self, tmp_path: Path) -> None:
        lines = [*self.good(12_000), *[",gold,1"] * 1_000, *self.good(12_000)]
        async with bench(tmp_path) as at:
            done = await at.load(
                *lines, batch={"max_rows": 1_000}, upload={"concurrency": 1}, export={"max_rejects": "5%"}
            )
        rows = done.report["rows"]
        assert done.code == 65
        assert rows["read"] < 20_000, "the rest was not read"
        assert rows["confirmed"] >= 1_000
        assert rows["unsent"] > 0
        assert rows["unconfirmed"] == 0
        assert "max_rejects = 5%" in done.report["error"]

    async def test_by_percentage_of_a_small_export_nothing_is_sent(self, tmp_path: Path) -> None:
        done = await unheard(tmp_path).load(*SIX_ROWS, ",gold,1")
        assert done.code == 65
        assert "1 of the 7 rows read is rejected" in done.report["error"]
        assert done.report["rows"]["unsent"] == 6
        assert done.report["calls"] == 0


class TestUnreadableExports:
    async def test_all(self, tmp_path: Path) -> None:
        (tmp_path / "directory.csv").mkdir()
        os.mkfifo(tmp_path / "pipe.csv")
        exports = {
            tmp_path / "missing.csv": "No such file or directory",
            tmp_path / "directory.csv": "holds no file that is part of an export",
            tmp_path / "pipe.csv": "readable twice: write it to a file",
            # It can be opened, but not read from its first byte: so a disk fails.
            Path("/proc/self/mem"): "Input/output error. The export may be whole: look at its disk, and run again.",
        }
        done = await run_program("load", *exports, "--config", unheard(tmp_path).config(), "--json")
        assert done.code == 74
        for (export, message), line in zip(exports.items(), done.out.splitlines(), strict=True):
            report = orjson.loads(line)
            # Only what is there and may be opened is a job.
            assert bool(report["job"]) == (export.name == "mem")
            is_of_disk = bool(report["job"])
            if is_of_disk:
                assert_reported(Ended(74, line, ""), tmp_path / "state")
            assert str(export) in report["error"]
            assert message in report["error"]
            assert (report["state"], report["exit_code"]) == (("unfinished", 74) if is_of_disk else ("failed", 66))


async def test_unreachable(tmp_path: Path) -> None:
    done = await unheard(tmp_path).load(*SIX_ROWS, upload={"give_up_after_s": 0.3})
    assert done.code == 69
    assert done.report["state"] == "unfinished"
    assert done.report["rows"]["pending"] == 6
    assert "give_up_after_s" in done.report["error"]
    assert "no connection (ECONNREFUSED)" in done.report["error"]
    assert "base_url, then run again" in done.report["error"]


async def test_unreachable_while_statuses_are_asked_for(tmp_path: Path) -> None:
    faults = FaultPlan(status_chances={Fault.STATUS_500: 1.0})
    async with bench(tmp_path, faults=faults) as at:
        done = await at.load(*SIX_ROWS, **{**ONE_BY_ONE, "upload": {"give_up_after_s": 0.5}})
    assert done.code == 69
    rows = done.report["rows"]
    assert (rows["pending"], rows["unconfirmed"], rows["unsent"]) == (6, 0, 0)


class TestDisk:
    async def test_what_must_stay_free(self, tmp_path: Path) -> None:
        done = await unheard(tmp_path).load(*SIX_ROWS, state={"min_free_bytes": 2**50})
        assert done.code == 74
        assert "min_free_bytes" in done.report["error"]
        assert "make room and run again" in done.report["error"]
        assert done.report["rows"]["pending"] == 6

    async def test_full(self, tmp_path: Path) -> None:
        """The batch is smaller than what is free, but not together with its lines and hashes."""
        lines = [f"u{n:05},1,2" for n in range(30_000)]
        with small_disk(450_560) as disk:
            at = unheard(tmp_path)
            config = at.config(state={"directory": str(disk / "state")})
            done = await run_program("load", at.export(*lines), "--config", config, "--json")
            assert done.code == 74
            assert_reported(done, disk / "state")
        assert "min_free_bytes = 0 must stay free" in done.report["error"]
        assert "make room and run again" in done.report["error"]
        assert done.report["rows"]["pending"] == 30_000

    async def test_so_full_that_there_is_no_report(self, tmp_path: Path) -> None:
        with small_disk(65_536) as disk:
            at = unheard(tmp_path)
            config = at.config(state={"directory": str(disk / "state")}, export={"max_rejects": "100%"})
            export = at.export(*[f",{'x' * 1_000},2"] * 200)
            done = await run_program("load", export, "--config", config, "--json")
        assert done.code == 74
        last = done.err.splitlines()[-1]
        assert re.match(r"profile-pipeline: .*/state/.*The disk is full: make room and run again\.$", last)
        assert "Traceback" not in done.err

    async def test_no_directory_can_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "state").touch()
        at = unheard(tmp_path)
        done = await run_program("load", at.export(*SIX_ROWS), "--config", at.config())
        assert done.code == 74
        assert done.out == ""
        assert re.search(r"cannot .*/state.*: Not a directory: check", done.err.splitlines()[-1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stopped(tmp_path: Path, number: signal.Signals) -> None:
    async with bench(tmp_path, apply_min_s=600.0, apply_max_s=600.0) as at:
        export, config = at.export(*SIX_ROWS), at.config(**ONE_BY_ONE)
        async with started("load", export, "--config", config, "--json", cold=True) as process:
            await until(lambda: at.sandbox.calls["statuses"])
            process.send_signal(number)
            done = await ended(process, within_s=10.0)
    assert done.code == 75
    assert_reported(done, tmp_path / "state")
    assert done.report["error"] == f"stopped by {number.name}."
    assert done.report["state"] == "unfinished"
    rows = done.report["rows"]
    assert (rows["pending"], rows["unconfirmed"], rows["unsent"]) == (6, 0, 0)


async def test_stopped_while_all_calls_wait(tmp_path: Path) -> None:
    """Nobody has to wait for the minute to end."""
    async with bench(tmp_path, faults=FaultPlan(posts={1: Fault.THROTTLE_503})) as at:
        export, config = at.export(*SIX_ROWS), at.config(**ONE_BY_ONE)
        async with started("load", export, "--config", config, "--json") as process:
            await until(lambda: at.sandbox.state()["faults_met"])
            process.send_signal(signal.SIGTERM)
            done = await ended(process, within_s=10.0)
    assert done.code == 75
    # How far it was read, and whether the answer was seen before the signal, is up to chance; all of it is honest.
    rows = done.report["rows"]
    assert rows["pending"] == rows["read"] >= 2


class TestLostRows:
    async def test_over_what_is_allowed(self, tmp_path: Path) -> None:
        async with bench(tmp_path, faults=FaultPlan(posts={1: Fault.FAIL_ROWS}, failing_rows=2)) as at:
            done = await at.load(*SIX_ROWS, **ONE_BY_ONE)
        assert done.code == 76
        assert done.report["state"] == "incomplete"
        assert (done.report["rows"]["failed"], done.report["rows"]["confirmed"]) == (2, 4)
        assert done.report["batches"][0]["why"] == "Target failed 2 rows"

    @pytest.mark.parametrize(("allowed", "code"), [(1, 76), ("34%", 0)])
    async def test_bounds(self, tmp_path: Path, allowed: int | str, code: int) -> None:
        sections = {**ONE_BY_ONE, "settle": {"status_window": 1, "max_lost": allowed}}
        async with bench(tmp_path, faults=FaultPlan(posts={2: Fault.STATUS_LOST})) as at:
            done = await at.load(*SIX_ROWS, **sections)
        assert (done.code, done.report["rows"]["unconfirmed"]) == (code, 2)


async def test_every_batch_refused(tmp_path: Path) -> None:
    """It is not the rows then, so none is said to be refused, and the job can go on."""
    async with bench(tmp_path, faults=FaultPlan(post_chances={Fault.REFUSE: 1.0})) as at:
        done = await at.load(*(f"u{n},gold,{n}" for n in range(40)), **ONE_BY_ONE)
    assert done.code == 77
    assert done.report["state"] == "unfinished"
    assert "Target refuses everything (Batch could not be queued)" in done.report["error"]
    assert "is [target] client_code right?" in done.report["error"]


class TestToken:
    async def test_wrong(self, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("wrong")
        async with bench(tmp_path, token="right") as at:
            done = await at.load(*SIX_ROWS, **ONE_BY_ONE, target={"token_file": str(tmp_path / "token")})
            assert at.sandbox.calls["posts"] == 1, "its file holds no other one"
        assert done.code == 77
        # How much of the export was read before the refusal came is up to chance.
        assert done.report["rows"]["pending"] == done.report["rows"]["read"] >= 2
        assert "Target refuses the token" in done.report["error"]
        assert "token_file" in done.report["error"]
        assert "wrong" not in done.said.replace("wrong client", "")

    async def test_wrong_in_many_runs_costs_no_attempt(self, tmp_path: Path) -> None:
        """POSTs beside the one that was refused are refused too, and not cut off and in doubt."""
        token = tmp_path / "token"
        token.write_text("wrong")
        upload = {"concurrency": 4, "attempts": 2}
        async with bench(tmp_path, token="right") as at:
            config = at.config(batch={"max_rows": 1}, upload=upload, target={"token_file": str(token)})
            load = ("load", at.export(*SIX_ROWS), "--config", config, "--json")
            for _ in range(4):
                done = await run_program(*load)
                assert (done.code, done.report["rows"]["unconfirmed"]) == (77, 0)
            token.write_text("right")
            done = await run_program(*load)
        assert (done.code, done.report["rows"]["confirmed"]) == (0, len(SIX_ROWS))
        assert {batch["attempts"] for batch in done.report["batches"]} == {1}

    async def test_replaced_while_it_runs(self, tmp_path: Path) -> None:
        token = tmp_path / "token"
        token.write_text("old")
        async with bench(tmp_path, token="old", apply_min_s=0.3, apply_max_s=0.3) as at:
            export = at.export(*SIX_ROWS)
            config = at.config(**ONE_BY_ONE, target={"token_file": str(token)})
            async with started("load", export, "--config", config, "--json") as process:
                await until(lambda: at.sandbox.calls["posts"])
                token.write_text("new")
                at.sandbox.token = "new"
                done = await ended(process)
            assert at.sandbox.profiles() == profiles_after(*SIX_ROWS)
        assert done.code == 0
        assert_reported(done, tmp_path / "state")

    async def test_no_file(self, tmp_path: Path) -> None:
        done = await unheard(tmp_path).load(*SIX_ROWS, target={"token_file": str(tmp_path / "none")})
        assert done.code == 78
        assert "cannot read [target] token_file" in done.report["error"]


class TestConfiguration:
    CASES: Mapping[str, tuple[str, str]] = {
        "unknown_key": ('[target]\nclient_cod = "x"\n', "did you mean client_code?"),
        "bad_value": ("[batch]\nmax_rows = 0\n", "[batch] max_rows = 0"),
        "no_toml": ("[target\n", "is not valid TOML"),
    }

    async def test_files(self, tmp_path: Path) -> None:
        for name, (text, _) in self.CASES.items():
            (tmp_path / f"{name}.toml").write_text(text)
        export = write_export(tmp_path / "export.csv", *SIX_ROWS)
        names = [*self.CASES, "missing"]
        runs = await all_of(*(run_program("load", export, "--config", tmp_path / f"{name}.toml") for name in names))
        messages = [*(message for _, message in self.CASES.values()), "there is no configuration file"]
        for name, message, done in zip(names, messages, runs, strict=True):
            assert done.code == 78, (name, done.said)
            assert message in done.err
            assert f"{name}.toml" in done.err
            assert done.err.startswith("profile-pipeline: ")
            assert "Traceback" not in done.err
            assert done.out == ""

    async def test_environment(self, tmp_path: Path) -> None:
        at = unheard(tmp_path)
        env = {"PROFILE_PIPELINE__BATCH__MAX_ROW": "5"}
        done = await run_program("load", at.export(*SIX_ROWS), "--config", at.config(), env=env)
        assert done.code == 78
        assert "did you mean PROFILE_PIPELINE__BATCH__MAX_ROWS?" in done.err


class TestSeveralExports:
    async def test_all_are_tried(self, tmp_path: Path) -> None:
        """After 65, 66 and 76 the next has its turn; the worst of them is the end."""
        async with bench(tmp_path, faults=FaultPlan(posts={1: Fault.FAIL_ROWS})) as at:
            exports = [
                at.export("a,1,1", name="lossy.csv"),
                at.export("b,1", header="key,tier", name="unusable.csv"),
                tmp_path / "missing.csv",
                at.export("d,1,1", name="fine.csv"),
            ]
            done = await run_program("load", *exports, "--config", at.config(), "--json")
            assert at.sandbox.profiles().keys() == {"d"}
        reports = [orjson.loads(line) for line in done.out.splitlines()]
        assert [report["export"]["name"] for report in reports] == [export.name for export in exports]
        assert [report["exit_code"] for report in reports] == [76, 65, 66, 0]
        assert done.code == 76
        for report in reports:
            assert_every_row_is_in_one_class(report)
            assert report["exit_code"] == 66 or (tmp_path / "state" / "jobs" / report["job"] / "report.json").exists()

    async def test_unusable_outweighs_missing(self, tmp_path: Path) -> None:
        at = unheard(tmp_path)
        unusable = at.export("b,1", header="key,tier", name="unusable.csv")
        done = await run_program("load", unusable, tmp_path / "missing.csv", "--config", at.config(), "--json")
        assert [orjson.loads(line)["exit_code"] for line in done.out.splitlines()] == [65, 66]
        assert done.code == 65

    async def test_what_would_hit_the_next_one_too_ends_it(self, tmp_path: Path) -> None:
        at = unheard(tmp_path)
        fine = at.export(*SIX_ROWS)
        config = at.config(upload={"give_up_after_s": 0.2})
        done = await run_program("load", tmp_path / "missing.csv", fine, fine, "--config", config, "--json")
        assert [orjson.loads(line)["exit_code"] for line in done.out.splitlines()] == [66, 69]
        assert done.code == 69

    async def test_a_wrong_token_ends_it(self, tmp_path: Path) -> None:
        async with bench(tmp_path, token="right") as at:
            export = at.export(*SIX_ROWS)
            done = await run_program("load", export, export, "--config", at.config(), "--json")
        assert (done.code, len(done.out.splitlines())) == (77, 1)


class TestOtherCommands:
    async def test_version(self) -> None:
        done = await run_program("--version")
        assert (done.code, done.out, done.err) == (0, f"profile-pipeline {__version__}\n", "")

    async def test_help_names_the_commands(self) -> None:
        done = await run_program("--help")
        assert done.code == 0
        for command in ("load", "status", "pause", "resume", "abandon", "retry", "sandbox", "demo", "config"):
            assert command in done.out

    async def test_schema(self) -> None:
        done = await run_program("config", "schema")
        assert done.code == 0
        assert {"target", "export", "state"} <= orjson.loads(done.out)["properties"].keys()

    async def test_show_can_be_read_back(self, tmp_path: Path) -> None:
        at = unheard(tmp_path)
        env = {"PROFILE_PIPELINE__UPLOAD__ATTEMPTS": "77"}
        first = await run_program("config", "show", "--config", at.config(), env=env)
        assert first.code == 0
        assert "attempts = 77" in first.out
        (tmp_path / "again.toml").write_text(first.out)
        assert (await run_program("config", "show", "--config", tmp_path / "again.toml")).out == first.out

    async def test_check(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            fine = await run_program("config", "check", "--config", at.config())
        broken = await run_program("config", "check", "--config", unheard(tmp_path).config())
        assert fine.code == 0, fine.said
        assert not (tmp_path / "state").exists(), "looking leaves no trace"
        assert broken.code == 78
        assert "no connection" in broken.out

    async def test_check_names_the_keys(self, tmp_path: Path) -> None:
        done = await run_program("config", "check", "--config", unheard(tmp_path).config())
        assert "[target] base_url: " in done.out
        assert "[state] directory: " in done.out

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    async def test_sandbox(self, number: signal.Signals) -> None:
        async with started("sandbox", "--port", "0", "--client-code", "acme", cold=True) as process:
            assert process.stdout is not None
            async with asyncio.timeout(20.0):
                line = (await process.stdout.readline()).decode()
            found = re.search(r"at (http://127\.0\.0\.1:\d+) ", line)
            assert found, line
            async with aiohttp.ClientSession() as session:
                body = "batch=thirdPartyId,tier\na,1\n"
                headers = {"Content-Type": "application/x-www-form-urlencoded"}
                url = f"{found[1]}/m2/acme/v2/profile/batchUpdate"
                async with session.post(url, data=body, headers=headers) as response:
                    assert "<success>true</success>" in await response.text()
                async with session.get(f"{found[1]}/sandbox/") as response:
                    assert response.status == 200
            process.send_signal(number)
            done = await ended(process, within_s=10.0)
        assert done.code == 0
        assert "Traceback" not in done.said

    async def test_sandbox_on_a_port_that_is_taken(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            done = await run_program("sandbox", "--port", at.base_url.rpartition(":")[2])
        assert done.code == 78
        assert "cannot listen on port" in done.err

    async def test_a_file_is_tried_without_an_account(self, tmp_path: Path) -> None:
        export = write_export(tmp_path / "export.csv", "a,gold", "b,silver", header="Customer id,Loyalty tier")
        env = {"TMPDIR": str(tmp_path)}
        done = await run_program("load", export, "--sandbox", "--id-column", "Customer id", "--json", env=env)
        assert done.code == 0
        assert done.report["columns_sent"] == ["Loyalty_tier"]
        assert done.report["rows"]["confirmed"] == 2
