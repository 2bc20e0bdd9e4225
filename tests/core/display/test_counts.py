"""The counts of a process: each row once, however often its job is run; durations by size."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.display.counts import OVER, ROW_CLASSES, Counts, Durations
from pipeline.core.model import RowCounts


def rows(**counts: int) -> RowCounts:
    return RowCounts(read=sum(counts.values()), **counts)


def test_classes_are_all_that_are_final() -> None:
    assert RowCounts(pending=3, **dict.fromkeys(ROW_CLASSES, 1)).accounted == len(ROW_CLASSES) + 3


class TestRuns:
    def test_rows_count_when_they_are_noted_and_once_only(self) -> None:
        counts = Counts()
        counts.begin_run("job", rows(), {})
        counts.note_rows("job", "crm", rows(confirmed=2, rejected=1), {"local.empty_id": 1})
        counts.note_rows("job", "crm", rows(confirmed=2, rejected=1), {"local.empty_id": 1})
        counts.end_run("job", "crm", "done", rows(confirmed=5, rejected=1), {"local.empty_id": 1})
        assert counts.rows == {("crm", "confirmed"): 5, ("crm", "rejected"): 1}
        assert counts.rejects == {("crm", "local.empty_id"): 1}
        assert counts.read == {"crm": 6}
        assert counts.runs == {("crm", "done"): 1}

    def test_what_an_earlier_process_counted_is_not_counted_again(self) -> None:
        counts = Counts()
        counts.begin_run("job", rows(confirmed=100, rejected=3), {"local.empty_id": 3})
        counts.end_run(
            "job", "crm", "done", rows(confirmed=120, rejected=4), {"local.empty_id": 3, "local.nul_byte": 1}
        )
        assert counts.rows == {("crm", "confirmed"): 20, ("crm", "rejected"): 1}
        assert counts.rejects == {("crm", "local.nul_byte"): 1}
        assert counts.read == {"crm": 21}

    def test_what_a_run_reads_again_behind_its_last_seal_is_not_counted_again(self) -> None:
        counts = Counts()
        counts.begin_run("job", rows(), {})
        counts.end_run("job", "crm", "unfinished", rows(confirmed=10, rejected=4, pending=6), {"local.empty_id": 4})
        assert counts.unfinished == {"job": "unfinished"}
        # The ledger has the rows up to the last seal.
        counts.begin_run("job", rows(confirmed=10, rejected=1), {"local.empty_id": 1})
        assert counts.unfinished == {}
        counts.end_run("job", "crm", "done", rows(confirmed=16, rejected=4), {"local.empty_id": 4})
        assert counts.rows == {("crm", "confirmed"): 16, ("crm", "rejected"): 4}
        assert counts.read == {"crm": 20}
        assert counts.runs == {("crm", "unfinished"): 1, ("crm", "done"): 1}

    def test_rows_of_a_run_that_was_not_begun_are_unknown(self) -> None:
        counts = Counts()
        counts.note_rows("job", "crm", rows(confirmed=1), {})
        counts.end_run("job", "crm", "failed", rows(confirmed=1), {})
        assert (counts.rows, counts.read, counts.runs) == ({}, {}, {("crm", "failed"): 1})

    def test_nothing_is_kept_of_a_job_that_is_over(self) -> None:
        counts = Counts()
        for state in (*OVER, "unfinished"):
            counts.begin_run(state, rows(), {})
            counts.end_run(state, "crm", state, rows(confirmed=1), {})
        assert counts.unfinished.keys() == counts._noted.keys() == {"unfinished"}

    @given(st.lists(st.tuples(st.sampled_from(ROW_CLASSES), st.integers(0, 5), st.booleans())))
    def test_however_often_it_is_run_the_sum_is_that_of_its_report(self, steps: list[tuple[str, int, bool]]) -> None:
        counts, total = Counts(), dict.fromkeys(ROW_CLASSES, 0)
        counts.begin_run("job", rows(), {})
        for name, more, is_end in steps:
            total[name] += more
            counts.note_rows("job", "crm", rows(**total), {})
            if is_end:
                counts.end_run("job", "crm", "unfinished", rows(**total), {})
                counts.begin_run("job", rows(), {})
        counts.end_run("job", "crm", "done", rows(**total), {})
        assert counts.rows == {("crm", name): count for name, count in total.items() if count}
        assert counts.read.total() == sum(total.values())


class TestDurations:
    @given(st.lists(st.floats(0, 100)))
    def test_each_is_up_to_all_bounds_above_it(self, seconds: list[float]) -> None:
        durations = Durations((1.0, 10.0))
        for each in seconds:
            durations.note(each)
        counts = [sum(each <= bound for each in seconds) for bound in (1.0, 10.0)]
        assert durations.up_to == [(1.0, counts[0]), (10.0, counts[1]), (float("inf"), len(seconds))]
        assert durations.sum_s == sum(seconds)
