"""How long files of jobs are kept."""

import pytest

from pipeline.core.drop.retention import Kind, Retention, kind_of

DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("report.json", Kind.REPORT),
        ("report.html", Kind.REPORT),
        ("rejects.jsonl", Kind.REJECTS),
        ("header.txt", Kind.REJECTS),
        ("answers.jsonl", Kind.REJECTS),
        ("failed.jsonl", Kind.REJECTS),
        ("retry.csv", Kind.EXPORT),
        ("drop/customers.csv", Kind.EXPORT),
        # What was dropped under such a name is an export all the same.
        ("drop/report.json", Kind.EXPORT),
        (".something.tmp", Kind.EXPORT),
    ],
)
def test_kinds(path: str, kind: Kind) -> None:
    assert kind_of(path) is kind


@pytest.mark.parametrize(("path", "days"), [("drop/a.csv", 7.0), ("rejects.jsonl", 14.0), ("report.json", 400.0)])
def test_each_kind_has_its_time(path: str, days: float) -> None:
    retention = Retention(7.0, 14.0, 400.0)
    assert not retention.is_over(path, days * DAY_S)
    assert retention.is_over(path, days * DAY_S + 1)
