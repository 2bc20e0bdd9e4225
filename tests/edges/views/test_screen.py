"""What a person reads when a load has ended: what happened, to how many rows, and what there is to do."""

import io
from copy import deepcopy
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline.core.batches.progress import Progress
from pipeline.core.batches.report import TARGET_WARNINGS, Report
from pipeline.core.model import Warnings
from pipeline.edges.log import LOG_EVERY_S, log_progress
from pipeline.edges.views.screen import print_report
from pipeline.edges.views.wording import REASONS

FOLDER = Path("state/jobs/20261123T021400Z-customers-3f2a")
REPORT: dict[str, Any] = {
    "job": "20261123T021400Z-customers-3f2a",
    "state": "done",
    "error": None,
    "export": {"name": "customers.csv", "bytes": 0, "sha256": "", "rows": 0},
    "client_code": "acme",
    "seconds": 1_234.5,
    "rows": {
        "read": 1_234_567,
        "confirmed": 1_234_567,
        "superseded": 0,
        "rejected": 0,
        "empty": 0,
        "failed": 0,
        "unconfirmed": 0,
        "unsent": 0,
    },
    "rejects": {"file": "rejects.jsonl", "by_reason": {}},
    "warnings": {},
    "batches": [{"number": 1, "rows": 0, "bytes": 0, "sha256": "", "state": "complete", "attempts": 1}],
    "calls": 2,
}


def shown(*, width: int = 80, folder: Path = FOLDER, **changes: Any) -> str:
    """The report as printed; `rows` are laid over those of a report without trouble."""
    report = deepcopy(REPORT)
    report["rows"].update(changes.pop("rows", {}))
    report.update(changes)
    text = io.StringIO()
    print_report(Report.from_json(report), folder, Console(file=text, width=width))
    return text.getvalue()


def to_do(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip().startswith("To do: ")]


def test_no_run_follows_a_trial_that_was_cut_off() -> None:
    rows = {"read": 2, "confirmed": 0, "pending": 2}
    report = deepcopy(REPORT) | {"state": "unfinished", "exit_code": 75, "error": "stopped by SIGINT."}
    text = io.StringIO()
    told = Report.from_json(report | {"rows": rows})
    print_report(told, FOLDER, Console(file=text, width=200), is_trial=True, is_kept=False)
    assert "2  pending    sent or about to be, as the trial was cut off" in text.getvalue()
    assert "next run" not in text.getvalue()
    assert "the next run follows them" in shown(width=200, rows=rows, state="unfinished", exit_code=75)


@pytest.mark.parametrize("job", [REPORT["job"], ""])
def test_a_name_writes_nothing_but_itself_to_a_terminal(job: str) -> None:
    export = REPORT["export"] | {"name": "a\x1b]0;b\nc.csv"}
    text = shown(job=job, export=export, same_as=None if job else "j1", state="done" if job else "skipped")
    assert "\x1b" not in text
    assert "c.csv" in text.splitlines()[0]


def test_done() -> None:
    text = shown()
    assert text.startswith("customers.csv -> Target client acme: done after 1,234.5 s\n")
    assert "1,234,567  rows read" in text
    assert "1,234,567  confirmed" in text
    assert "1 complete; 2 calls to Target" in text
    assert str(FOLDER) in text
    assert to_do(text) == []
    assert "unsent" not in text, "a class without rows is not shown"


def test_rejected() -> None:
    text = shown(rows={"rejected": 12}, rejects={"by_reason": {"local.empty_id": 10, "local.field_count": 2}})
    assert "Rejected: 10 local.empty_id, 2 local.field_count" in text
    (line,) = to_do(text)
    assert "mend the rejected rows at their source" in line
    assert "rejects.jsonl" in line
    assert str(FOLDER) in text


def test_failed() -> None:
    text = shown(
        state="incomplete",
        rows={"failed": 3},
        batches=[{"number": 7, "state": "failed", "attempts": 3, "why": "refused: Unexpected error"}],
    )
    assert "finished, but rows were lost" in text
    assert "Batch 7: refused: Unexpected error" in text
    assert "2 of them attempts after the first of a batch" in text
    line, again = to_do(text)
    assert "failed.jsonl" in line
    assert f"`profile-pipeline retry {REPORT['job']} --config FILE`" in again
    assert str(FOLDER) in text


