"""What `explain` says of an id: under way, after crashes, behind [mapping], and where it cannot be known."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.explain.fates import Fate, RowFate
from pipeline.core.explain.story import Explanation
from pipeline.edges.store.job_rows.row_index import RowIndex, look_up
from pipeline.edges.store.state import open_state
from pipeline.jobs.job import Job
from pipeline.jobs.one_shot import load_exports
from pipeline.jobs.retries.lost_rows import begin_retry
from pipeline.jobs.status.explain.explanation import explain
from pipeline.sandbox import Fault, FaultPlan
from pipeline.settings.tenants import Tenant
from tests.simulation.staged import Stage, staged
from tests.simulation.virtually import virtually

SETTLE = {"poll_first_s": 0.05, "poll_max_s": 0.2, "ambiguous_hold_s": 2.0}
ALL = {"max_rejects": "100%"}


def asked(stage: Stage, profile_id: str, *, is_as_sent: bool = False, **sections: Any) -> Explanation:
    return explain(Tenant.of_one(stage.settings(settle=SETTLE, **sections)), profile_id, is_as_sent=is_as_sent)


def fates(told: Explanation) -> list[list[tuple[int, Fate]]]:
    """Of each job line and fate of each row."""
    return [[(row.line, row.fate) for row in job.rows] for job in told.jobs]


def latest(told: Explanation) -> RowFate:
    return next(job for job in reversed(told.jobs) if job.rows).rows[-1]


@virtually
async def test_the_conclusion_comes_with_the_command_to_type_next(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        first = await stage.load("u1,gold,1", "null,x,1", "u2,,", "u1,silver,2", settle=SETTLE, export=ALL)
        told = asked(stage, "u1")
        assert fates(told) == [[(2, Fate.SUPERSEDED), (5, Fate.CONFIRMED)]]
        assert told.jobs[0].rows[0].superseded_by == 5
        assert "which Target says it has applied" in told.conclusions[0].told
        assert told.conclusions[0].command == ("profile-pipeline", "explain", "ID", "--live")
        rejected = asked(stage, "null").conclusions[0]
        assert "was rejected (an id that is nobody's" in rejected.told
        table = str(stage.state / "jobs" / first["job"] / "rejects.csv")
        assert rejected.command == ("profile-pipeline", "retry", first["job"], "--rejects", table)
        assert "an empty cell leaves what Target has" in asked(stage, "u2").conclusions[0].told
        await stage.load("u3,gold,1", name="later.csv", settle=SETTLE)
        assert asked(stage, "u1").conclusions[0].told.endswith("It is in no export since.")
        nowhere = asked(stage, "U1").conclusions[0]
        assert nowhere.told.startswith("It is in none of the 2 exports known.")
        assert nowhere.job is None


@virtually
async def test_no_job_at_all(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        assert asked(stage, "u1").conclusions[0].told == "No export was loaded yet."


@virtually
async def test_an_id_that_is_hashed_is_found_as_the_export_has_it_and_as_target_knows_it(tmp_path: Path) -> None:
    (tmp_path / "salt").write_text("pepper")
    mapping = {"salt_file": str(tmp_path / "salt"), "id": {"case": "lower", "hash": "sha256"}}
    async with staged(tmp_path) as stage:
        await stage.load("Ann@a.example,gold,1", "Bob@a.example,,", settle=SETTLE, mapping=mapping)
        stage.sandbox.apply_all()
        (as_sent,) = stage.sandbox.profiles()
        told = asked(stage, "ann@A.example ")
        assert fates(told) == [[(2, Fate.CONFIRMED)]]
        assert told.jobs[0].is_hashed
        assert fates(asked(stage, "bob@a.example")) == [[(3, Fate.EMPTY)]]
        assert fates(asked(stage, as_sent, is_as_sent=True)) == [[(2, Fate.CONFIRMED)]]
        assert fates(asked(stage, as_sent)) == [[]]
        (tmp_path / "salt").write_text("another")
        without = asked(stage, "ann@a.example").jobs[0]
        assert (without.rows, without.known) == ((), "partly")
        assert "--hashed" in without.note


@virtually
async def test_what_is_under_way_is_told_as_it_stands(tmp_path: Path) -> None:
    def is_one_accepted(job: Job) -> object:
        return len(stage.posts) == 1

    async with staged(tmp_path, apply_min_s=60.0, apply_max_s=60.0) as stage:
        sections: dict[str, Any] = {"settle": {**SETTLE, "status_window": 1}, "batch": {"max_rows": 2}}
        lines = ["u1,a,1", "u2,a,1", "u1,b,2", "u3,a,1", "u4,a,1", "u1,c,3"]
        await stage.load(*lines, stop_when=is_one_accepted, **sections)
        told = asked(stage, "u1")
        assert latest(told).fate in (Fate.HELD, Fate.WAITING)
        assert told.jobs[0].state == "unfinished"
        assert told.conclusions[0].command == ("profile-pipeline", "status", told.jobs[0].job)
        assert fates(asked(stage, "u2"))[0] == [(3, Fate.ACCEPTED)]
        assert "accepted and has not applied yet" in asked(stage, "u2").conclusions[0].told
        assert fates(asked(stage, "u3"))[0] == [(5, Fate.SENDING)]
        done = await stage.load(*lines, **sections)
        assert done["rows"]["confirmed"] + done["rows"]["superseded"] == 6
        again = asked(stage, "u1")
        assert [row.line for row in again.jobs[0].rows] == [2, 4, 7]
        assert latest(again).fate is Fate.CONFIRMED
        assert {job.known for job in again.jobs} == {"whole"}


@virtually
async def test_runs_that_are_cut_off_leave_each_row_in_the_index_once(tmp_path: Path) -> None:
    lines = [f"u{number % 40},{number},{'' if number % 7 else 'x'}" for number in range(400)]
    lines[5::50] = [",none,1"] * len(lines[5::50])
    sections: dict[str, Any] = {"settle": SETTLE, "batch": {"max_rows": 30}, "export": ALL}
    for memory in ({}, {"remember": "values", "send": "changes"}):
        directory = tmp_path / str(len(memory))
        directory.mkdir()
        async with staged(directory) as stage:
            done: dict[str, Any] = {"state": "unfinished"}
            while done["state"] == "unfinished":
                posts = len(stage.posts)

                def is_one_more_sent(_: Job, posts: int = posts) -> object:
                    return len(stage.posts) > posts

                done = await stage.load(
                    *lines, stop_when=is_one_more_sent, may_fail=True, **{**sections, "memory": memory}
                )
            counts = dict.fromkeys(Fate, 0)
            for number in range(40):
                (story,) = asked(stage, f"u{number}", memory=memory).jobs
                assert story.known == "whole"
                for row in story.rows:
                    counts[row.fate] += 1
            rows = done["rows"]
            assert counts[Fate.CONFIRMED] == rows["confirmed"]
            assert counts[Fate.SUPERSEDED] == rows["superseded"]
            assert story.nameless == rows["rejected"] == 8


@virtually
async def test_the_rows_of_a_batch_that_was_split_are_found_in_its_parts(tmp_path: Path) -> None:
    faults = FaultPlan(posts=dict.fromkeys((2, 3, 5), Fault.REFUSE))
    async with staged(tmp_path, faults=faults) as stage:
        await stage.load("first,a,1", name="first.csv", settle=SETTLE)
        ids = [f"u{number}" for number in range(4)]
        report = await stage.load(*(f"{each},a,1" for each in ids), settle=SETTLE, export=ALL, may_fail=True)
        assert {batch["state"] for batch in report["batches"]} > {"split"}
        told = [fates(asked(stage, each))[-1] for each in ids]
        assert [line for ((line, _),) in told] == [2, 3, 4, 5]
        counts = Counter(fate for ((_, fate),) in told)
        assert counts == {Fate.REFUSED: report["rows"]["rejected"], Fate.CONFIRMED: report["rows"]["confirmed"]}
        assert counts[Fate.REFUSED] == 1
        refused = ids[[fate for ((_, fate),) in told].index(Fate.REFUSED)]
        assert "was refused by Target" in asked(stage, refused).conclusions[0].told


@virtually
async def test_lost_rows_are_sent_again_by_a_retry(tmp_path: Path) -> None:
    async with staged(tmp_path, faults=FaultPlan(posts={1: Fault.FAIL_ROWS}, failing_rows=1)) as stage:
        report = await stage.load("u1,a,1", settle={**SETTLE, "max_lost": "100%"})
        failed = asked(stage, "u1")
        assert latest(failed).fate is Fate.FAILED
        assert failed.conclusions[0].command == ("profile-pipeline", "retry", report["job"])
        await stage.load("u1,b,1", name="later.csv", settle=SETTLE)
        assert asked(stage, "u1").jobs[0].rows[0].is_overtaken
        assert latest(asked(stage, "u1")).fate is Fate.CONFIRMED


@virtually
async def test_where_nobody_can_tell_any_more_it_says_so(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        old = await stage.load("u1,a,1", settle=SETTLE)
        new = await stage.load("u2,a,1", name="new.csv", settle=SETTLE)
        for report in (old, new):
            folder = stage.state / "jobs" / report["job"]
            shutil.rmtree(folder / "sent")
        told = asked(stage, "u1")
        assert [job.known for job in told.jobs] == ["nothing", "nothing"]
        assert told.conclusions[0].told.startswith("Nobody can tell")
        assert "keep_rejects_days" in told.jobs[0].note
        await stage.load("u1,b,1", ",x,1", name="newest.csv", settle=SETTLE, export=ALL)
        again = asked(stage, "u1")
        assert [job.known for job in again.jobs] == ["nothing", "nothing", "whole"]
        assert latest(again).fate is Fate.CONFIRMED
        (stage.state / "jobs" / again.jobs[2].job / "rows" / "index").write_bytes(b"torn")
        assert asked(stage, "u1").jobs[2].known == "partly"


@pytest.mark.parametrize("remember", ["digests", "values"])
@virtually
async def test_unchanged_rows_and_when_they_were_sent_last(tmp_path: Path, remember: str) -> None:
    memory = {"remember": remember, "send": "changes"}
    async with staged(tmp_path) as stage:
        await stage.load("u1,a,1", settle=SETTLE, memory=memory)
        await stage.load("u1,a,1", "u2,b,1", name="again.csv", settle=SETTLE, memory=memory)
        told = asked(stage, "u1", memory=memory)
        assert fates(told) == [[(2, Fate.CONFIRMED)], [(2, Fate.UNCHANGED)]]
        assert told.conclusions[0].told.endswith("says nothing that was not sent before, so it was not sent again.")
        assert [each.sent_at for each in told.remembered] == ["2026-11-23T12:00+00:00"]


@virtually
async def test_what_a_crash_wrote_behind_the_last_seal_is_cut_off(tmp_path: Path) -> None:
    sections: dict[str, Any] = {"settle": SETTLE, "batch": {"max_rows": 2}, "export": ALL}
    lines = ["u1,a,1", "u2,a,1", "u3,,", "u4,a,1", ",x,1", "u1,b,1"]
    async with staged(tmp_path) as stage:
        begun = await stage.load(*lines, stop_when=lambda _: bool(stage.posts), **sections)
        index = RowIndex(stage.state / "jobs" / begun["job"] / "rows" / "index")
        index.add("empty", np.array([7, 0], dtype=np.uint64), np.array([4, 6]))
        index.write_index()
        told = asked(stage, "u3").jobs[0]
        assert told.nameless <= 1
        done = await stage.load(*lines, **sections)
        counts = look_up(index.path, 0).counts
        assert counts["empty"] == done["rows"]["empty"] == 1
        assert counts["local.empty_id"] == done["rows"]["rejected"] == 1
        assert fates(asked(stage, "u3")) == [[(4, Fate.EMPTY)]]


@virtually
async def test_lines_are_told_by_the_part_in_which_they_stand(tmp_path: Path) -> None:
    directory = tmp_path / "export"
    directory.mkdir()
    for number, rows in enumerate((("u1,a,1", "u2,a,1"), ("u1,b,1", ",x,1"), ("u3,,",))):
        (directory / f"part-{number}.csv").write_text("\n".join(("id,tier,ltv", *rows, "")))
    async with staged(tmp_path) as stage:
        await stage.load_all(directory, settle=SETTLE, export=ALL)
        first, last = asked(stage, "u1").jobs[0].rows
        assert (first.file, first.file_line, first.fate) == ("part-0.csv", 2, Fate.SUPERSEDED)
        assert (first.superseded_in, first.superseded_by) == ("part-1.csv", 2)
        assert (last.file, last.file_line, last.fate) == ("part-1.csv", 2, Fate.CONFIRMED)
        (empty,) = asked(stage, "u3").jobs[0].rows
        assert (empty.file, empty.file_line) == ("part-2.csv", 2)


@virtually
async def test_an_id_is_found_in_the_retry_of_its_row_too(tmp_path: Path) -> None:
    mapping = {"id": {"hash": "sha256_unsalted"}}
    sections: dict[str, Any] = {"settle": {**SETTLE, "max_lost": "100%"}, "mapping": mapping}
    async with staged(tmp_path, faults=FaultPlan(posts={1: Fault.FAIL_ROWS}, failing_rows=1)) as stage:
        report = await stage.load("u1,a,1", **sections)
        async with open_state(stage.state, "demo", stage.host, min_free_bytes=0) as state:
            await begin_retry(state, report["job"])
        tenant = Tenant.of_one(stage.settings(**sections))
        reports = [each async for each in load_exports([], tenant, host=stage.host, only_retries=True)]
        assert [each.rows.confirmed for each in reports] == [1]
        told = asked(stage, "u1")
        assert fates(told) == [[(2, Fate.FAILED)], [(2, Fate.CONFIRMED)]]
        assert told.jobs[1].retry_of == report["job"]
        assert told.jobs[1].rows[0].file == "retry.csv"


@virtually
async def test_of_an_export_that_was_given_up_every_row_that_was_read_is_told(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.load("u1,a,1", ",x,1", "u2,a,1", settle=SETTLE, export={"max_rejects": 0}, may_fail=True)
        told = asked(stage, "u1")
        assert fates(told) == [[(2, Fate.UNSENT)]]
        assert told.conclusions[0].told.endswith("was not sent: the job ended before (failed).")
        assert told.jobs[0].known == "whole"


@virtually
async def test_an_export_in_quarantine_waits_to_be_approved(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        guard = {"min_rows": 9}
        report = await stage.load("u1,a,1", "u2,,", settle=SETTLE, guard=guard, may_fail=True)
        assert report["state"] == "quarantined"
        told = asked(stage, "u1", guard=guard)
        assert fates(told) == [[(2, Fate.WAITING)]]
        assert told.conclusions[0].command == ("profile-pipeline", "approve", report["job"])
        assert fates(asked(stage, "u2", guard=guard)) == [[(3, Fate.EMPTY)]]
