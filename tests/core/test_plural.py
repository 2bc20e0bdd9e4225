"""Numbers of things in words."""

import pytest

from pipeline.core.plural import counted


@pytest.mark.parametrize(
    ("count", "one", "more", "told"),
    [
        (0, "row", None, "0 rows"),
        (1, "row", None, "1 row"),
        (2, "row", None, "2 rows"),
        (1_204, "row", None, "1,204 rows"),
        (1, "batch", "batches", "1 batch"),
        (3, "batch", "batches", "3 batches"),
    ],
)
def test_counted(count: int, one: str, more: str | None, told: str) -> None:
    assert counted(count, one, more) == told
