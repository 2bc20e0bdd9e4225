"""The five questions of 3 a.m.: each is answered by one command and by one look at the page, with what to do next.

docs/at-night.md has what `status` says: each line of its tables is compared with the answer that a test gets.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from pipeline.sandbox import Fault, FaultPlan
from pipeline.settings.sections.windows import DAYS
from tests.service.web.site import free_port
from tests.tools.dropping import Drop, dropping
from tests.tools.reading import page
from tests.tools.support import run_program

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "at-night.md").read_text()
NEVER = {"apply_min_s": 6_000.0, "apply_max_s": 6_000.0}
#: Neither the ids and values of the exports here may stand in an answer but that of `explain`.
ROWS = ("zoe77,gold77,1", "max77,blue77,2")


@dataclass(frozen=True, slots=True)
class Night:
    """A service at work, and whoever asks about it."""

    drop: Drop
    config: Path
    port: int

    def put(self, *rows: str, manifest: str = "") -> None:
        self.drop.put("customers.csv", *(rows or ROWS), signal_as="customers.csv.ready", manifest=manifest)

    async def ask(self, *command: str) -> str:
        """The answer to one command, in one line."""
        done = await run_program(*command, "--config", self.config)
        assert done.code == 0, done.said
        return " ".join(done.out.split())

    async def answers(self, words: str, line: tuple[int, int] | None = None) -> tuple[str, str]:
        """The answer of `status`, and the words on the page, as soon as these words are in both.

        `line`: of the document, whose words `status` says too.
        """
        wanted = [words, *(documented(*line) if line else ())]
        async with asyncio.timeout(60):
            # Between two tries of the service it tells less for a moment.
            told = await self.ask("status")
            while not all(each in told for each in wanted):
                told = await self.ask("status")
            while words not in (seen := await page(f"http://127.0.0.1:{self.port}/")):
                pass
        assert not any(cell in told + seen for row in ROWS for cell in row.split(",")[:2])
        return told, seen


def documented(question: int, number: int) -> list[str]:
    """The words that `status` says, by the line with this number below a question of the document."""
    section = re.split(r"(?m)^## \d\. ", DOCUMENT)[question]
    first = re.findall(r"(?m)^\| (.*?) \|", section)[number]
    words = [part.strip() for text in re.findall(r"`([^`]+)`", first) for part in re.split(r"\.\.\.|JOB", text)]
    assert words
    return [each for each in words if each]


@asynccontextmanager
async def night(
    directory: Path,
    options: dict[str, Any] | None = None,
    before: Callable[[Drop], None] | None = None,
    **sections: Any,
) -> AsyncIterator[Night]:
    """`options`: of the sandbox. `before`: done before the service begins."""
    port = free_port()
    async with dropping(directory, **(options or {})) as drop:
        config = drop.config(web={"port": port}, **sections)
        if before:
            before(drop)
        async with drop.serving(config=config):
            yield Night(drop, config, port)


def expected_for_long(drop: Drop) -> None:
    """An export has been expected every day since 2020."""
    drop.at.state.mkdir()
    since = {"words": "00:00 UTC mon,tue,wed,thu,fri,sat,sun", "since": "2020-01-01T00:00:00+00:00"}
    told = {"conditions": {}, "expected": {"default": since}}
    (drop.at.state / "told.json").write_bytes(orjson.dumps(told))


class TestItDidNotCome:
    async def test_nothing_came(self, tmp_path: Path) -> None:
        async with night(tmp_path, before=expected_for_long, expect={"by": "00:00"}) as at:
            for answer in await at.answers("export had to be done by", (1, 1)):
                assert "00:00 (UTC): none has come. Ask whoever drops it;" in answer
                assert f"ls -la {at.drop.directory}" in answer

    async def test_its_signal_did_not_come(self, tmp_path: Path) -> None:
        async with night(tmp_path) as at:
            at.drop.put("customers.csv", *ROWS)
            for answer in await at.answers("Not signalled: customers.csv, ", (1, 2)):
                assert "Not signalled" in answer

    async def test_only_its_signal_came(self, tmp_path: Path) -> None:
        async with night(tmp_path, drop={"signal_wait_s": 600.0}) as at:
            (at.drop.directory / "customers.csv.ready").touch()
            for answer in await at.answers("without customers.csv; waits until ", (1, 3)):
                assert re.search(r"without customers\.csv; waits until \d{4}-\d\d-\d\d \d\d:\d\d", answer)


class TestItWasRefused:
    async def test_it_cannot_be_used(self, tmp_path: Path) -> None:
        async with night(tmp_path) as at:
            at.put(manifest="rows=9")
            told, seen = await at.answers("manifest in customers.csv.ready says rows = 9, but it is 2", (2, 1))
            assert "failed" in told
            assert "to do: remove the cause, then load or drop the export anew" in told
            assert "customers.csv failed. The manifest in " in seen
            assert "Remove the cause, then drop the export anew." in seen

    async def test_it_is_in_quarantine(self, tmp_path: Path) -> None:
        async with night(tmp_path, guard={"min_rows": 100}) as at:
            at.put()
            for answer in await at.answers("t has 2 rows, fewer than [guard] min_rows = 100", (2, 2)):
                assert re.search(r"approve \d{8}T\d{6}Z-customers-\w+", answer)
                assert "abandon" in answer

    async def test_rows_of_it_were_lost(self, tmp_path: Path) -> None:
        plan = FaultPlan(posts={1: Fault.FAIL_ROWS}, failing_rows=1)
        async with night(tmp_path, {"faults": plan}) as at:
            at.put()
            told, seen = await at.answers("profile-pipeline retry ", (2, 3))
            assert "1 failed" in told
            assert "customers.csv lost 1 row." in seen


class TestItIsStuckAtTarget:
    async def test_it_is_accepted_and_not_applied(self, tmp_path: Path) -> None:
        async with night(tmp_path, NEVER) as at:
            at.put()
            for answer in await at.answers("Target to apply 1 batch, the oldest accepted ", (3, 1)):
                assert re.search(r"ago \(given up at \d{4}-\d\d-\d\d \d\d:\d\d UTC\)", answer)

    async def test_target_is_away(self, tmp_path: Path) -> None:
        away = FaultPlan(posts=dict.fromkeys(range(1, 50), Fault.HTTP_500))
        upload = {"backoff_s": 1.0, "backoff_max_s": 100.0, "attempts": 50}
        async with night(tmp_path, {"faults": away}, upload=upload) as at:
            at.put()
            for answer in await at.answers("Target gives no usable answer since ", (3, 2)):
                assert "the last was: HTTP 500. It is tried again and again" in answer
                assert "status.adobe.com" in answer


class TestItIsPaused:
    async def test_by_request(self, tmp_path: Path) -> None:
        async with night(tmp_path) as at:
            await at.ask("pause")
            for answer in await at.answers("ending is paused", (4, 4)):
                assert re.search(r"paused[.:] `?profile-pipeline resume", answer)

    async def test_by_the_disk(self, tmp_path: Path) -> None:
        async with night(tmp_path, state={"min_free_bytes": 10**15}) as at:
            at.put()
            for answer in await at.answers("must stay free beside the next batch", (4, 1)):
                assert "make room and run again. The service tries again by itself." in answer

    async def test_by_the_token(self, tmp_path: Path) -> None:
        token = tmp_path / "token"
        token.write_text("wrong")
        async with night(tmp_path, {"token": "right"}, target={"token_file": str(token)}) as at:
            at.put()
            for answer in await at.answers("Target refuses the token (HTTP 401).", (4, 2)):
                assert "Check that the token in [target] token_file is valid" in answer
                assert "The service tries again by itself." in answer
            token.write_text("right")
            await at.answers("done")

    async def test_by_a_time_window(self, tmp_path: Path) -> None:
        free = (datetime.now(UTC) + timedelta(days=3)).weekday()
        days = [day for number, day in enumerate(DAYS) if number != free]
        window = {"days": days, "from": "00:00", "to": "24:00", "time_zone": "UTC", "pause": True}
        async with night(tmp_path, windows=[window]) as at:
            for answer in await at.answers("Time windows: ", (4, 3)):
                assert re.search(r"sending pauses.* There is nothing to do: it goes on by itself\.", answer)


class TestOneCustomerIsNotRight:
    async def test_each_conclusion_has_its_next_command(self, tmp_path: Path) -> None:
        async with night(tmp_path, export={"max_rejects": "60%"}) as at:
            at.put(*ROWS, "bad/77,gold77,1")
            await at.answers("done")
            confirmed = await at.ask("explain", "zoe77", "--live")
            rejected = await at.ask("explain", "bad/77")
            unknown = await at.ask("explain", "nobody77")
        assert "Next: profile-pipeline " in confirmed
        assert "equal" in confirmed or "Target has" in confirmed
        assert "gold77" not in confirmed + rejected
        assert "was rejected (" in rejected
        assert re.search(r"Next: .*profile-pipeline retry \S+ --rejects", rejected)
        assert "nobody77" not in unknown
        assert "no export known" in unknown

    async def test_it_is_not_applied_yet(self, tmp_path: Path) -> None:
        async with night(tmp_path, NEVER) as at:
            at.put()
            await at.answers("Target to apply 1 batch")
            told = await at.ask("explain", "zoe77", "--live")
        assert "which Target accepted and has not applied yet" in told
        assert "Next: profile-pipeline status " in told
        assert "Target has no such profile, or has applied nothing to it yet." in told
