"""Errors that end a job while POSTs are under way: these come to their end, and what is told is the error."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web

from pipeline.edges.host import Host
from pipeline.edges.store import spool
from pipeline.jobs.one_shot import load_export
from tests.tools.support import (
    HANGS_AFTER_S,
    answering,
    assert_every_row_is_in_one_class,
    loop_clock,
    run_fast,
    settings_for,
    write_export,
)

#: Says of the POST of this number what Target answers.
Post = Callable[[int, web.Request], Awaitable[web.Response]]
APPLIED = "<batchSize>1</batchSize><consumedCount>1</consumedCount><failedUpdates>0</failedUpdates>"


async def load(directory: Path, post: Post, **sections: dict[str, Any]) -> dict[str, Any]:
    """The report of ten rows, a batch each, at a Target whose batches are complete at once."""
    posts = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal posts
        if request.method == "POST":
            posts += 1
            number = posts
            await request.read()
            return await post(number, request)
        return response(f"<status>complete</status>{APPLIED}")

    laid: dict[str, Any] = {
        "batch": {"max_rows": 1},
        "upload": {"concurrency": 2},
        "settle": {"poll_first_s": 0.05, "poll_max_s": 0.1, "ambiguous_hold_s": 1.0},
    }
    async with answering(answer) as base_url:
        settings = settings_for(base_url, directory / "state", **laid, **sections)
        export = write_export(directory / "export.csv", *(f"u{number},a,1" for number in range(10)))
        with anyio.fail_after(HANGS_AFTER_S):
            report = (await load_export(export, settings, host=Host(loop_clock()))).as_json()
    assert_every_row_is_in_one_class(report)
    return report


def response(inside: str) -> web.Response:
    return web.Response(text=f"<response>{inside}</response>", content_type="application/xml")


def accepted(request: web.Request, number: int) -> web.Response:
    url = f"{request.url.origin()}/m2/demo/profile/batchStatus?batchId={number}"
    return response(f"<success>true</success><batchStatus>{url}</batchStatus>")


@pytest.mark.parametrize("is_one_accepted", [False, True])
def test_no_verdict_is_drawn_from_what_an_error_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_one_accepted: bool
) -> None:
    """The disk is full before the rest is sealed, of which more would have told whose fault the refusals are."""

    async def post(number: int, request: web.Request) -> web.Response:
        if is_one_accepted and number == 1:
            return accepted(request, number)
        await asyncio.sleep(0.2 * number)
        return web.Response(status=400)

    room = iter([10**9] * (3 if is_one_accepted else 2))
    monkeypatch.setattr(spool, "free_bytes", lambda _: next(room, 0))
    report = run_fast(load(tmp_path, post, state={"directory": str(tmp_path / "state"), "min_free_bytes": 1_000}))
    assert (report["exit_code"], report["state"]) == (74, "unfinished")
    assert report["rows"]["rejected"] == report["rows"]["failed"] == 0


def test_an_error_is_told_of_though_the_load_is_stopped_before_its_posts_have_ended(tmp_path: Path) -> None:
    async def post(number: int, _: web.Request) -> web.Response:
        if number == 1:
            await asyncio.sleep(HANGS_AFTER_S)
        await asyncio.sleep(0.2)
        asyncio.get_running_loop().call_later(0.5, os.kill, os.getpid(), signal.SIGTERM)
        return web.Response(status=401)

    report = run_fast(load(tmp_path, post, service={"grace_s": 2.0}))
    assert (report["exit_code"], "requires authentication" in report["error"]) == (77, True)