def test_unconfirmed() -> None:
    (line,) = to_do(shown(state="incomplete", rows={"unconfirmed": 3}))
    assert "check some of the unconfirmed profiles in Target before sending them again" in line


def test_what_can_be_sent_again(tmp_path: Path) -> None:
    """Whole batches, and rows that Target named; not what it only counted, and not before the job has ended."""
    lost = [{"number": 7, "state": "unconfirmed", "attempts": 3, "why": "lost"}]
    assert "retry" in to_do(shown(state="incomplete", rows={"unconfirmed": 3}, batches=lost))[-1]
    assert "retry" not in shown(state="unfinished", rows={"unconfirmed": 3}, batches=lost)
    assert "retry" not in shown(state="incomplete", rows={"failed": 3}, folder=tmp_path)
    (tmp_path / "failed.jsonl").touch()
    assert "retry" in to_do(shown(state="incomplete", rows={"failed": 3}, folder=tmp_path))[-1]


def test_rejected_rows_are_not_listed_as_batches() -> None:
    rejected = {"state": "failed", "attempts": 1, "rejected": 1, "why": "its row was rejected: no"}
    lost = {"number": 9, "state": "unconfirmed", "attempts": 1, "why": "lost"}
    text = shown(
        rows={"rejected": 7},
        rejects={"by_reason": {"target.refused": 7}},
        batches=[{"number": number, **rejected} for number in range(1, 8)],
    )
    assert "Rejected: 7 target.refused" in text
    assert "Batches: 7 rejected; " in text
    assert "its row was rejected" not in text
    assert "retry" not in text
    text = shown(batches=[*({"number": number, **rejected} for number in range(1, 8)), lost])
    assert "Batch 9: lost" in text


def test_failed_export() -> None:
    text = shown(state="failed", error="column 'email' is not listed under [export] columns.", rows={"confirmed": 0})
    assert "customers.csv -> Target client acme: failed" in text
    assert "column 'email' is not listed under [export] columns." in text
    assert "0  confirmed" in text


def test_unfinished() -> None:
    text = shown(state="unfinished", exit_code=75, error="stopped by SIGTERM.", rows={"pending": 9})
    assert "not finished" in text
    assert "stopped by SIGTERM." in text
    assert "9  pending" in text
    assert "unconfirmed" not in text, "it is frightened by nothing"
    (line,) = to_do(text)
    assert line == "To do: run the same command again: it goes on where it was, and nothing is lost."
    (line,) = to_do(shown(state="unfinished", exit_code=77, error="the token is refused", rows={"pending": 9}))
    assert line.startswith("To do: remove the cause, then run the same command again")


def test_nothing_is_taken_for_markup() -> None:
    error = "two columns go to '[red]x[/]'; see [export] columns [/nothing]"
    text = shown(
        state="failed",
        error=error,
        export={"name": "[bold]x[/bold].csv"},
        batches=[{"number": 1, "state": "failed", "attempts": 1, "why": "refused: [/x]"}],
    )
    assert error in text
    assert "[bold]x[/bold].csv" in text
    assert "refused: [/x]" in text


@pytest.mark.parametrize("width", [20, 80, 200])
def test_long_lines_are_not_broken(width: int) -> None:
    error = "a message of many words " * 20 + "end"
    assert error in shown(state="failed", error=error, width=width)


def test_every_warning_has_words() -> None:
    """A count that the report can hold can be shown."""
    names = {field.name for field in fields(Warnings)} - {"empty_cells", "first_lines"} | set(TARGET_WARNINGS)
    text = shown(warnings=dict.fromkeys(names, 7))
    assert len([line for line in text.splitlines() if "Note: 7 " in line]) == len(names)
    text = shown(warnings=dict.fromkeys(names, 1))
    assert len([line for line in text.splitlines() if "Note: 1 " in line and "Note: 1 ids" not in line]) == len(names)


