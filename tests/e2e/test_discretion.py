"""No cell, no id and no token gets into the log, a report or what `status` and `health` say, whatever Target quotes."""

import signal
from pathlib import Path
from typing import Any

from pipeline.sandbox import Sandbox
from tests.tools.dropping import events, text_of
from tests.tools.faults.refusing import POISON, RefusingTarget, refusing
from tests.tools.support import Bench, Ended, ended, run_program, started, until

#: In every id, cell and token.
MARK = "MARK"
ROWS = (
    *(f"{MARK}-{n}@a.example,{MARK}ed \u00eb {n},Zo{MARK}" for n in range(9)),
    f"{MARK}-bad,{POISON}{MARK},1",
    f"{MARK}/1,{MARK},{MARK}",
    f"{MARK},{MARK}",
    f'{MARK},"{MARK}"{MARK},1',
)


def bench_at(directory: Path, target: RefusingTarget) -> Bench:
    target.quotes_rows = True
    (directory / "token").write_text(f"{MARK}TOKEN")
    return Bench(directory, target.base_url, Sandbox())


def config_of(at: Bench, **sections: Any) -> Path:
    target = {"token_file": str(at.directory / "token")}
    return at.config(target=target, batch={"max_rows": 3}, export={"max_rejects": "50%"}, **sections)


async def all_told(config: Path, at: Bench, *ends: Ended) -> str:
    """All that everybody may read."""
    looked = [
        await run_program("status", "--config", config),
        await run_program("status", "--config", config, "--json"),
        await run_program("health", "--config", config),
        await run_program("config", "show", "--config", config),
    ]
    reports = [file.read_text() for file in at.state.glob("jobs/*/report.json")]
    service = at.state / "service.json"
    notice = service.read_text() if service.exists() else ""
    return "\n".join([*(done.said for done in (*looked, *ends)), *reports, notice])


async def test_a_load(tmp_path: Path) -> None:
    async with refusing() as target:
        at = bench_at(tmp_path, target)
        done = await at.load(*ROWS, target={"token_file": str(tmp_path / "token")}, export={"max_rejects": "50%"})
        assert target.refused > 0
        assert (done.report["rows"]["rejected"], done.report["rows"]["confirmed"]) == (4, 9), done.said
        failed = events(done, "attempt_failed")
        assert failed[0]["outcome"].startswith("refused: a message that is not known (")
        assert MARK not in await all_told(tmp_path / "config.toml", at, done)
        jobs = {event.get("job") for event in map(dict, events(done, "batch_settled"))}
        assert jobs == {done.report["job"]}
        rejects = (at.state / "jobs" / done.report["job"] / "rejects.jsonl").read_text()
        assert rejects.count(f'"raw":"{MARK}') == 4, "that is what it is for"


async def test_a_service(tmp_path: Path) -> None:
    async with refusing() as target:
        at = bench_at(tmp_path, target)
        drop = tmp_path / "drop"
        drop.mkdir()
        config = config_of(at, drop={"directory": str(drop), "poll_s": 0.05, "settle_s": 0.05})
        (drop / "a.csv").write_text(text_of(*ROWS))
        (drop / "b.csv").write_text("\n".join(ROWS))
        for name in "ab":
            (drop / f"{name}.csv.ready").touch()

        target.refuses_all = True
        async with started("serve", "--config", config) as process:
            await until((at.state / "service.json").exists)
            while_it_waits = await all_told(config, at)
            process.send_signal(signal.SIGTERM)
            first = await ended(process)
        assert len(events(first, "service_paused")) == 1
        assert "alive: " in while_it_waits
        assert "a message that is not known (" in while_it_waits, "what is told of Target's own words"
        assert MARK not in while_it_waits
        target.refuses_all = False
        second = await run_program("serve", "--drain", "--config", config)
        # The export without a header may have had its turn beside the one that could not be finished.
        is_told_before = "set [export] header = false" in first.err
        assert second.code == (0 if is_told_before else 65), second.said
        assert is_told_before or "set [export] header = false" in second.err
        assert len(list(at.state.glob("jobs/*/report.json"))) == 2
        assert MARK not in await all_told(config, at, first, second)
