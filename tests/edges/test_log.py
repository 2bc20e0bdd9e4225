"""The log: one JSON object a line with stable names, and nothing in it that came from a row."""

import base64
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog

from pipeline.core.errors import FatalError
from pipeline.edges.log import configure_logging
from pipeline.edges.secrets import keep_out_of_log
from pipeline.sandbox import Fault, FaultPlan
from tests.simulation.staged import deliver


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def logged(text: str) -> list[dict[str, Any]]:
    """Each line as what it must be."""
    *lines, last = text.split("\n")
    assert last == ""
    return [orjson.loads(line) for line in lines]


def test_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(is_terminal=False)
    log = structlog.get_logger()
    log.info("load_started", job="x", export=Path("a.csv"))
    log.debug("not_shown")
    log.warning("with_line_break", text="a\nb\u2028c")
    said = capsys.readouterr()
    assert said.out == ""
    first, second = logged(said.err)
    assert list(first) == ["timestamp", "level", "event", "job", "export"]
    assert (first["level"], first["event"], first["export"]) == ("info", "load_started", "a.csv")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", first["timestamp"])
    assert second["text"] == "a\nb\u2028c"


def fail(value: str) -> None:
    try:
        int(value)
    except ValueError as error:
        group = ExceptionGroup(f"with {value}", [KeyError(value), FatalError("the disk is full")])
        raise group from error


@pytest.mark.parametrize("is_terminal", [False, True])
def test_an_exception_shows_places_and_no_values(capsys: pytest.CaptureFixture[str], is_terminal: bool) -> None:
    configure_logging(is_terminal=is_terminal)
    try:
        fail("MARK")
    except ExceptionGroup:
        structlog.get_logger().exception("internal_error")
    said = capsys.readouterr().err
    assert "MARK" not in said
    assert "\x1b" not in said, "nobody sees colours in a file"
    if not is_terminal:
        (line,) = logged(said)
        assert "exc_info" not in line
        said = line["exception"]
    for told in ("ValueError", "which led to:", "ExceptionGroup", "part 1 of 2:\nKeyError\n", "the disk is full"):
        assert told in said
    assert f"{__file__}, line " in said
    assert ", in fail\n" in said


@pytest.mark.parametrize("is_terminal", [False, True])
def test_the_token_is_left_out_of_whatever_comes_by(capsys: pytest.CaptureFixture[str], is_terminal: bool) -> None:
    """Nothing should bring it here: this is a second line."""
    configure_logging(is_terminal=is_terminal)
    keep_out_of_log("MARKTOKEN1")
    keep_out_of_log("MARKTOKEN2")
    log = structlog.get_logger()
    coded = base64.b64encode(b"Bearer MARKTOKEN2").decode()
    log.warning("said", why="Bearer MARKTOKEN1", into=["MARKTOKEN2"], file=Path("MARKTOKEN1"), coded=coded, batch=3)
    log.info("said_nothing", into=[1, 2], why=None, is_final=True)
    said = capsys.readouterr().err
    assert "MARK" not in said and coded[9:20] not in said
    if not is_terminal:
        first, second = logged(said)
        assert (first["why"], first["into"], first["file"], first["batch"]) == ("Bearer ***", "['***']", "***", 3)
        assert (second["into"], second["why"], second["is_final"]) == ([1, 2], None, True)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_libraries_are_not_quoted(capsys: pytest.CaptureFixture[str], is_terminal: bool) -> None:
    """Those that log an error would have its text and its traceback printed."""
    configure_logging(is_terminal=is_terminal)
    configure_logging(is_terminal=is_terminal)
    library = logging.getLogger("asyncio")
    library.info("MARK %s", "MARK")
    library.warning("MARK %s", "MARK")
    try:
        fail("MARK")
    except ExceptionGroup:
        library.exception("MARK")
    said = capsys.readouterr().err
    assert "MARK" not in said
    assert said.count("library_warning") == 2
    if not is_terminal:
        first, second = logged(said)
        assert (first["library"], first["error"]) == ("asyncio", None)
        assert (second["library"], second["error"]) == ("asyncio", "ExceptionGroup")


def test_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(is_terminal=True, min_level="warning")
    structlog.get_logger().info("not_shown")
    structlog.get_logger().warning("batch_stuck", batch=3)
    said = capsys.readouterr().err
    assert "batch_stuck" in said
    assert "not_shown" not in said
    assert not said.startswith("{")


def test_writes_to_what_stderr_is_at_the_moment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    configure_logging(is_terminal=False)
    with (tmp_path / "log").open("w") as file, monkeypatch.context() as changed:
        changed.setattr(sys, "stderr", file)
        structlog.get_logger().info("elsewhere")
    assert capsys.readouterr().err == ""
    assert logged((tmp_path / "log").read_text())[0]["event"] == "elsewhere"


def test_the_log_of_a_load_holds_no_ids_no_values_and_no_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With rejects, refusals, failed rows and a lost status on the way."""
    configure_logging(is_terminal=False, min_level="debug")
    token = tmp_path / "token"
    token.write_text("MARKTOKEN")
    lines = [f"MARKID{n % 7},MARKVALUE{n},MARK{n}" for n in range(30)]
    lines += ["MARKID/1,MARKVALUE,1", ",MARKVALUE,1", "MARKID1,MARKVALUE", 'MARKID2,"MARK"VALUE,1']
    plan = FaultPlan(
        posts={1: Fault.FAIL_ROWS, 2: Fault.HTTP_500_TAKEN, 3: Fault.STATUS_LOST, 4: Fault.REFUSE, 5: Fault.STUCK},
        failing_rows=2,
        statuses={1: Fault.STATUS_GARBAGE},
    )
    delivery = deliver(
        tmp_path,
        *lines,
        faults=plan,
        options={"token": "MARKTOKEN"},
        batch={"max_rows": 3},
        target={"token_file": str(token)},
        export={"max_rejects": 10},
    )
    # Which batch meets the refusal is up to chance; one of a single row is rejected for it rather than split.
    assert delivery.rows["rejected"] in (4, 5)
    assert min(delivery.rows["failed"], delivery.rows["unconfirmed"], delivery.rows["confirmed"]) > 0
    said = capsys.readouterr()
    events = logged(said.err)
    assert {event["event"] for event in events} >= {
        "load_started",
        "batch_sealed",
        "batch_accepted",
        "attempt_failed",
        "batch_settled",
        "load_finished",
    }
    assert all(re.fullmatch(r"[a-z][a-z_]*", name) for event in events for name in event)
    assert "MARK" not in said.err
    assert said.out == ""
    # The report holds counts, so that it may be passed on; the rows are in files beside it.
    for name in ("report.json", "report.html"):
        assert b"MARK" not in (delivery.folder / name).read_bytes()
    assert b"MARKID/1" in (delivery.folder / "rejects.jsonl").read_bytes()
