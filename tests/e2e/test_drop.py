"""What is dropped, with the real process that drains the drop directory: signals, manifests, order, leftovers."""

import gzip
import os
import signal
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.edges.drop.writers import is_local
from pipeline.edges.store.notices import read_drops
from pipeline.sandbox import Fault, FaultPlan
from tests.tools.dropping import Drop, dropping, events, text_of
from tests.tools.fixed import fixed
from tests.tools.support import bench, ended, names_in, profiles_after, run_program, started, unheard, until
from tests.tools.writing import writing

ZEROS = "0" * 64


def digest_of(*lines: str) -> str:
    return sha256(text_of(*lines).encode()).hexdigest()


class TestDrain:
    async def test_all_forms_of_signals_at_once(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop:
            drop.put("a.csv", "a,gold,1", signal_as="a.csv.ready")
            drop.put("b.csv", "b,gold,1", signal_as="b.ready")
            drop.put("c.csv", "c,gold,1", signal_as="c.csv.fin", manifest='{"rows": 1}')
            drop.put("d.csv", "d,gold,1", signal_as="d.fin", manifest="rows=1\n")
            drop.put("e/part-1.csv", "e,gold,1")
            drop.put("e/part-0.csv", "e,silver,2", signal_as="_SUCCESS")
            drop.put("f1.csv", "f,gold,1")
            drop.put("f2.csv", "f,silver,", signal_as="both.ready", manifest='{"files": ["f2.csv", "f1.csv"]}')
            drop.put("not-signalled.csv", "x,gold,1")
            done = await drop.drain()
            assert done.code == 0, done.said
            drop.at.sandbox.apply_all()
            lines = [f"{name},gold,1" for name in "abcdef"]
            assert drop.at.sandbox.profiles() == profiles_after("e,silver,2", *lines)
            assert drop.at.sandbox.mistakes == []
            assert drop.ends() == dict.fromkeys(["a.csv", "b.csv", "c.csv", "d.csv", "e", "both"], "done")
            assert drop.left() == ["not-signalled.csv"]
            claimed = {event["signal"]: event["parts"] for event in events(done, "export_claimed")}
            assert (claimed["a.csv.ready"], claimed["e/_SUCCESS"], claimed["both.ready"]) == (1, 2, 2)
            assert done.out == ""

    @pytest.mark.parametrize("signal", ["day/_SUCCESS", "day.fin", "DAY.READY"])
    async def test_the_files_of_a_directory_are_one_job(self, tmp_path: Path, signal: str) -> None:
        """One of them has the name that the job goes by."""
        async with dropping(tmp_path) as drop:
            for number, name in enumerate(("a.csv", "day", "part-2.csv")):
                drop.put(f"day/{name}", f"u{number},gold,1", f"u,tier-{number},")
            (drop.directory / signal).touch()
            done = await drop.drain(drop={"keep_exports": "always"})
            assert done.code == 0, done.said
            (report,) = drop.reports()
            assert (report["export"]["name"], report["rows"]["read"], len(report["batches"])) == ("day", 6, 1)
            assert [part["name"] for part in report["parts"]] == ["a.csv", "day", "part-2.csv"]
            text = "".join(text_of(f"u{number},gold,1", f"u,tier-{number},") for number in range(3))
            assert report["export"]["sha256"] == sha256(text.encode()).hexdigest()
            assert drop.at.sandbox.calls["posts"] == 1
            drop.at.sandbox.apply_all()
            assert drop.at.sandbox.profiles()["u"]["tier"] == "tier-2"
            kept = drop.at.state / "jobs" / report["job"] / "drop"
            assert names_in(kept) == sorted(["a.csv", "day", "part-2.csv", Path(signal).name])
            assert drop.left() == []

    async def test_a_list_of_a_warehouse_says_which_files_are_parts(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop:
            for number in range(3):
                drop.put(f"day/000{number}_part_00", f"u{number},gold,1")
            entries = [
                {"url": f"s3://b/day/000{number}_part_00", "meta": {"content_length": len(text_of("u0,gold,1"))}}
                for number in (2, 1)
            ]
            (drop.directory / "day" / "manifest").write_bytes(orjson.dumps({"entries": entries}))
            (drop.directory / "day" / "_SUCCESS").touch()
            done = await drop.drain()
            assert done.code == 0, done.said
            (report,) = drop.reports()
            assert [part["name"] for part in report["parts"]] == ["0002_part_00", "0001_part_00"]
            assert [event["first"] for event in events(done, "unlisted_files_left")] == ["day/0000_part_00"]
            assert drop.left() == ["day", "day/0000_part_00"], "the list is taken along"

    async def test_times_that_no_ledger_can_hold(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop:
            for name, year in (("far.csv", 2300), ("long-ago.csv", 1600)):
                file = drop.put(name, f"{name},gold,1", signal_as=f"{name}.ready")
                seconds = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
                for each in (file, file.with_name(f"{name}.ready")):
                    os.utime(each, (seconds, seconds))
            done = await drop.drain()
            assert done.code == 0, done.said
            assert drop.ends() == {"far.csv": "done", "long-ago.csv": "done"}

    async def test_halves_of_characters_in_a_manifest(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop:
            drop.put("odd.csv", "o,gold,1", signal_as="odd.csv.ready", manifest='{"columns": ["\\ud800"]}')
            drop.put("next.csv", "n,gold,1", signal_as="next.csv.ready")
            done = await drop.drain()
            assert done.code == 65, done.said
            assert drop.ends() == {"odd.csv.ready": "failed", "next.csv": "done"}
            assert "must be a list of texts" in drop.error_of("odd.csv.ready")

    async def test_hostile_names(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop:
            secret = drop.put("../secret.csv", "secret,gold,1")
            (drop.directory / "link.csv").symlink_to(secret)
            (drop.directory / "second-name.csv").hardlink_to(secret)
            os.mkfifo(drop.directory / "fifo.csv")
            for name in ("link", "second-name", "fifo"):
                (drop.directory / f"{name}.csv.ready").write_text("")
            (drop.directory / "escape.ready").write_text('{"files": ["../secret.csv"]}')
            drop.put("new\nline.csv", "n,gold,1", signal_as="new\nline.csv.ready")
            (drop.directory / "link.ready").symlink_to(secret)
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(drop.directory / "socket.fin"))
            drop.put("good.csv", "g,gold,1", signal_as="good.csv.ready")
            done = await drop.drain()
            assert done.code == 65, done.said
            drop.at.sandbox.apply_all()
            assert drop.at.sandbox.profiles() == profiles_after("g,gold,1")
            assert "link.csv is a symbolic link: refused" in drop.error_of("link.csv.ready")
            assert "second-name.csv is a hard link" in drop.error_of("second-name.csv.ready")
            assert "fifo.csv is a FIFO: refused" in drop.error_of("fifo.csv.ready")
            assert "'../secret.csv' is not the plain name of a file" in drop.error_of("escape.ready")
            refused = {event["name"] for event in events(done, "drop_refused")}
            assert {"new\\nline.csv", "new\\nline.csv.ready", "link.ready", "socket.fin"} < refused
            for name in ("link.csv", "second-name.csv", "fifo.csv", "new\nline.csv", "new\nline.csv.ready"):
                assert name in names_in(drop.directory), "what is refused is left alone"
            assert secret.read_text() == text_of("secret,gold,1")

    async def test_other_columns_than_those_of_the_manifest_are_named_to_nobody(self, tmp_path: Path) -> None:
        """The first line may be a row; it lies in the folder of the job."""
        async with dropping(tmp_path) as drop:
            (drop.directory / "a.csv").write_text("id,MARK\nu-1,MARK\n")
            (drop.directory / "b.csv").write_text("id,MARK\nu-2,MARK\n")
            (drop.directory / "both.ready").write_text("files=a.csv,b.csv\ncolumns=id,tier")
            done = await drop.drain()
            assert done.code == 65, done.said
            reports = drop.reports()
            assert "of which number 2 is another" in reports[0]["error"], reports
            kept = [*drop.at.state.glob("jobs/*/header.txt")]
            assert [file.read_text() for file in kept] == ["id,MARK\n"]
            assert str(kept[0]) in reports[0]["error"]
            assert "MARK" not in done.said + "".join(report["error"] for report in reports)

    @pytest.mark.parametrize(
        ("manifest", "told"),
        [
            ("rows=3", "says rows = 3, but it is 2"),
            ("rows=1", "says rows = 1, but it is 2"),
            ("bytes=5", "says bytes = 5, but it is 25"),
            (f"sha256={ZEROS}", f"says sha256 = {ZEROS}, but it is {digest_of('a,gold,1', 'b,,')}"),
            ("columns=id,tier", "says columns, 2 of them, and the export has 3"),
            ("rows=2\nbytes=24", "says bytes = 24, but it is 25"),
            ("lines=2", "key number 1 is unknown"),
        ],
    )
    async def test_a_manifest_that_lies(self, tmp_path: Path, manifest: str, told: str) -> None:
        async with dropping(tmp_path) as drop:
            drop.put("a.csv", "a,gold,1", "b,,", signal_as="a.csv.ready", manifest=manifest)
            done = await drop.drain()
            assert done.code == 65, done.said
            (report,) = drop.reports()
            assert told in report["error"]
            assert drop.at.sandbox.calls["posts"] == 0
            assert report["rows"]["read"] == 0

    async def test_a_manifest_that_does_not(self, tmp_path: Path) -> None:
        text = text_of("a,gold,1", 'b,"x\ny",')
        manifest = {"rows": 2, "bytes": len(text), "sha256": sha256(text.encode()).hexdigest()}
        async with dropping(tmp_path) as drop:
            drop.put(
                "a.csv",
                "a,gold,1",
                'b,"x\ny",',
                signal_as="a.csv.ready",
                manifest=orjson.dumps({**manifest, "columns": ["id", "tier", "ltv"]}).decode(),
            )
            done = await drop.drain()
            assert (done.code, drop.ends()) == (0, {"a.csv": "done"}), done.said

    async def test_one_bad_part_keeps_all_parts_from_being_sent(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop:
            drop.put("day/part-0", "a,gold,1")
            drop.put("day/part-1", "b,gold,1", signal_as="_SUCCESS", manifest="rows=3")
            done = await drop.drain()
            assert (done.code, drop.at.sandbox.calls["posts"]) == (65, 0), done.said
            assert "says rows = 3, but it is 2" in drop.error_of("day")
            assert drop.left() == []

    async def test_dry_run(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop:
            drop.put("a.csv", "a,gold,1", "b,,", "c/,gold,1", "d,x", signal_as="a.csv.ready", manifest="dry_run=true")
            done = await drop.drain(export={"max_rejects": "100%"})
            assert done.code == 0, done.said
            (report,) = drop.reports()
            assert report["state"] == "skipped"
            rows = report["rows"]
            assert (rows["read"], rows["rejected"], rows["empty"], rows["unsent"]) == (4, 2, 1, 1)
            assert drop.at.sandbox.calls["posts"] == 0
            # Sent for real afterwards: it is not taken for the same once more.
            drop.put("a.csv", "a,gold,1", "b,,", "c/,gold,1", "d,x", signal_as="a.csv.ready", manifest="dry_run=true")
            assert (await drop.drain(export={"max_rejects": "0"})).code == 65
            assert drop.at.sandbox.calls["posts"] == 0

    async def test_in_the_order_of_their_sequence(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop:
            for name, number in (("a", 3), ("b", 1), ("c", 2)):
                drop.put(f"{name}.csv", f"u,{name},", signal_as=f"{name}.ready", manifest=f"sequence={number}")
            assert (await drop.drain()).code == 0
            drop.at.sandbox.apply_all()
            assert drop.at.sandbox.profiles()["u"]["tier"] == "a"
            assert [report["export"]["name"] for report in drop.reports()] == ["b.csv", "c.csv", "a.csv"]
            drop.put("late.csv", "u,late,", signal_as="late.ready", manifest="sequence=2")
            assert (await drop.drain()).code == 65
            assert "its sequence is 2, and the latest was 3" in drop.error_of("late.csv")
            drop.put("late.csv", "u,meant,", signal_as="late.ready", manifest="sequence=2\nagain=true")
            assert (await drop.drain()).code == 0
            drop.at.sandbox.apply_all()
            assert drop.at.sandbox.profiles()["u"]["tier"] == "meant"

    async def test_in_the_order_of_their_age(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop:
            for age, name in enumerate("bca"):
                drop.put(f"{name}.csv", f"u,{name},", signal_as=f"{name}.ready")
                os.utime(drop.directory / f"{name}.ready", (1_000_000_000 + age, 1_000_000_000 + age))
            assert (await drop.drain()).code == 0
            drop.at.sandbox.apply_all()
            assert drop.at.sandbox.profiles()["u"]["tier"] == "a"
            assert [report["export"]["name"] for report in drop.reports()] == ["b.csv", "c.csv", "a.csv"]

    async def test_last_weeks_file_again(self, tmp_path: Path) -> None:
        dated: dict[str, dict[str, Any]] = {"drop": {"as_of": r"customers_(\d{8})"}}
        async with dropping(tmp_path) as drop:
            drop.put("customers_20261108.csv", "u,new,", signal_as="1.ready", manifest="files=customers_20261108.csv")
            assert (await drop.drain(**dated)).code == 0
            drop.put("customers_20261101.csv", "u,old,", signal_as="customers_20261101.csv.ready")
            drop.put("customers.csv", "u,undated,", signal_as="customers.csv.ready")
            done = await drop.drain(**dated)
            assert done.code == 65, done.said
            assert "its as_of is 20261101, and the latest was 20261108" in drop.error_of("customers_20261101.csv")
            assert "holds no date" in drop.error_of("customers.csv")
            drop.put("customers_20261101.csv", "u,meant,", signal_as="customers_20261101.ready", manifest="again=true")
            assert (await drop.drain(**dated)).code == 0
            drop.at.sandbox.apply_all()
            assert drop.at.sandbox.profiles()["u"]["tier"] == "meant"

    async def test_a_signal_without_its_export(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop:
            (drop.directory / "a.csv.ready").write_text("")
            drop.put("b.csv", "b,gold,1", signal_as="b.csv.ready")
            done = await drop.drain()
            assert done.code == 66, done.said
            assert drop.ends() == {"a.csv": "failed", "b.csv": "done"}
            assert "a.csv did not come within 0 s after the signal a.csv.ready" in drop.error_of("a.csv")
            assert [report["export"]["name"] for report in drop.reports()] == ["a.csv", "b.csv"]

    async def test_the_worst_code_counts(self, tmp_path: Path) -> None:
        async with dropping(tmp_path, faults=FaultPlan(posts={1: Fault.FAIL_ROWS})) as drop:
            drop.put("a.csv", "a,gold,1", signal_as="1.ready", manifest="files=a.csv\nsequence=1")
            drop.put("b.csv", "b,gold,1,2,3", signal_as="2.ready", manifest="files=b.csv\nsequence=2")
            drop.put("c.csv", "c,gold,1", signal_as="3.ready", manifest="files=c.csv\nsequence=3")
            done = await drop.drain(export={"max_rejects": "0"})
            assert done.code == 76, done.said
            assert drop.ends() == {"a.csv": "incomplete", "b.csv": "failed", "c.csv": "done"}

    async def test_what_is_refused_counts_too(self, tmp_path: Path) -> None:
        drop = Drop(unheard(tmp_path))
        (drop.directory / "link.csv.ready").symlink_to("link.csv")
        done = await drop.drain()
        assert (done.code, len(events(done, "drop_refused"))) == (65, 1), done.said

    async def test_nothing_to_do(self, tmp_path: Path) -> None:
        drop = Drop(unheard(tmp_path))
        done = await drop.drain()
        assert (done.code, done.out) == (0, ""), done.said

    async def test_target_is_away(self, tmp_path: Path) -> None:
        drop = Drop(unheard(tmp_path))
        drop.put("a.csv", "a,gold,1", signal_as="a.csv.ready")
        assert (await drop.drain(upload={"give_up_after_s": 0.3})).code == 69
        async with bench(tmp_path) as at:
            assert (await Drop(at).drain()).code == 0
            assert drop.ends() == {"a.csv": "done"}

    async def test_where_there_is_nothing_to_serve(self, tmp_path: Path) -> None:
        at = unheard(tmp_path)
        done = await run_program("serve", "--config", at.config())
        assert (done.code, "[drop] directory is required to serve" in done.err) == (78, True), done.said
        done = await run_program("serve", "--config", at.config(drop={"directory": str(tmp_path / "missing")}))
        assert (done.code, "cannot be used" in done.err) == (78, True), done.said


class TestWhereThingsEndUp:
    @pytest.mark.parametrize(("keep", "kept"), [("always", ["bad", "good"]), ("failed", ["bad"]), ("never", [])])
    async def test_exports(self, tmp_path: Path, keep: str, kept: list[str]) -> None:
        async with dropping(tmp_path) as drop:
            drop.put("good.csv", "a,gold,1", signal_as="good.ready")
            drop.put("bad.csv", "a,gold,1", signal_as="bad.ready", manifest="rows=7")
            await drop.drain(drop={"keep_exports": keep})
            files = {file.name: file for file in drop.at.state.glob("jobs/*/drop/*")}
            assert sorted(files) == sorted(f"{name}.{kind}" for name in kept for kind in ("csv", "ready"))
            if "bad" in kept:
                assert files["bad.csv"].read_text() == text_of("a,gold,1")
                assert files["bad.ready"].read_text() == "rows=7"
            assert drop.left() == []

    async def test_elsewhere(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop:
            drop.put("a.csv", "a,gold,1", signal_as="a.ready", manifest="rows=7")
            done = await drop.drain(drop={"outcome_directory": str(tmp_path / "outcome")})
            assert done.code == 65
            (folder,) = (tmp_path / "outcome").iterdir()
            assert names_in(folder) == ["drop", "rejects.jsonl", "report.html", "report.json"]
            assert names_in(folder / "drop") == ["a.csv", "a.ready"]

    async def test_retention(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop:
            drop.put("a.csv", "a,gold,1", signal_as="a.ready", manifest="rows=7")
            await drop.drain()
            (folder,) = drop.at.state.glob("jobs/*")
            stranger = drop.at.state / "jobs" / "stranger" / "file"
            stranger.parent.mkdir()
            stranger.write_text("")
            told = await run_program("prune", "--config", drop.config())
            assert (told.code, told.out) == (0, ""), told.said
            old = drop.config(drop={"keep_exports_days": 0.000001})
            told = await run_program("prune", "--dry-run", "--config", old)
            expected = [str(folder / "drop" / name) for name in ("a.csv", "a.ready")]
            assert (told.code, told.out.split()) == (0, expected)
            assert names_in(folder / "drop") == ["a.csv", "a.ready"]
            # The service does it by itself, at its start.
            done = await drop.drain(drop={"keep_exports_days": 0.000001})
            assert [event["files"] for event in events(done, "old_files_removed")] == [2]
            assert names_in(folder) == ["rejects.jsonl", "report.html", "report.json"]
            none = drop.config(drop={"keep_rejects_days": 0, "keep_reports_days": 0})
            told = await run_program("prune", "--config", none)
            assert told.code == 0
            assert not folder.exists()
            assert stranger.exists()


def append(file: Path) -> None:
    with file.open("a") as writing:
        writing.write("z,tin,9\n")


def replace(file: Path) -> None:
    other = file.with_name("other")
    other.write_text(file.read_text().replace("gold", "tin1"))
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    other.replace(file)


def rewrite(file: Path) -> None:
    file.write_text(file.read_text().replace("gold", "tin1"))


#: Target takes its time: an export is read long before its job ends.
SLOW = {"poll_first_s": 2.0, "poll_max_s": 2.0}


class TestChangesAfterReading:
    """A rename does not close a file: who has it open may go on writing."""

    @staticmethod
    def taken(drop: Drop) -> Path | None:
        return next((path for path in drop.directory.glob(".processing/*/a.csv")), None)

    @staticmethod
    async def until_read(drop: Drop) -> None:
        """Until the only batch is sealed: then the export was read to its end."""
        await until(lambda: drop.at.sandbox.calls)

    @pytest.mark.parametrize("keep", ["failed", "never"])
    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (append, "8 bytes were added to it"),
            (rewrite, "it was written anew"),
            (replace, "it was written anew"),
        ],
    )
    async def test_what_changed_fails_the_job_and_is_kept(
        self, tmp_path: Path, change: Callable[[Path], None], told: str, keep: str
    ) -> None:
        async with dropping(tmp_path) as drop:
            drop.put("a.csv", "a,gold,1", signal_as="a.csv.ready")
            config = drop.config(settle=SLOW, drop={"keep_exports": keep})
            async with started("serve", "--drain", "--config", config) as process:
                await self.until_read(drop)
                taken = self.taken(drop)
                assert taken is not None
                change(taken)
                content = taken.read_bytes()
                done = await ended(process)
            assert done.code == 65, done.said
            (report,) = drop.reports()
            assert (report["state"], report["rows"]["confirmed"]) == ("failed", 1)
            assert (
                f"a.csv was read to its end and sent, and then {told}: what came later was not sent" in report["error"]
            )
            assert "It is kept in the folder of this job" in report["error"]
            kept = drop.at.state / "jobs" / report["job"] / "drop" / "a.csv"
            assert kept.read_bytes() == content
            assert drop.left() == []

    async def test_a_writer_that_never_closed_it_is_noticed(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop:
            if not is_local(drop.directory):
                pytest.skip("the file system of the tests tells nothing of writers")
            drop.put("a.csv", "a,gold,1", signal_as="a.csv.ready")
            config = drop.config(settle=SLOW, drop={"keep_exports": "never"})
            async with started("serve", "--drain", "--config", config) as process:
                await self.until_read(drop)
                taken = self.taken(drop)
                assert taken is not None
                with writing(taken, "a"):
                    done = await ended(process)
            assert done.code == 65, done.said
            assert "and then another process still has it open for writing" in drop.error_of("a.csv")
            assert [path.name for path in drop.at.state.glob("jobs/*/drop/a.csv")] == ["a.csv"]

    async def test_to_touch_it_changes_nothing(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop:
            drop.put("a.csv", "a,gold,1", signal_as="a.csv.ready")
            async with started("serve", "--drain", "--config", drop.config(settle=SLOW)) as process:
                await self.until_read(drop)
                taken = self.taken(drop)
                assert taken is not None
                taken.touch()
                done = await ended(process)
            assert (done.code, drop.ends()) == (0, {"a.csv": "done"}), done.said
            assert drop.left() == []
            assert not [*drop.at.state.glob("jobs/*/drop/*")]

    async def test_what_changed_behind_its_report_is_kept(self, tmp_path: Path) -> None:
        """The process is killed between the end of a job and the removal of its export."""
        async with dropping(tmp_path) as drop:
            drop.put("a.csv", "a,gold,1", signal_as="a.csv.ready")
            assert (await drop.drain()).code == 0
            (report,) = drop.reports()
            taken = drop.directory / ".processing" / report["job"] / "a.csv"
            taken.parent.mkdir()
            taken.write_text(text_of("a,gold,1", "b,gold,1"))
            done = await drop.drain()
            assert done.code == 0, done.said
            (said,) = events(done, "export_kept")
            assert (said["job"], said["export"], said["why"]) == (report["job"], "a.csv", "9 bytes were added to it")
            kept = drop.at.state / "jobs" / report["job"] / "drop" / "a.csv"
            assert kept.read_text() == text_of("a,gold,1", "b,gold,1")

    @pytest.mark.parametrize(("change", "told"), [(append, "8 bytes were added"), (replace, "it was written anew")])
    async def test_of_a_load_too(self, tmp_path: Path, change: Callable[[Path], None], told: str) -> None:
        async with bench(tmp_path) as at:
            export = at.export("a,gold,1")
            async with started("load", export, "--config", at.config(settle=SLOW), "--json") as process:
                await until(lambda: at.sandbox.calls)
                change(export)
                done = await ended(process)
            assert (done.code, done.report["state"]) == (65, "failed"), done.said
            assert told in done.report["error"]
            assert "It was left where it is" in done.report["error"]
            assert export.exists()

    async def test_a_load_whose_export_is_gone_has_read_all_of_it(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            export = at.export("a,gold,1")
            async with started("load", export, "--config", at.config(settle=SLOW), "--json") as process:
                await until(lambda: at.sandbox.calls)
                export.unlink()
                done = await ended(process)
            assert (done.code, done.report["state"]) == (0, "done"), done.said


class TestEmptyParts:
    """A part without a row is no failure; a drop that is one empty file is."""

    @pytest.mark.parametrize("manifest", ["", "rows=1", '{"rows": 1, "columns": ["id", "tier", "ltv"]}'])
    async def test_of_several_exports(self, tmp_path: Path, manifest: str) -> None:
        async with dropping(tmp_path) as drop:
            drop.put("day/part-1.csv", "a,gold,1")
            drop.put("day/part-2.csv")
            (drop.directory / "day" / "part-0.csv").touch()
            (drop.directory / "day" / "part-3.csv").touch()
            (drop.directory / "day" / "_SUCCESS").write_text(manifest)
            done = await drop.drain()
            assert done.code == 0, done.said
            assert drop.ends() == {"day": "done"}
            assert sum(report["rows"]["read"] for report in drop.reports()) == 1
            assert drop.left() == []

    @pytest.mark.parametrize("manifest", ["", "rows=1", '{"rows": 1, "columns": ["id", "tier", "ltv"]}'])
    async def test_that_hold_only_what_is_nothing(self, tmp_path: Path, manifest: str) -> None:
        """A byte order mark, blank lines, an archive of nothing: what writers leave of a part without a row."""
        blank = {
            "bom": b"\xef\xbb\xbf",
            "utf16": b"\xff\xfe",
            "lines": b"\r\n\r\n",
            "line-of-blanks": b"  \t\n",
            "bom-and-line": b"\xef\xbb\xbf\n",
            "packed": gzip.compress(b""),
            "packed-line": gzip.compress(b"\xef\xbb\xbf\n"),
        }
        async with dropping(tmp_path) as drop:
            drop.put("day/part-1.csv", "a,gold,1")
            for name, content in blank.items():
                (drop.directory / "day" / name).write_bytes(content)
            (drop.directory / "day" / "_SUCCESS").write_text(manifest)
            done = await drop.drain()
            assert done.code == 0, done.said
            assert drop.ends() == {"day": "done"}
            assert sum(report["rows"]["read"] for report in drop.reports()) == 1
            assert drop.left() == []

    async def test_all_of_them(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop:
            (drop.directory / "day").mkdir()
            (drop.directory / "day" / "part-0.csv").touch()
            (drop.directory / "day" / "part-1.csv.gz").write_bytes(gzip.compress(b"\n"))
            (drop.directory / "day" / "_SUCCESS").write_text("rows=0")
            done = await drop.drain()
            assert (done.code, drop.ends(), drop.at.sandbox.calls["posts"]) == (0, {"day": "done"}, 0), done.said
            (told,) = events(done, "export_is_empty")
            assert (told["export"], told["parts"]) == ("day", 2)
            assert drop.left() == []

    async def test_a_part_of_one_blank_cell_more_is_none(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop:
            drop.put("day/part-1.csv", "a,gold,1")
            (drop.directory / "day" / "part-2.csv").write_bytes(b"\n,\n")
            (drop.directory / "day" / "_SUCCESS").touch()
            assert (await drop.drain()).code == 65
            assert drop.ends() == {"day": "failed"}

    async def test_of_one_export(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop:
            (drop.directory / "a.csv").touch()
            (drop.directory / "a.csv.ready").touch()
            assert (await drop.drain()).code == 65
            assert "is empty: it has not even a header line" in drop.error_of("a.csv")


async def test_a_drop_that_cannot_be_taken_holds_nothing_up_and_is_named(tmp_path: Path) -> None:
    async with dropping(tmp_path) as drop:
        stuck = drop.put("a.csv", "a,gold,1", signal_as="a.csv.ready")
        with fixed(stuck):
            async with drop.serving() as process:
                drop.put("b.csv", "b,gold,1", signal_as="b.csv.ready")
                await until(lambda: drop.ends() == {"b.csv": "done"})
                (told,) = read_drops(drop.at.state).drops_not_taken
                assert told.name == "a.csv.ready"
                assert told.why.startswith("a.csv cannot be taken: it or its directory is immutable")
                process.send_signal(signal.SIGTERM)
                await ended(process)
        assert (await drop.drain()).code == 0
        assert drop.ends() == {"a.csv": "done", "b.csv": "done"}
