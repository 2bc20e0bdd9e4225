"""Nothing that others have written moves a terminal's cursor: not by the log, and not by what is printed for people."""

import io
import os
import pty
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from rich.console import Group
from rich.text import Text

from pipeline.edges.log import configure_logging
from pipeline.edges.terminal import console
from tests.core.test_printable import ATTACKS


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize(("text", "shown"), ATTACKS)
@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_log_is_printable(text: str, shown: str, capsys: pytest.CaptureFixture[str], is_terminal: bool) -> None:
    configure_logging(is_terminal=is_terminal)
    structlog.get_logger().warning("an_event", why=text, keys=[text, 1], export=Path(text), nothing=None)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()
    assert not is_terminal or line.count(shown) >= 2


@pytest.mark.parametrize(("text", "shown"), ATTACKS)
def test_what_is_printed_for_people_is_printable(text: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    to = console()
    to.print(Text(f"[bold]{text}[/]"), Group(Text(text)), soft_wrap=True)
    to.print(text, soft_wrap=True, markup=False)
    said = out.getvalue()
    assert all(line.isprintable() for line in said.split("\n"))
    assert "[bold]" in said, "styles that others have written are none"


def test_colours_are_the_program_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with os.fdopen(theirs, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        console().print(Text("\x1b[2Jred\x9b", style="red"), soft_wrap=True)
        out.flush()
        said = os.read(ours, 1_000)
    os.close(ours)
    assert b"\x1b[31m\\x1b[2Jred\\x9b\x1b[0m" in said
