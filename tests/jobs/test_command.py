"""Which jobs a `load` command finds, and which it enters, with a real ledger and real files; jobs do not run here.

An export is named by a letter, and a job by that letter with its place in the ledger: `a1 b2`. `a=1` is not sent, as
job 1 has the same; and `a?` cannot be read, and has no job.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.lifecycle import NeverSent
from pipeline.core.batches.report import Report
from pipeline.core.batches.tracker import NO_CHANGES
from pipeline.core.drop.claim import Claim
from pipeline.core.drop.manifest import Manifest
from pipeline.core.errors import ExitCode
from pipeline.core.model import Batch
from pipeline.edges.host import Host
from pipeline.edges.store.records import JobRecord
from pipeline.edges.store.state import State, open_state
from pipeline.jobs.command import Command, enter_command
from pipeline.settings.sending import sending_digest
from pipeline.settings.settings import Settings

SETTINGS = Settings.model_validate(
    {
        "target": {"client_code": "demo"},
        "export": {"id_column": "id", "unlisted": "send"},
        "state": {"directory": "/nowhere"},
    }
)
SENDING = sending_digest(SETTINGS)
NOW = datetime(2026, 11, 23, tzinfo=UTC)


class Commands:
    """Commands about the exports of a directory, each cut off as soon as its jobs are entered."""

    def __init__(self, directory: Path, state: State) -> None:
        self.directory = directory
        self.state = state

    def write(self, *letters: str, content: str | None = None) -> None:
        """Exports of different lengths, or all of that content."""
        for letter in letters:
            (self.directory / f"{letter}.csv").write_text(content or f"id\n{letter * ord(letter)}\n")

    async def load(
        self, letters: str, *, again: bool = False, route: str = "default", settings: Settings = SETTINGS
    ) -> str:
        """The jobs that the command found, and then those that it entered, as `a1 | b2`."""
        before = {job.seq for job in self.state.ledger.jobs()}
        paths = tuple(self.directory / f"{letter}.csv" for letter in letters.split())
        entered = await enter_command(Command(paths, route, again=again), self.state, settings, NOW)
        jobs = [each for each in entered if isinstance(each, JobRecord)]
        assert [job.seq for job in jobs] == sorted({job.seq for job in jobs}), "each once, in their order"
        found: list[str] = []
        new: list[str] = []
        for each in entered:
            (new if new or self._is_new(each, before) else found).append(self._told(each))
        return f"{' '.join(found)} | {' '.join(new)}".strip()

    def _is_new(self, each: JobRecord | Report, before: set[int]) -> bool:
        return isinstance(each, JobRecord) and each.seq not in before

    def _told(self, each: JobRecord | Report) -> str:
        if isinstance(each, JobRecord):
            return f"{each.export.stem}{each.seq}"
        assert not each.job
        stem = Path(each.export.name).stem
        if each.same_as is None:
            assert (each.state, each.exit_code) == ("failed", ExitCode.EXPORT_MISSING)
            return f"{stem}?"
        assert (each.state, each.exit_code, each.error) == ("skipped", ExitCode.DONE, None)
        job = self.state.ledger.job(each.same_as)
        assert job is not None
        return f"{stem}={job.seq}"

    def job(self, seq: int) -> JobRecord:
        (job,) = [job for job in self.state.ledger.jobs() if job.seq == seq]
        return job

    def enter(self, letter: str, **values: Any) -> JobRecord:
        """A job that came another way than by a command."""
        path = self.directory / f"{letter}.csv"
        facts = path.stat()
        count = len(self.state.ledger.jobs())
        record = JobRecord(
            0, f"job{count}", path, facts.st_size, facts.st_mtime_ns, {}, NOW.isoformat(), None, Checkpoint()
        )
        return self.state.ledger.begin_job(replace(record, **values))

    def end(self, *seqs: int, state: str = "done", is_read: bool = True, has_sent: bool = True) -> None:
        """Let jobs end in this state, each with a batch, unless it `has_sent` none."""
        for seq in seqs:
            job = self.job(seq)
            self.seal(seq, has_sent=has_sent)
            digest = sha256(job.export.read_bytes() if is_read and job.export.exists() else b"").hexdigest()
            report = {"job": job.job_id, "state": state, "exit_code": 0, "export": {"sha256": digest}}
            self.state.ledger.finish_job(job, Report.from_json(report), never_sent=[], released=[])

    def seal(self, seq: int, *, has_sent: bool = True) -> int:
        """Note how a job is sent, with a batch if it has any."""
        ledger, batch_id = self.state.ledger, self.state.ledger.allot_batch_id()
        batch = Batch(batch_id, 1, 1, 1, "", None) if has_sent else None
        before = self.job(seq).checkpoint
        checkpoint = replace(before, sending=before.sending or SENDING, digest_bytes=1)
        ledger.seal(self.job(seq), checkpoint, batch, held=NO_CHANGES, released=[], overtaken={})
        return batch_id

    def read(self, *seqs: int) -> None:
        """These have read their exports to the end, and have not ended."""
        for seq in seqs:
            content = self.job(seq).export.read_bytes()
            checkpoint = Checkpoint(
                digest_bytes=len(content), digest=sha256(content).hexdigest(), has_ended=True, turn=seq
            )
            self.state.ledger.seal(self.job(seq), checkpoint, None, held=NO_CHANGES, released=[], overtaken={})

    def note_settings(self, seq: int, settings: Settings) -> None:
        """This job is sent by these settings."""
        job = self.job(seq)
        self.state.ledger.note_checkpoint(job, replace(job.checkpoint, sending=sending_digest(settings)))

    def close(self, *seqs: int) -> None:
        """The command with these jobs has come to its end."""
        self.end(*[seq for seq in seqs if self.job(seq).state is None])
        self.state.ledger.end_command([self.job(seq).job_id for seq in seqs])


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[Commands]:
    async with open_state(directory / "state", "demo", Host(), min_free_bytes=0) as state:
        commands = Commands(directory, state)
        commands.write("a", "b", "c")
        yield commands


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Commands]:
    async with opened(tmp_path) as commands:
        yield commands


class TestTheSameCommand:
    async def test_enters_all_at_once_and_then_none(self, at: Commands) -> None:
        assert await at.load("a b c") == "| a1 b2 c3"
        assert await at.load("a b c") == "a1 b2 c3 |"

    @pytest.mark.parametrize("state", ["done", "failed", "incomplete"])
    @pytest.mark.parametrize("ended", [(1,), (2,), (1, 2), (1, 2, 3)])
    async def test_goes_on_whatever_has_ended(self, at: Commands, ended: tuple[int, ...], state: str) -> None:
        """Also where all have, and the command was cut off before anybody was told."""
        await at.load("a b c")
        at.end(*ended, state=state, is_read=False)
        for _ in range(2):
            assert await at.load("a b c") == "a1 b2 c3 |"

    async def test_goes_on_in_another_process(self, tmp_path: Path) -> None:
        async with opened(tmp_path) as at:
            await at.load("a b")
            at.end(1)
        async with open_state(tmp_path / "state", "demo", Host(), min_free_bytes=0) as state:
            assert await Commands(tmp_path, state).load("a b") == "a1 b2 |"

    async def test_that_came_to_its_end_is_another_one(self, at: Commands) -> None:
        await at.load("a b", again=True)
        at.close(1, 2)
        assert await at.load("a b", again=True) == "| a3 b4"
        at.end(3)
        assert await at.load("a b", again=True) == "a3 b4 |"

    async def test_with_an_export_named_twice(self, at: Commands) -> None:
        assert await at.load("a a b") == "| a1 a=1 b2"
        assert await at.load("a a b") == "a1 a=1 b2 |"

    async def test_with_an_export_named_before_and_behind_another(self, at: Commands) -> None:
        assert await at.load("a b a") == "| a1 b2 a3"
        at.end(1)
        assert await at.load("a b a") == "a1 b2 a3 |"

    async def test_with_copies(self, at: Commands) -> None:
        at.write("d", "e", content="id\nsame\n")
        at.write("f", content="id\nelse\n")
        assert await at.load("d e f") == "| d1 e=1 f2"
        assert await at.load("d e f") == "d1 e=1 f2 |"
        assert at.job(1).size_bytes == at.job(2).size_bytes

    async def test_with_an_export_that_is_missing(self, at: Commands) -> None:
        """What is named behind it is to win over it, so it comes once more when it is there."""
        assert await at.load("a x b") == "| a1 x? b2"
        assert await at.load("a x b") == "a1 x? b2 |"
        at.write("x")
        assert await at.load("a x b") == "a1 | x3 b4"
        assert await at.load("a x b") == "a1 x3 b4 |"

    async def test_with_an_export_that_vanished(self, at: Commands) -> None:
        """It keeps its job, which says so."""
        await at.load("a b c")
        (at.directory / "b.csv").unlink()
        assert await at.load("a b c") == "a1 b2 c3 |"
        at.end(1, 2, state="failed", is_read=False)
        assert await at.load("a b c") == "a1 b2 c3 |"
        at.close(1, 2, 3)
        assert await at.load("a b c", again=True) == "| a4 b? c5"

    async def test_by_another_route(self, at: Commands) -> None:
        await at.load("a b")
        assert await at.load("a b", route="other") == "| a3 b4"
        assert await at.load("a b") == "a1 b2 |"
        assert await at.load("a b", route="other") == "a3 b4 |"

    async def test_of_which_a_job_was_abandoned(self, at: Commands) -> None:
        """It is entered once more, and what is behind it in the command must not be overtaken by that."""
        await at.load("a b c")
        at.state.ledger.abandon_job(at.job(2).job_id)
        assert await at.load("a b c") == "a1 | b4 c5"
        assert await at.load("a b c") == "a1 b4 c5 |"
        at.end(2, state="failed")
        assert await at.load("a b c") == "a1 b4 c5 |"


class TestAFileThatChanged:
    async def test_since_its_job_was_entered(self, at: Commands) -> None:
        await at.load("a b")
        at.write("b", content="id\nnew\n")
        assert await at.load("a b") == "a1 | b3"
        assert await at.load("a b") == "a1 b3 |"

    async def test_before_another_one_of_the_command(self, at: Commands) -> None:
        """Its new values are older than those of what is named behind it."""
        await at.load("a b")
        at.write("a", content="id\nnew\n")
        assert await at.load("a b") == "| a3 b4"
        assert await at.load("a b") == "a3 b4 |"

    async def test_only_its_time(self, at: Commands) -> None:
        """The same content is known as such once it was read."""
        await at.load("a b")
        at.read(1)
        for letter in "ab":
            os.utime(at.directory / f"{letter}.csv", (1, 1))
        assert await at.load("a b") == "a1 | b3"

    async def test_and_whose_job_has_ended_is_kept_for_nothing(self, at: Commands) -> None:
        await at.load("a")
        at.end(1)
        at.write("a", content="id\nnew\n")
        assert await at.load("a") == "| a2"
        assert list(at.state.ledger.marks_of_commands()) == [at.job(2).job_id]


class TestAnotherCommand:
    async def test_goes_on_with_what_is_in_both(self, at: Commands) -> None:
        await at.load("a b")
        assert await at.load("b c") == "b2 | c3"
        assert await at.load("a b c") == "a1 b2 c3 |"
        assert await at.load("a") == "a1 |"

    async def test_of_a_copy_comes_behind(self, at: Commands) -> None:
        """Its values are to win over those of what was named behind the first one."""
        await at.load("a b")
        at.read(1, 2)
        at.write("d", content=(at.directory / "a.csv").read_text())
        assert await at.load("d") == "| d3"

    async def test_keeps_its_own_order(self, at: Commands) -> None:
        await at.load("a b")
        assert await at.load("b a") == "b2 | a3"
        assert await at.load("b a") == "b2 a3 |"
        assert await at.load("c b") == "| c4 b5"
        assert await at.load("c b") == "c4 b5 |"
        assert await at.load("a b") == "a1 b2 |"

    async def test_in_between_does_not_make_the_first_one_new(self, at: Commands) -> None:
        await at.load("a b")
        assert await at.load("c") == "| c3"
        at.close(3)
        at.end(1, 2)
        assert await at.load("a b") == "a1 b2 |"


class TestAgain:
    async def test_loads_what_has_ended(self, at: Commands) -> None:
        await at.load("a b")
        at.close(1, 2)
        assert await at.load("a b", again=True) == "| a3 b4"

    async def test_goes_on_with_what_is_unfinished(self, at: Commands) -> None:
        await at.load("a b")
        assert await at.load("a b c", again=True) == "a1 b2 | c3"

    async def test_that_was_cut_off_goes_on(self, at: Commands) -> None:
        await at.load("a b", again=True)
        at.end(1)
        assert await at.load("a b", again=True) == "a1 b2 |"
        assert await at.load("a b") == "a1 b2 |"
        assert await at.load("a b", again=True) == "a1 b2 |"
        at.end(2)
        assert await at.load("a b", again=True) == "a1 b2 |"

    async def test_behind_a_command_without_it(self, at: Commands) -> None:
        """The one that has ended is wanted anew, and the one behind it must stay behind it."""
        await at.load("a b")
        at.end(1)
        assert await at.load("a b", again=True) == "| a3 b4"
        at.end(2, 3)
        assert await at.load("a b", again=True) == "a3 b4 |"

    async def test_of_an_export_named_twice(self, at: Commands) -> None:
        assert await at.load("a a", again=True) == "| a1 a2"
        at.end(1)
        assert await at.load("a a", again=True) == "a1 a2 |"


def other(**values: Any) -> Settings:
    """The settings with other values, by section."""
    sections = SETTINGS.model_dump()
    return Settings.model_validate(sections | {name: sections[name] | keys for name, keys in values.items()})


class TestWhatIsLoaded:
    async def test_under_any_name_is_not_sent(self, at: Commands) -> None:
        await at.load("a")
        at.close(1)
        at.write("d", content=(at.directory / "a.csv").read_text())
        assert await at.load("a") == "a=1 |"
        assert await at.load("d") == "d=1 |"
        assert await at.load("d", again=True) == "| d2"

    @pytest.mark.parametrize("state", ["failed", "incomplete", "skipped", "quarantined"])
    async def test_is_only_what_is_done(self, at: Commands, state: str) -> None:
        await at.load("a")
        at.end(1, state=state)
        at.close(1)
        assert await at.load("a") == "| a2"

    async def test_is_nothing_that_is_unfinished(self, at: Commands) -> None:
        await at.load("a")
        at.read(1)
        at.state.ledger.end_command([at.job(1).job_id])
        at.write("d", content=(at.directory / "a.csv").read_text())
        assert await at.load("d") == "| d2"

    async def test_is_nothing_that_was_abandoned(self, at: Commands) -> None:
        await at.load("a")
        at.state.ledger.abandon_job(at.job(1).job_id)
        at.end(1, state="failed")
        at.close(1)
        assert await at.load("a") == "| a2"

    async def test_is_nothing_by_another_route(self, at: Commands) -> None:
        await at.load("a")
        at.close(1)
        assert await at.load("a", route="other") == "| a2"

    async def test_is_nothing_that_only_has_its_name(self, at: Commands) -> None:
        await at.load("a")
        at.close(1)
        at.write("a", content=f"id\n{'b' * ord('a')}\n")
        assert await at.load("a") == "| a2"

    async def test_is_nothing_that_an_earlier_version_loaded(
        self, at: Commands, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It did not note by which settings."""
        await at.load("a")
        at.end(1)
        at.close(1)
        job = at.job(1)
        at.state.ledger.note_checkpoint(job, replace(job.checkpoint, sending=""))
        assert await at.load("a") == "| a2"
        assert "by an earlier version" in capsys.readouterr().out

    @pytest.mark.parametrize(
        "values",
        [
            {"export": {"columns": {"tier": "level"}}},
            {"export": {"unlisted": "ignore"}},
            {"export": {"trim": "all"}},
            {"export": {"on_delimiter": "reject"}},
            {"export": {"null_values": ["NULL"]}},
            {"export": {"id_kind": "pcId"}},
            {"export": {"delimiter": ";"}},
            {"target": {"base_url": "https://staging.example.com"}},
            {"target": {"api_version": "v1"}},
            {"target": {"client_code": "other"}},
            {"batch": {"max_bytes": 2_000}},
            {"memory": {"remember": "digests"}},
            {"export": {"kind": "snapshot"}},
        ],
    )
    async def test_is_nothing_with_other_settings(self, at: Commands, values: dict[str, Any]) -> None:
        await at.load("a")
        at.close(1)
        assert await at.load("a", settings=other(**values)) == "| a2"

    @pytest.mark.parametrize(
        "values",
        [
            {"export": {"max_rejects": "3%"}},
            {"target": {"calls_per_minute": 5}},
            {"target": {"base_url": "https://demo.tt.omtrdc.net"}},
            {"batch": {"max_rows": 5}},
            {"settle": {"deadline_s": 5.0}},
            {"memory": {"keep_days": 50}},
            {"export": {"max_gone": "3%"}},
        ],
    )
    async def test_is_the_same_where_these_differ(self, at: Commands, values: dict[str, Any]) -> None:
        await at.load("a")
        at.close(1)
        assert await at.load("a", settings=other(**values)) == "a=1 |"

    async def test_is_judged_row_by_row_where_only_changes_are_sent(self, at: Commands) -> None:
        """What was sent long ago is due again though the file is the same."""
        changes = other(memory={"remember": "digests", "send": "changes"})
        await at.load("a", settings=changes)
        at.note_settings(1, changes)
        at.close(1)
        assert await at.load("a", settings=changes) == "| a2"

    async def test_is_the_same_with_a_memory_of_all_that_is_sent(self, at: Commands) -> None:
        remembered = other(memory={"remember": "digests"})
        await at.load("a", settings=remembered)
        at.note_settings(1, remembered)
        at.close(1)
        assert await at.load("a", settings=other(memory={"remember": "digests", "refresh_days": 3})) == "a=1 |"
        assert await at.load("a", settings=other(memory={"remember": "values"})) == "| a2"

    @pytest.mark.parametrize(
        ("before", "now", "expected"),
        [
            # Command by command, each to its end; then one more.
            ("a", "a", "a=1 |"),
            ("a,b", "b", "b=2 |"),
            ("a,b", "a", "| a3"),
            ("a b", "a b", "a=1 b=2 |"),
            ("a,b", "a b", "a=1 b=2 |"),
            ("a b", "a b c", "a=1 b=2 | c3"),
            ("a b", "b c", "b=2 | c3"),
            ("a b", "b a", "b=2 | a3"),
            ("a b c", "a b", "| a4 b5"),
            ("a b c", "b c", "b=2 c=3 |"),
            ("a b c", "a c", "| a4 c5"),
            ("a b", "c a b", "| c3 a4 b5"),
            ("a b", "a a b", "a=1 a=1 b=2 |"),
            ("a b", "a x b", "a=1 x? b=2 |"),
        ],
    )
    async def test_is_sent_once_more_if_others_came_behind(
        self, at: Commands, before: str, now: str, expected: str
    ) -> None:
        """What was loaded later has won; whoever names the first again wants it to win."""
        for command in before.split(","):
            await at.load(command)
            at.close(*[job.seq for job in at.state.ledger.jobs(unfinished_only=True)])
        assert await at.load(now) == expected

    @pytest.mark.parametrize(
        ("state", "has_sent", "expected"),
        [
            ("done", True, "| a3"),
            ("failed", True, "| a3"),
            ("failed", False, "a=1 |"),
            ("skipped", False, "a=1 |"),
            ("done", False, "a=1 |"),
        ],
    )
    async def test_counts_only_what_may_have_been_sent_behind_it(
        self, at: Commands, state: str, has_sent: bool, expected: str
    ) -> None:
        await at.load("a")
        at.close(1)
        await at.load("b")
        at.end(2, state=state, has_sent=has_sent)
        at.close(2)
        assert await at.load("a") == expected

    async def test_counts_no_batch_that_never_left(self, at: Commands) -> None:
        await at.load("a")
        at.close(1)
        await at.load("b")
        batch_id = at.seal(2)
        at.state.ledger.add_fact(batch_id, NeverSent())
        at.end(2, state="failed", has_sent=False)
        assert await at.load("a") == "a=1 |"

    async def test_waits_for_what_is_unfinished_behind_it(self, at: Commands) -> None:
        await at.load("a")
        at.close(1)
        await at.load("b")
        assert await at.load("a") == "| a3"

    async def test_counts_no_retry(self, at: Commands) -> None:
        """It sends nothing that a later row has overtaken."""
        await at.load("a")
        at.close(1)
        at.enter("b", retry_of="job0")
        assert await at.load("a") == "a=1 |"
        at.end(2)
        assert await at.load("a") == "a=1 |"

    async def test_counts_a_drop_that_was_entered_before_and_ran_behind(self, at: Commands) -> None:
        claim = Claim("job0", "b.csv", "b.csv.ready", 0, 0, Manifest(sequence=2), as_of=None)
        at.enter("b", claim=claim)
        await at.load("a")
        at.close(2)
        assert await at.load("a") == "| a3"
        at.end(1)
        at.close(3)
        assert await at.load("a") == "a=3 |"

    async def test_that_was_dropped_counts(self, at: Commands) -> None:
        claim = Claim("job0", "a.csv", "a.csv.ready", 0, 0, Manifest(), as_of=None)
        at.enter("a", claim=claim)
        at.end(1)
        assert await at.load("a b") == "a=1 | b2"
        assert await at.load("a b") == "a=1 b2 |"


