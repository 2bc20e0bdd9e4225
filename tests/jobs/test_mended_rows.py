"""Rejected rows that come back mended: each as old as it was, still bad ones rejected again; in virtual time."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.core.batches.parts import Part, Places
from pipeline.core.errors import InputError, PipelineError
from pipeline.core.model import Reason, Reject
from pipeline.core.rows.reject_table import Written
from pipeline.edges.store.job_folder import JobFolder
from pipeline.edges.store.rejects_table import note_written, write_rejects_table
from pipeline.edges.store.state import open_state
from pipeline.jobs.gathering.memory_upkeep import rebuild_memory
from pipeline.jobs.one_shot import load_exports
from pipeline.jobs.retries.fixed_table import Rejected, read_mended
from pipeline.jobs.retries.lost_rows import Retry, begin_retry
from pipeline.jobs.retries.mended_rows import begin_mended, settings_of_mended
from pipeline.sandbox import Fault, FaultPlan
from pipeline.settings.sections.export import ExportSettings
from pipeline.settings.tenants import Tenant
from tests.simulation.staged import Stage, staged
from tests.simulation.virtually import virtually

SETTLE = {"poll_first_s": 0.05, "poll_max_s": 0.2, "ambiguous_hold_s": 2.0}
EXPORT = {"max_rejects": "100%"}
BOM = b"\xef\xbb\xbf"


async def load(stage: Stage, *lines: str, name: str = "export.csv", **more: Any) -> dict[str, Any]:
    return await stage.load(*lines, name=name, settle=SETTLE, **{"export": EXPORT, **more})


def table(stage: Stage, job: str) -> str:
    """The table of a job's rejected rows, without its byte order mark."""
    content = (stage.state / "jobs" / job / "rejects.csv").read_bytes()
    assert content.startswith(BOM)
    return content.removeprefix(BOM).decode().replace("\r\n", "\n")


async def ask(stage: Stage, job: str, *rows: str, header: str = "_line,_reason,id,tier,ltv") -> Retry:
    given = stage.directory / "fixed.csv"
    given.write_text("\n".join([header, *rows, ""]))
    async with open_state(stage.state, "demo", stage.host, min_free_bytes=0) as state:
        return await begin_mended(state, job, given)


async def mend(stage: Stage, job: str, *rows: str, **more: Any) -> tuple[str, list[dict[str, Any]]]:
    answer = await ask(stage, job, *rows, **more)
    tenant = Tenant.of_one(stage.settings(settle=SETTLE, export=EXPORT))
    loading = load_exports([], tenant, host=stage.host, only_retries=True)
    return answer.told, [] if answer.job is None else [report.as_json() async for report in loading]


def profiles(stage: Stage) -> dict[str, dict[str, str]]:
    stage.sandbox.apply_all()
    return stage.sandbox.profiles()