def test_warnings() -> None:
    counts = {
        "id_over_128_characters": 1_201,
        "value_over_256_characters": 1_202,
        "value_with_delimiter": 1_203,
        "bare_quote": 1_204,
        "unnamed_columns": 1_205,
    }
    text = shown(warnings={**counts, "empty_cells": {f"p{n}": n for n in range(20, 0, -1)}})
    for count in counts.values():
        assert f"Note: {count:,} " in text
    assert "for which Target keeps the old value: p20 20, p19 19" in text
    assert "p12 12" not in text, "only the first few"


def test_the_first_line_of_a_warning() -> None:
    counts = {"ids_trimmed": 1_204, "blank_records": 1, "empty_cells": {"a": 3}}
    text = shown(warnings={**counts, "first_lines": {"ids_trimmed": 12_345, "empty_cells": 7}}, width=400)
    assert "1,204 ids were trimmed" in text
    assert text.count("first on line") == 2
    assert "were left out; first on line 12,345" in text
    assert "a 3; first on line 7" in text
    assert "Note: 1 record was blank, and is no row" in text


def test_of_many_batches_with_trouble_some_are_told() -> None:
    batches = [{"number": n, "state": "unconfirmed", "attempts": 1, "why": f"why {n}"} for n in range(1, 10)]
    text = shown(state="incomplete", batches=batches, rows={"unconfirmed": 9})
    assert "9 unconfirmed" in text
    assert [f"why {n}" in text for n in range(1, 10)] == [True] * 5 + [False] * 4


class EnoughError(Exception):
    """Ends a display that would go on until cancelled."""


async def test_progress_in_the_log() -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise EnoughError

    with pytest.raises(EnoughError):
        await log_progress(Progress(), lambda: "reading", sleep)
    assert waits == [LOG_EVERY_S] * 3


@pytest.mark.parametrize("rows", [{}, {"read": 1, "confirmed": 1}, {"rejected": 12, "unconfirmed": 3, "pending": 5}])
def test_no_line_ends_in_blanks(rows: dict[str, int]) -> None:
    """They would be kept in a file."""
    text = shown(rows=rows, width=200)
    assert [line for line in text.splitlines() if line != line.rstrip()] == []


def test_an_export_of_which_no_row_was_read_has_no_table_of_zeros() -> None:
    error = "cannot read the export a.csv: No such file or directory."
    text = shown(state="failed", error=error, rows={"read": 0, "confirmed": 0}, batches=[], calls=0)
    assert text.splitlines()[1] == f"  {error}"
    assert "rows read" not in text
    assert "confirmed" not in text
    # An export that has only a header is not in error.
    assert "0  rows read" in shown(rows={"read": 0, "confirmed": 0})


def test_the_error_comes_first() -> None:
    lines = shown(state="failed", error="too many rejects").splitlines()
    assert lines[1] == "  too many rejects"


def test_reasons_of_rejects_in_words() -> None:
    text = shown(rows={"rejected": 3}, rejects={"by_reason": {"local.empty_id": 2, "local.unheard_of": 1}})
    assert "  local.empty_id: no id\n" in text
    assert "Rejected: 2 local.empty_id, 1 local.unheard_of" in text


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rows": {"read": 1, "confirmed": 1}}, "1  row read"),
        ({"calls": 1}, "1 complete; 1 call to Target"),
        (
            {"calls": 2, "batches": [{"number": 1, "state": "complete", "attempts": 2}]},
            "2 calls to Target, 1 of them an attempt after the first",
        ),
        ({"calls": 1_234}, "1,234 calls to Target"),
    ],
)
def test_one_and_more(changes: dict[str, Any], told: str) -> None:
    assert told in shown(**changes)


def test_the_classes_add_up() -> None:
    text = shown(rows={"read": 10, "confirmed": 7, "rejected": 2, "failed": 1})
    assert [line.split() for line in text.splitlines() if "in all" in line] == [["10", "in", "all"]]
    assert "in all" not in shown(), "one class is its own sum"


