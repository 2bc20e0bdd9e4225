"""`load --json` with one worker thread and no log, so that its steps on the disk can be counted from outside.

strace counts the calls of each thread and each name apart. All that matter are made by the one worker thread, but
for a few by the event loop's own, before any other: it takes the lock. With a head start the worker makes one call of
each of those names first, to nowhere: so the worker is always the first to make a second one.
"""

import os
import sys
from pathlib import Path

import anyio
import orjson
import structlog
from anyio.to_thread import current_default_thread_limiter, run_sync

from pipeline.core.errors import ExitCode, PipelineError, most_telling, worst
from pipeline.edges.host import Host
from pipeline.jobs.one_shot import load_exports
from pipeline.settings.settings import load_settings
from pipeline.settings.tenants import Tenant

#: The first argument for a head start.
HEAD_START = "head-start"
#: Rows of a partition of the memory that are merged: so few that small loads merge some.
_MERGED_ROWS = 2
#: The calls by which the lock is taken: each once.
LOCKING = ("mkdir", "ftruncate", "pwrite64")


def _make_each_call() -> None:
    Path("/").mkdir(exist_ok=True)
    descriptor = os.memfd_create("nowhere")
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"-", 0)
    finally:
        os.close(descriptor)


async def load(config: Path, exports: list[Path], *, has_head_start: bool) -> int:
    """Load exports; the exit code, as `load` has it."""
    current_default_thread_limiter().total_tokens = 1
    if has_head_start:
        await run_sync(_make_each_call)
    codes = list[ExitCode]()
    try:
        async for report in load_exports(
            exports, Tenant.of_one(load_settings(config)), host=Host(merged_rows=_MERGED_ROWS)
        ):
            codes.append(report.exit_code)
            # Not `write`: that is to fail in the product, not here.
            os.writev(sys.stdout.fileno(), [orjson.dumps(report.as_json(), option=orjson.OPT_APPEND_NEWLINE)])
    except* PipelineError as errors:
        codes.append(most_telling(errors).exit_code)
    return worst(codes)


def main() -> None:
    structlog.configure(processors=[], logger_factory=structlog.ReturnLoggerFactory())
    start, config, *exports = sys.argv[1:]
    sys.exit(
        anyio.run(lambda: load(Path(config), [Path(export) for export in exports], has_head_start=start == HEAD_START))
    )


if __name__ == "__main__":
    main()
