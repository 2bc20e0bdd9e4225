"""For random exports, `explain` says of each row what a plain account of the export says; the sums are the report's."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pipeline.core.explain.fates import Fate
from pipeline.core.explain.story import JobStory
from pipeline.jobs.status.explain.explanation import explain
from pipeline.sandbox import Fault, FaultPlan
from pipeline.settings.tenants import Tenant
from tests.simulation.loop import run_virtually
from tests.simulation.staged import staged
from tests.tools.drawn import examples

IDS = ["u1", "u2", "U2", "caf\u00e9", "50%", "null", "a/b"]
#: Of ids that no row may have; of rows whose id nobody can tell.
BAD = {"null", "a/b"}
rows = st.tuples(st.sampled_from(IDS), st.sampled_from(["", "gold", "silver"]), st.sampled_from(["", "de", "nl"]))
row_lists = st.lists(rows, max_size=9)
faults = st.sampled_from([None, Fault.FAIL_ROWS, Fault.STATUS_LOST, Fault.REFUSE, Fault.GARBAGE_TAKEN])
MAPPING = {"exclude": {"country": ["nl"]}}
memories = st.sampled_from([{}, {"remember": "digests", "send": "changes"}, {"remember": "values", "send": "changes"}])
SETTLE = {"poll_first_s": 0.05, "poll_max_s": 0.2, "ambiguous_hold_s": 2.0, "deadline_s": 60.0, "max_lost": "100%"}
ENDS = {Fate.CONFIRMED, Fate.UNCHANGED, Fate.FAILED, Fate.UNCONFIRMED, Fate.REFUSED}


def expected_class(row: tuple[str, str, str]) -> Fate | None:
    """The class of a row that is not to be sent."""
    profile_id, tier, country = row
    if country == "nl":
        return Fate.EXCLUDED
    if profile_id in BAD:
        return Fate.REJECTED
    return None if tier or country else Fate.EMPTY


def check(lists: list[list[tuple[str, str, str]]], by_id: dict[str, list[JobStory]], reports: list[Any]) -> None:
    for number, (listed, report) in enumerate(zip(lists, reports, strict=True)):
        found: Counter[str] = Counter()
        for profile_id in IDS:
            told = by_id[profile_id][number].rows
            lines = [place for place, row in enumerate(listed, 2) if row[0] == profile_id]
            assert [row.line for row in told] == lines
            sent = [row.line for row in told if expected_class(listed[row.line - 2]) is None]
            for row in told:
                found["rejected" if row.fate is Fate.REFUSED else row.fate.value] += 1
                assert (row.file, row.file_line) == (f"{number}.csv", row.line)
                if wanted := expected_class(listed[row.line - 2]):
                    assert row.fate is wanted
                elif row.fate is Fate.SUPERSEDED:
                    assert row.superseded_by in sent
                    assert row.superseded_by > row.line
                else:
                    assert row.fate in ENDS
                if row.line == max(sent, default=0):
                    assert row.fate is not Fate.SUPERSEDED
        classes = {name: count for name, count in report["rows"].items() if count and name != "read"}
        assert dict(found) == classes, (listed, report["rows"])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=examples(20))
@given(st.lists(row_lists, min_size=1, max_size=3), st.integers(1, 4), memories, faults, st.integers(1, 4))
def test_each_row_is_told_as_it_went(
    lists: list[list[tuple[str, str, str]]], max_rows: int, memory: dict[str, str], fault: Fault | None, post: int
) -> None:
    async def load(directory: Path) -> None:
        plan = FaultPlan(posts={post: fault}, failing_rows=1) if fault else None
        async with staged(directory, faults=plan) as stage:
            sections: dict[str, Any] = {
                "export": {"max_rejects": "100%"},
                "mapping": MAPPING,
                "memory": memory,
                "settle": SETTLE,
                "batch": {"max_rows": max_rows},
            }
            reports = []
            for number, listed in enumerate(lists):
                lines = [",".join(row) for row in listed]
                export = stage.export(f"{number}.csv", *lines, header="id,tier,country")
                reports += await stage.load_all(export, again=True, **sections)
            # A first batch that is refused ends no job: the next run goes on with it.
            assume(all(report["state"] != "unfinished" for report in reports))
            tenant = Tenant.of_one(stage.settings(**sections))
            by_id = {profile_id: [*explain(tenant, profile_id).jobs] for profile_id in IDS}
            assert {story.known for stories in by_id.values() for story in stories} == {"whole"}
            check(lists, by_id, reports)

    with TemporaryDirectory() as directory:
        run_virtually(load(Path(directory)))