def test_the_first_line_of_each_reason() -> None:
    reasons = {"local.empty_id": 2, "local.unheard_of": 1}
    first = {"local.empty_id": 9_001, "local.unheard_of": 7}
    rejects = {"by_reason": reasons, "first_lines": first}
    text = shown(rows={"rejected": 3}, rejects=rejects)
    assert "  local.empty_id: no id; first on line 9,001\n" in text
    assert "  local.unheard_of: first on line 7\n" in text
    text = shown(rows={"rejected": 3}, rejects={**rejects, "first_parts": {"local.empty_id": "b.csv"}})
    assert "no id; first on line 9,001 of b.csv\n" in text


def test_where_the_time_went() -> None:
    spent = {"reading": 2.04, "sending": 31.0, "waiting": 1_201.46}
    assert "  Time: 2.0 s reading, 31.0 s sending, 1,201.5 s waiting for Target\n" in shown(spent=spent)
    text = shown(spent={**spent, "waiting": 1.46})
    assert "1.5 s waiting for Target, 1,200.0 s in earlier runs\n" in text
    assert "Time:" not in shown(), "as in reports of earlier versions"
    assert "Time: 2.0 s reading, 1,232.5 s in earlier runs" in shown(spent={"reading": 2.0, "of later versions": 1.0})


def test_commands_to_type_next(tmp_path: Path) -> None:
    job = REPORT["job"]
    text = shown(state="unfinished", exit_code=75, error="stopped.")
    assert f"Look closer: profile-pipeline status {job} --config FILE\n" in text
    assert f"Give it up: profile-pipeline abandon {job} --config FILE\n" in text
    text = shown(state="incomplete", rows={"failed": 1})
    assert "Look closer" in text
    assert "Give it up" not in text
    assert "Page:" not in text
    (tmp_path / "report.html").touch()
    text = shown(folder=tmp_path)
    assert "Look closer" not in text
    assert f"Page: {tmp_path / 'report.html'}\n" in text


def test_commands_name_the_configuration_that_is_used() -> None:
    text = io.StringIO()
    report = Report.from_json(deepcopy(REPORT) | {"state": "unfinished", "exit_code": 75, "error": "stopped."})
    print_report(report, FOLDER, Console(file=text, width=80), config=Path("my config.toml"))
    assert f"profile-pipeline status {REPORT['job']} --config 'my config.toml'\n" in text.getvalue()
    assert "FILE" not in text.getvalue()


def test_on_a_terminal_commands_stand_on_lines_of_their_own() -> None:
    text = io.StringIO()
    lost = [{"number": 7, "state": "unconfirmed", "attempts": 3}]
    report = Report.from_json(deepcopy(REPORT) | {"state": "incomplete", "batches": lost})
    to = Console(file=text, width=60, height=24, force_terminal=True, color_system=None, _environ={})
    print_report(report, FOLDER, to, config=Path("crm.toml"))
    lines = text.getvalue().splitlines()
    first = next(number for number, line in enumerate(lines) if "To do" in line)
    assert lines[first:] == [
        "  To do: `retry` sends failed and unconfirmed rows",
        "         again, but no value that a later row has overtaken.",
        f"  Next: profile-pipeline retry {REPORT['job']} --config crm.toml",
        f"  Look closer: profile-pipeline status {REPORT['job']} --config crm.toml",
        f"  Folder of this job: {FOLDER}",
    ]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_on_a_terminal_lines_are_broken_between_words(width: int) -> None:
    text = io.StringIO()
    rejects = {"by_reason": dict.fromkeys(REASONS, 1_000), "first_lines": dict.fromkeys(REASONS, 9_001)}
    warnings = dict.fromkeys(TARGET_WARNINGS, 7)
    report = Report.from_json(deepcopy(REPORT) | {"rejects": rejects, "warnings": warnings})
    to = Console(file=text, width=width, height=24, force_terminal=True, color_system=None, _environ={})
    print_report(report, FOLDER, to)
    lines = text.getvalue().partition("Rejected:")[2].partition("  Folder of this job")[0].splitlines()
    assert max(map(len, lines)) <= width
    assert " ".join(" ".join(lines).split()) == " ".join(
        shown(rejects=rejects, warnings=warnings).partition("Rejected:")[2].partition("  Folder")[0].split()
    )