class TestOtherSettings:
    async def test_for_a_job_that_has_begun_come_too_late(self, at: Commands) -> None:
        await at.load("a")
        at.seal(1)
        assert await at.load("a", settings=other(export={"trim": "all"})) == "a1 |"
        assert at.job(1).settings["trim"] == "ids"

    async def test_are_those_with_which_a_job_begins(self, at: Commands) -> None:
        await at.load("a")
        assert await at.load("a", settings=other(export={"trim": "all"})) == "a1 |"
        assert at.job(1).settings["trim"] == "all"

    @pytest.mark.parametrize(
        "values", [{"export": {"trim": "all"}}, {"export": {"max_rejects": "90%"}}, {"target": {"api_version": "v1"}}]
    )
    async def test_make_anew_what_has_ended_before_the_command_was_cut_off(
        self, at: Commands, values: dict[str, Any]
    ) -> None:
        """It failed, or was loaded, by others; what is named behind it has to come behind it."""
        await at.load("a b")
        at.end(1, state="failed")
        at.seal(2)
        assert await at.load("a b", settings=other(**values)) == "| a3 b4"


class TestWhatCameAnotherWay:
    async def test_a_drop(self, at: Commands) -> None:
        claim = Claim("job0", "a.csv", "a.csv.ready", 0, 0, Manifest(), as_of=None)
        at.enter("a", claim=claim)
        assert await at.load("a") == "| a2"

    async def test_a_retry(self, at: Commands) -> None:
        at.enter("a", retry_of="job0")
        assert await at.load("a") == "| a2"

    async def test_a_load_of_an_earlier_version(self, at: Commands) -> None:
        at.enter("a")
        assert await at.load("a b") == "a1 | b2"
        at.end(1)
        assert await at.load("a b") == "a1 b2 |"


