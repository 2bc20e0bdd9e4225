"""Answers of Target that nobody wants: what is made of them in log, report and exit code, over HTTP."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from pipeline.edges.host import Host
from pipeline.jobs.one_shot import load_export
from pipeline.sandbox import Fault, FaultPlan
from tests.simulation.staged import deliver
from tests.tools.support import (
    SIX_ROWS,
    answering,
    assert_every_row_is_in_one_class,
    run_fast,
    settings_for,
    write_export,
)

ACCEPTED = "<response><success>true</success><batchStatus>{url}</batchStatus></response>"
COMPLETE = "<response><status>complete</status>{counts}</response>"
REFUSED = "<response><success>false</success><message>{message}</message></response>"


def counts(size: int, applied: int, failed: int = 0) -> str:
    return (
        f"<batchSize>{size}</batchSize><consumedCount>{size}</consumedCount><successfulUpdates>{applied}"
        f"</successfulUpdates><profilesNotFound>0</profilesNotFound><failedUpdates>{failed}</failedUpdates>"
    )


def load(
    directory: Path,
    post: Callable[[int], web.Response | None] | None = None,
    status: Callable[[int], web.Response] | None = None,
    **sections: Any,
) -> tuple[dict[str, Any], list[Mapping[str, Any]], int]:
    """Load six rows from a Target that answers the nth POST and the nth status GET so; report, log, number of POSTs."""
    posts = statuses = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal posts, statuses
        if request.method == "POST":
            await request.read()
            posts += 1
            if post is not None and (answered := post(posts)) is not None:
                return answered
            return web.Response(text=ACCEPTED.format(url=f"{request.url.origin()}/status?batchId=1"))
        statuses += 1
        assert status is not None
        return status(statuses)

    async def run() -> dict[str, Any]:
        export = write_export(directory / "export.csv", *SIX_ROWS)
        async with answering(answer) as url:
            settings = settings_for(url, directory / "state", **sections)
            return (await load_export(export, settings, host=Host())).as_json()

    with capture_logs() as logged:
        report = run_fast(run())
    assert_every_row_is_in_one_class(report)
    return report, list(logged), posts


def says(text: str, http_status: int = 200, **headers: str) -> Callable[[int], web.Response]:
    return lambda _: web.Response(text=text, status=http_status, headers=headers, content_type="text/html")


def events(logged: list[Mapping[str, Any]], event: str) -> list[Mapping[str, Any]]:
    return [line for line in logged if line["event"] == event]


@pytest.mark.parametrize("size", [5, 7, 500_000])
def test_a_batch_size_other_than_what_was_sent(tmp_path: Path, size: int) -> None:
    applied = min(size, 6)
    report, logged, _ = load(tmp_path, status=says(COMPLETE.format(counts=counts(size, applied))))
    assert report["warnings"]["batch_size_differs"] == 1
    assert (report["rows"]["confirmed"], report["rows"]["unconfirmed"]) == (applied, 6 - applied)
    (line,) = events(logged, "batch_size_differs")
    assert (line["log_level"], line["batch"], line["rows"], line["batch_size"]) == ("error", 1, 6, size)
    assert report["batches"][0]["why"].startswith(f"Target read {size:,} rows, and 6 were sent")


SETTLED = {
    "a row that no count names": (counts(6, 5), 5, 0, 1),
    "a row that failed": (counts(6, 5, 1), 5, 1, 0),
    "a row that is pending": (counts(6, 6) + "<profile><id>u1</id><status>pending</status></profile>", 5, 0, 1),
    "all": (counts(6, 6), 6, 0, 0),
}


@pytest.mark.parametrize(("answer", "confirmed", "failed", "unconfirmed"), SETTLED.values(), ids=SETTLED.keys())
def test_what_is_confirmed(tmp_path: Path, answer: str, confirmed: int, failed: int, unconfirmed: int) -> None:
    report, _, _ = load(tmp_path, status=says(COMPLETE.format(counts=answer)))
    rows = report["rows"]
    assert (rows["confirmed"], rows["failed"], rows["unconfirmed"]) == (confirmed, failed, unconfirmed)
    assert report["exit_code"] == (0 if confirmed == 6 else 76)
    assert "batch_size_differs" not in report["warnings"]


def test_an_answer_that_names_every_row_and_has_no_status_of_the_batch(tmp_path: Path) -> None:
    def status(number: int) -> web.Response:
        words = ["success"] * 4 + ["error"] + (["pending"] if number < 3 else ["success"])
        rows = "".join(f"<profile><id>u{n}</id><status>{word}</status></profile>" for n, word in enumerate(words))
        return web.Response(text=f"<response><batchId>1</batchId>{rows}</response>")

    report, _, _ = load(tmp_path, status=status)
    assert (report["rows"]["confirmed"], report["rows"]["failed"], report["calls"]) == (5, 1, 4)


def test_a_status_that_is_not_known_yet(tmp_path: Path) -> None:
    def status(number: int) -> web.Response:
        return web.Response(status=404) if number < 3 else web.Response(text=COMPLETE.format(counts=counts(6, 6)))

    report, _, _ = load(tmp_path, status=status)
    assert (report["rows"]["confirmed"], report["calls"]) == (6, 4)


def test_a_status_that_is_never_known(tmp_path: Path) -> None:
    report, _, posts = load(tmp_path, status=says("", 404))
    assert (report["rows"]["unconfirmed"], posts) == (6, 1)
    assert "Target does not know the batch (HTTP 404)" in report["batches"][0]["why"]


WRONG_ADDRESSES = {
    "not found": says("", 404),
    "method not allowed": says("", 405),
    "gone": says("", 410),
    "message names the client": says(REFUSED.format(message="Invalid client code")),
}


@pytest.mark.parametrize("answer", WRONG_ADDRESSES.values(), ids=WRONG_ADDRESSES.keys())
def test_a_wrong_client_code_is_told_by_the_first_answer(tmp_path: Path, answer: Callable[[int], web.Response]) -> None:
    report, _, posts = load(tmp_path, post=answer)
    assert (report["exit_code"], report["state"], posts) == (77, "unfinished", 1)
    assert "is [target] client_code right?" in report["error"]
    assert report["rows"]["pending"] == 6


def test_everything_refused_alike_is_told_by_a_few_tiny_posts(tmp_path: Path) -> None:
    report, _, posts = load(tmp_path, post=says(REFUSED.format(message="Unexpected error")))
    assert (report["exit_code"], report["state"]) == (77, "unfinished")
    assert "(Unexpected error)" in report["error"]
    assert posts <= 12
    assert report["rows"]["rejected"] == report["rows"]["failed"] == 0


def test_an_address_that_was_right_before_is_tried_again(tmp_path: Path) -> None:
    def post(number: int) -> web.Response:
        if number == 2:
            return web.Response(status=404)
        return web.Response(text=ACCEPTED.format(url="http://localhost:1/status"))

    one_by_one: dict[str, Any] = {"batch": {"max_rows": 3}, "upload": {"concurrency": 1}, "settle": {"deadline_s": 5.0}}
    report, logged, posts = load(tmp_path, post=post, **one_by_one)
    assert posts == 3
    assert [line["outcome"].partition(":")[0] for line in events(logged, "attempt_failed")] == ["not taken"]
    assert len(report["batches"]) == 2


#: Answers to a POST that are not Target's: something between us and Target speaks.
FOREIGN = {
    "a page of a proxy": (says("<html><body>Please log in</body></html>"), "Page"),
    "half a page": (says("<html><body>"), "InDoubt"),
    "nothing": (says(""), "InDoubt"),
    "a long page": (says("<html>" + "x" * 200_000 + "</html>"), "InDoubt"),
    "a gateway": (says("<html>Bad Gateway</html>", 502), "InDoubt"),
    "a redirect": (says("", 302, Location="http://localhost:1/"), "WrongAddress"),
    "a redirect for good": (says("", 308, Location="http://localhost:1/"), "WrongAddress"),
}


@pytest.mark.parametrize(("answer", "kind"), FOREIGN.values(), ids=FOREIGN.keys())
def test_an_answer_that_is_not_targets(tmp_path: Path, answer: Callable[[int], web.Response], kind: str) -> None:
    """Target may have the batch after an answer that cannot be read; a redirect took nothing, and is not followed.

    A whole page in place of the first answer of all ends the run: the address is wrong, most likely.
    """
    report, logged, posts = load(tmp_path, post=answer, upload={"attempts": 2}, settle={"max_lost": "100%"})
    outcomes = {line["outcome"].partition(":")[0] for line in events(logged, "attempt_failed")}
    if kind == "InDoubt":
        assert (outcomes, posts, report["rows"]["unconfirmed"]) == ({"ambiguous"}, 2, 6)
    else:
        outcome = {"Page": "ambiguous", "WrongAddress": "not taken"}[kind]
        assert (outcomes, posts) == ({outcome}, 1)
        assert (report["exit_code"], report["rows"]["pending"]) == (77, 6)


def test_an_empty_batch_is_split_once_and_fails_with_the_reason(tmp_path: Path) -> None:
    report, logged, posts = load(tmp_path, post=says(REFUSED.format(message="Batch is empty")))
    assert posts == 3
    assert (report["rows"]["failed"], report["exit_code"], report["warnings"]) == (6, 76, {"batch_refused_as_empty": 1})
    assert {line["log_level"] for line in events(logged, "batch_refused_as_empty")} == {"error"}
    failed = [batch for batch in report["batches"] if batch["state"] == "failed"]
    assert all("Batch is empty; its body did not arrive as one parameter" in batch["why"] for batch in failed)
    assert [batch["rows"] for batch in failed] == [3, 3]


def test_somebody_else_uses_the_budget(tmp_path: Path) -> None:
    """Our share shrinks to what is left, and log and report say so."""
    with capture_logs() as logged:
        delivery = deliver(
            tmp_path,
            *(f"u{n},gold,{n}" for n in range(120)),
            options={"calls_per_minute": 50, "neighbour_calls": 40},
            target={"calls_per_minute": 45},
            batch={"max_rows": 2},
        )
    assert delivery.report["rows"]["confirmed"] == 120
    told = events(list(logged), "budget_shared")
    assert [(line["log_level"], line["share"]) for line in told[:2]] == [("warning", 22), ("warning", 11)]
    assert delivery.report["warnings"] == {"budget_shared": len(told)}
    assert delivery.sandbox.calls["throttled"] < 20
    assert delivery.sandbox.mistakes == []


@pytest.mark.parametrize("call", ["posts", "statuses"])
def test_a_503_that_says_when_to_come_again(tmp_path: Path, call: str) -> None:
    quick = {call: {1: Fault.THROTTLE_503}}
    for name in ("told", "untold"):
        (tmp_path / name).mkdir()
    told = deliver(tmp_path / "told", *SIX_ROWS, faults=FaultPlan(**quick, retry_after_503="5"))  # type: ignore[arg-type]
    untold = deliver(tmp_path / "untold", *SIX_ROWS, faults=FaultPlan(**quick))  # type: ignore[arg-type]
    assert told.report["seconds"] < 30 < 60 < untold.report["seconds"]
    assert "budget_shared" not in told.report["warnings"]


def test_an_empty_batch_that_was_too_large_goes_in_halves(tmp_path: Path) -> None:
    delivery = deliver(tmp_path, *SIX_ROWS, faults=FaultPlan(posts={1: Fault.REFUSE_EMPTY}))
    assert delivery.report["rows"]["confirmed"] == 6
    assert delivery.report["warnings"] == {"batch_refused_as_empty": 1}
    assert len(delivery.posts) == 2
