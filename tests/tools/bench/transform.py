"""Our transform alone: an export is read, framed, mapped and encoded, and nothing is done with its rows.

Prints how long it took, without start-up and imports, and how many records it read.
"""

import sys
import time
from pathlib import Path

import anyio
import orjson

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.edges.exports import open_export
from pipeline.jobs.row_source import open_rows
from pipeline.settings.export_section import ExportSettings
from pipeline.settings.sections import TARGET_MAX_BYTES
from tests.tools.bench.generator import ID_COLUMN


async def transform(path: Path, settings: ExportSettings | None = None) -> tuple[int, int]:
    """How many records were read, and how many of them are rejected."""
    settings = settings or ExportSettings(id_column=ID_COLUMN, unlisted="send")
    read = rejected = 0
    async with open_export(path, settings.encoding) as export:
        source = await open_rows(
            export,
            settings,
            Checkpoint(),
            open_export=open_export,
            carried=(),
            max_batch_bytes=TARGET_MAX_BYTES,
            salt=1,
        )
        while (block := await source.read()) is not None:
            read += block.mapped.read
            rejected += len(block.mapped.rejects)
    return read, rejected


def main(path: str) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    read, _ = anyio.run(transform, Path(path))
    used = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu, "rows": read}
    print(orjson.dumps(used).decode())


if __name__ == "__main__":
    main(sys.argv[1])