async def test_an_export_is_named_in_the_log_where_its_job_has_ended(
    at: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    await at.load("a b")
    at.end(1)
    assert "export_not_sent" not in capsys.readouterr().out
    await at.load("a b")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "export_not_sent" in line]
    assert "a.csv" in line
    assert at.job(1).job_id in line


async def test_exports_of_one_name_have_jobs_of_their_own(at: Commands) -> None:
    paths = [at.directory / str(number) / "same.csv" for number in range(1_500)]
    for path in paths:
        path.parent.mkdir()
        path.write_text(f"id\n{path.parent.name}\n")
    jobs = await enter_command(Command(tuple(paths), "default", again=False), at.state, SETTINGS, NOW)
    assert [job.export for job in jobs if isinstance(job, JobRecord)] == paths


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ("rows=3", "the manifest in day/_SUCCESS says rows = 3, but it is 2: nothing was sent."),
        ("bytes=1", "the manifest in day/_SUCCESS says bytes = 1, but it is 10: nothing was sent."),
        ("columns=id,tier", "the manifest in day/_SUCCESS says columns, 2 of them, and the export has 1: nothing"),
        (f"sha256={'0' * 64}", f"the manifest in day/_SUCCESS says sha256 = {'0' * 64}, but it is "),
        ("rows=2\nbytes=10\ncolumns=id\nsha256=" + sha256(b"id\n1\nid\n2\n").hexdigest(), None),
    ],
)
async def test_a_directory_is_as_the_manifest_in_it_says(at: Commands, manifest: str, said: str | None) -> None:
    directory = at.directory / "day"
    directory.mkdir()
    for name, content in (("a", "id\n1\n"), ("b", "id\n2\n"), ("_SUCCESS", manifest)):
        (directory / name).write_text(content)
    (entered,) = await enter_command(Command((directory,), "default", again=False), at.state, SETTINGS, NOW)
    if said is None:
        assert isinstance(entered, JobRecord)
    else:
        assert isinstance(entered, Report)
        assert (entered.state, entered.exit_code) == ("failed", 65)
        assert said in str(entered.error)
        assert at.state.ledger.jobs() == []


async def test_where_escapes_count_decides_what_is_sent(at: Commands) -> None:
    """It is no other setting than before where it is not set."""
    everywhere, in_quotes = other(export={"escape": "\\"}), other(export={"escape": "\\", "escape_in": "quotes"})
    assert sending_digest(SETTINGS) != sending_digest(everywhere) != sending_digest(in_quotes)
    await at.load("a", settings=everywhere)
    at.close(1)
    assert await at.load("a", settings=in_quotes) == "| a2"


async def test_files_of_a_directory_that_no_list_names_are_no_parts_and_told_of(
    at: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = at.directory / "day"
    directory.mkdir()
    for name, content in (("a", "id\na\n"), ("left_over", "id\nb\n"), ("_committed_1", '{"added": ["a"]}')):
        (directory / name).write_text(content)
    (job,) = await enter_command(Command((directory,), "default", again=False), at.state, SETTINGS, NOW)
    assert isinstance(job, JobRecord)
    assert [part.name for part in job.parts] == ["a"]
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "unlisted_files_left_out" in line]
    assert "left_over" in line