@virtually
async def test_a_mended_row_is_loaded_and_one_that_is_still_bad_is_rejected_again(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        report = await load(stage, "u1,gold,1", ",silver,=1+1", "u3,x", "null,y,-5")
        job = report["job"]
        assert table(stage, job) == (
            "_line,_reason,id,tier,ltv\n3,no id,,silver,'=1+1\n4,another number of fields than the header,u3,x\n"
            '5,"an id that is nobody\'s, such as null or a dash",null,y,-5\n'
        )
        assert (stage.state / "jobs" / job / "rejects.csv").stat().st_mode & 0o777 == 0o600
        # As a spreadsheet saves it: sorted anew, and the short row with an empty cell at its end.
        told, (again,) = await mend(stage, job, "5,r,u5,y,-5", "4,r,u3,x,", "3,r,u2,silver,'=1+1")
        assert "3 rows of job" in told
        assert "1 row is as it was" in told
        assert again["retry_of"] == job
        assert (again["rows"]["read"], again["rows"]["confirmed"], again["rows"]["rejected"]) == (3, 2, 1)
        assert again["rejects"]["by_reason"] == {"local.field_count": 1}
        assert "u3" not in profiles(stage)
        assert profiles(stage)["u2"] == {"tier": "silver", "ltv": "=1+1"}
        assert profiles(stage)["u5"] == {"tier": "y", "ltv": "-5"}
        # Its own table names the line of the first export, and comes back by the name of either job.
        assert table(stage, again["job"]).endswith("\n4,another number of fields than the header,u3,x\n")
        _, (third,) = await mend(stage, again["job"], "4,r,u3,x,9")
        assert (third["rows"]["confirmed"], third["retry_of"]) == (1, job)
        assert profiles(stage)["u3"] == {"tier": "x", "ltv": "9"}


@virtually
async def test_the_same_table_is_not_loaded_twice(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        report = await load(stage, "u1,gold,1", ",silver,2")
        _, (first,) = await mend(stage, report["job"], "3,r,u2,silver,2")
        told, reports = await mend(stage, report["job"], "3,r,u2,silver,2")
        assert f"nothing sent: these rows were loaded by job {first['job']} already" in told
        assert reports == []
        # One that waits is gone on with, and not entered twice.
        waiting = await ask(stage, report["job"], "3,r,u2,silver,3")
        assert (await ask(stage, report["job"], "3,r,u2,silver,3")).job == waiting.job


@virtually
async def test_no_later_row_of_the_same_export_is_gone_over(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        report = await load(stage, "u1,old,1", ",silver,2", "u2,gold,9", "u3,x,3")
        # Line 3 is u1 or u2: that of u1 is newer than line 2, that of u2 is older than line 4.
        told, reports = await mend(stage, report["job"], "3,r,u2,silver,2")
        assert "1 row left out because a later row of the same id was sent: line 3" in told
        assert reports == []
        _, (again,) = await mend(stage, report["job"], "3,r,u1,silver,2")
        assert again["rows"]["confirmed"] == 1
        assert profiles(stage)["u1"] == {"tier": "silver", "ltv": "2"}
        assert profiles(stage)["u2"] == {"tier": "gold", "ltv": "9"}


@virtually
@pytest.mark.parametrize(
    ("later", "header", "is_left_out"),
    [
        ("u2,new,9", "id,tier,ltv", True),
        ("u2,new", "id,tier", True),
        ("u2,new", "id,other", False),
        ("u9,new,9", "id,tier,ltv", False),
    ],
)
async def test_no_row_of_a_later_export_is_gone_over(
    tmp_path: Path, later: str, header: str, is_left_out: bool
) -> None:
    async with staged(tmp_path) as stage:
        report = await load(stage, "u1,gold,1", ",silver,2")
        await load(stage, later, name="later.csv", header=header)
        told, reports = await mend(stage, report["job"], "3,r,u2,silver,2")
        assert (reports == []) is is_left_out
        assert ("left out" in told) is is_left_out


@virtually
async def test_what_comes_between_the_request_and_its_job_is_not_gone_over(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        report = await load(stage, "u1,gold,1", ",silver,2", ",bronze,3")
        stopped = await load(stage, "u2,new,9", name="later.csv", stop_when=lambda _: True)
        answer = await ask(stage, report["job"], "3,r,u2,silver,2", "4,r,u3,bronze,3")
        assert answer.waits_for == (stopped["job"],)
        reports = await stage.load_all(stage.export("later.csv"), settle=SETTLE, export=EXPORT)
        (again,) = [each for each in reports if each["job"] == answer.job]
        assert again["rows"]["read"] == again["rows"]["confirmed"] == 1
        assert profiles(stage)["u2"] == {"tier": "new", "ltv": "9"}


@virtually
async def test_a_row_is_left_out_if_nobody_can_tell_what_was_sent(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        report = await load(stage, "u1,gold,1", ",silver,2")
        for file in (stage.state / "jobs" / report["job"] / "sent").iterdir():
            # As a loss of power may leave it.
            file.write_bytes(file.read_bytes()[:-1])
        told, reports = await mend(stage, report["job"], "3,r,u2,silver,2")
        assert "nobody can tell" in told
        assert reports == []


@virtually
@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (
            ["3,r,u2,x,1", ",r,u9,x,1", "99,r,u9,x,1"],
            "2 rows are named by `_line` as no rejected row of job .*lines 3, 4",
        ),
        (["2,r,u1,x,1"], "1 row is named by `_line` as no rejected row .*line 2"),
        # The header that came once more is no row to mend.
        (["4,r,u9,x,1", "0,r,u9,x,1"], "2 rows are named by `_line` as no rejected row"),
        (["3,r,u2,x,1", "5,r,u3,x,1", "3,r,u9,x,1"], r"1 row is named by the `_line` of a row above \(line 4\)"),
        (["3,r,u2,x,1", '5,r,"u3"x,x,1'], r"1 row is not to be cut into cells.*\(line 3\)"),
    ],
)
async def test_a_row_that_was_not_rejected_is_refused(tmp_path: Path, rows: list[str], told: str) -> None:
    async with staged(tmp_path) as stage:
        report = await load(stage, "u1,gold,1", ",silver,2", "id,tier,ltv", ",bronze,3")
        with pytest.raises(InputError, match=f"nothing is loaded.* {told}"):
            await ask(stage, report["job"], *rows)
        assert len([*(stage.state / "jobs").iterdir()]) == 1
        _, (again,) = await mend(stage, report["job"], "3,r,u2,x,1", " 5,r,u3,x,1")
        assert again["rows"]["confirmed"] == 2


@virtually
async def test_rows_without_lines_are_the_oldest(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        report = await load(stage, "u1,gold,1", ",silver,2")
        told, reports = await mend(stage, report["job"], "u1;silver;2", header="id;tier;ltv")
        assert "line unknown" in told
        assert reports == []
        _, (again,) = await mend(stage, report["job"], "u2;silver;2", "u3", "u4", header="id;tier;ltv")
        assert (again["rows"]["confirmed"], again["rows"]["rejected"]) == (1, 2)
        # They come back by the line that the table has of them, by the name of either job.
        _, (third,) = await mend(stage, report["job"], "0,r,u3,x,1", "0,r,u4,,")
        assert (third["rows"]["confirmed"], third["rows"]["rejected"]) == (1, 1)


@virtually
async def test_rows_of_the_first_table_come_back_by_the_name_of_a_retry(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        report = await load(stage, ",gold,1", ",silver,2")
        _, (again,) = await mend(stage, report["job"], "2,r,u1")
        _, (third,) = await mend(stage, again["job"], "2,r,u1,gold,1", "3,r,u2,silver,2")
        assert third["rows"]["confirmed"] == 2
        # What a retry rejected is as it was, by the name of the first job too.
        told, reports = await mend(stage, report["job"], "2,r,u1,,")
        assert "1 row is as it was" in told
        assert reports == []


@virtually
async def test_a_folder_whose_job_was_not_entered_is_removed_at_the_next_start(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        report = await load(stage, "u1,gold,1", ",silver,2")
        async with open_state(stage.state, "demo", stage.host, min_free_bytes=0) as state:
            # As of processes that were killed: before the job was entered, and behind that.
            state.begin_folder("never").fixed.write_bytes(b"id")
            state.begin_folder(report["job"])
        async with open_state(stage.state, "demo", stage.host, min_free_bytes=0) as state:
            assert not state.folder("never").directory.exists()
            assert state.folder(report["job"]).rejects_table.exists()
        assert [*(stage.state / "to-enter").iterdir()] == []
        _, (again,) = await mend(stage, report["job"], "3,r,u2,silver,2")
        assert again["rows"]["confirmed"] == 1
        assert [*(stage.state / "to-enter").iterdir()] == []


@virtually
async def test_rows_that_target_refused_come_back_too(tmp_path: Path) -> None:
    faults = FaultPlan(posts={1: Fault.REFUSE, 3: Fault.REFUSE})
    async with staged(tmp_path, faults=faults) as stage:
        report = await load(stage, "u1,gold,=2", "u2,gold,=2")
        assert report["rows"]["rejected"] == 1, report
        line, reason, profile_id, *values = table(stage, report["job"]).splitlines()[1].split(",")
        assert (reason, values) == ("refused by Target", ["gold", "'=2"])
        _, (again,) = await mend(stage, report["job"], f"{line},r,{profile_id},silver,'=2")
        assert again["rows"]["confirmed"] == 1
        assert profiles(stage)[profile_id] == {"tier": "silver", "ltv": "=2"}


@virtually
async def test_a_mended_row_goes_over_the_earlier_ones_that_were_lost(tmp_path: Path) -> None:
    """So these are not sent again behind it."""
    faults = FaultPlan(posts={1: Fault.FAIL_ROWS}, failing_rows=2)
    async with staged(tmp_path, faults=faults) as stage:
        report = await load(stage, "u1,old,1", "u2,old,2", ",new,3")
        assert report["rows"]["failed"] == 2
        _, (again,) = await mend(stage, report["job"], "4,r,u1,new,3")
        assert again["rows"]["confirmed"] == 1
        async with open_state(stage.state, "demo", stage.host, min_free_bytes=0) as state:
            answer = await begin_retry(state, report["job"])
        assert "left alone: u1" in answer.told
        assert "1 row of job" in answer.told


@virtually
async def test_what_cannot_be_asked_for_is_said(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        good = await load(stage, "u1,gold,1")
        with pytest.raises(PipelineError, match=r"has no rejects\.csv"):
            await ask(stage, good["job"], "3,r,u2,silver,2")
        with pytest.raises(PipelineError, match="no job"):
            await ask(stage, "nobody", "3,r,u2,silver,2")
        bad = await load(stage, ",gold,1", "u1,a,b", name="bad.csv")
        with pytest.raises(PipelineError, match="none of the columns"):
            await ask(stage, bad["job"], "3,r,u2", header="a,b,c")
        told, reports = await mend(stage, bad["job"], "2,no id,,gold,1")
        assert "no mended row to load; 1 row is as it was" in told
        assert reports == []
        # Nothing is left of what was refused.
        assert len([*(stage.state / "jobs").iterdir()]) == 2


def test_rows_of_an_export_in_parts_are_told_by_part(tmp_path: Path) -> None:
    parts = (Part("part-0.csv", 9, lines_before=0), Part("=1.csv", 9, lines_before=3))
    folder = JobFolder(tmp_path / "job").make()
    note_written(folder, Written(("id", "tier"), delimiter=";"))
    rejects = [Reject(line, Reason.EMPTY_ID, b"", b";x") for line in (3, 5)]
    folder.add_rejects(Places("export", parts), rejects)
    write_rejects_table(folder, {}, {}, has_parts=True)
    lines = folder.rejects_table.read_bytes().removeprefix(BOM).decode().split("\r\n")
    assert lines[:3] == [
        "_line;_reason;_file;id;tier",
        "3;local.empty_id;part-0.csv;;x",
        "2;local.empty_id;'=1.csv;;x",
    ]
    # Sorted anew, with another delimiter, and one that names a part that is none.
    fixed = tmp_path / "fixed.csv"
    fixed.write_text("_line,_file,id,tier\n2,'=1.csv,u2,x\n3,part-0.csv,u1,x\n")
    written = Written(("id", "tier"), delimiter=";")
    rejected = Rejected("job", [(folder.rejects_table, written)], parts)
    assert read_mended(fixed, rejected, tmp_path / "rows", is_checked=False).origins.tolist() == [5, 3]
    # One that names a part that is none, a line of the next part, and no part at all.
    fixed.write_text("_line,_file,id,tier\n3,part-9.csv,u3,x\n5,part-0.csv,u2,x\n3,,u1,x\n")
    with pytest.raises(InputError, match="3 rows are named by `_line` and `_file` as no rejected row"):
        read_mended(fixed, rejected, tmp_path / "rows", is_checked=False)


def test_mended_rows_are_no_snapshot() -> None:
    """Else each id that was not mended would be gone."""
    snapshot = ExportSettings(id_column="id", unlisted="send", kind="snapshot", gone={"tier": "none"})
    mended = settings_of_mended(snapshot, Written(("id", "tier")))
    assert (mended.kind, mended.gone) == ("delta", {})


@virtually
@pytest.mark.parametrize("is_rebuilt", [False, True])
async def test_no_row_that_said_nothing_new_is_gone_over(tmp_path: Path, is_rebuilt: bool) -> None:
    memory = {"remember": "values", "send": "changes"}
    async with staged(tmp_path) as stage:
        await load(stage, "u2,gold,9", name="before.csv", memory=memory)
        report = await load(stage, "u1,gold,1", ",silver,2", memory=memory)
        later = await load(stage, "u2,gold,9", name="later.csv", memory=memory)
        assert later["rows"]["unchanged"] == 1
        (stage.directory / "fixed.csv").write_text("_line,_reason,id,tier,ltv\n3,r,u2,silver,2\n")
        target = stage.settings().target.url
        async with open_state(
            stage.state, "demo", stage.host, min_free_bytes=0, remember="values", target=target
        ) as state:
            if is_rebuilt:
                await rebuild_memory(state, is_at_work=lambda: False)
            answer = await begin_mended(state, report["job"], stage.directory / "fixed.csv")
        assert "nobody can tell" in answer.told
        assert answer.job is None
