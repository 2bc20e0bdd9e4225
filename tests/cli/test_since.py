"""The times that `--since` takes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.cli.arguments import since_of
from pipeline.core.errors import ExitCode, PipelineError
from tests.tools.support import run_program, unheard

NINE = datetime(2026, 11, 23, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T06:30", datetime(2026, 11, 20, 6, 30, tzinfo=UTC)),
        ("2026-11-20T06:30+01:00", datetime(2026, 11, 20, 5, 30, tzinfo=UTC)),
        ("3d", NINE - timedelta(days=3)),
        ("12h", NINE - timedelta(hours=12)),
        ("90 min", NINE - timedelta(minutes=90)),
        ("999999d", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_since_when(text: str, at: datetime) -> None:
    assert since_of(text, NINE) == at


@pytest.mark.parametrize("text", ["", "yesterday", "3 weeks", "-3d", "2026-13-01"])
def test_since_no_time(text: str) -> None:
    with pytest.raises(PipelineError, match="is no time: write a date") as caught:
        since_of(text, NINE)
    assert caught.value.exit_code is ExitCode.USAGE


async def test_since_an_empty_word(tmp_path: Path) -> None:
    """As of a variable of a shell that is not set."""
    done = await run_program("status", "--since", "", "--config", unheard(tmp_path).config())
    assert (done.code, "is no time" in done.err) == (64, True)
