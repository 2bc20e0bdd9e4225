"""Our transform alone: an export is read, framed, mapped and encoded, and nothing is done with its rows.

    python -m tests.tools.bench.transform EXPORT [KEYS]

`KEYS`: what a configuration would say of the export, as JSON: {"export": {...}, "mapping": {...}}.

Prints how long it took, without start-up and imports, how many records it read, and how many of them are rejected.
"""

import sys
import time
from pathlib import Path

import anyio
import orjson

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.values.row_steps import NOTHING_DONE, RowSteps
from pipeline.edges.exports import open_export
from pipeline.jobs.row_source import open_rows
from pipeline.settings.sections.engine import TARGET_MAX_BYTES
from pipeline.settings.sections.export import ExportSettings
from pipeline.settings.sections.mapping import MappingSettings
from tests.tools.bench.generator import ID_COLUMN


async def transform(
    path: Path, settings: ExportSettings | None = None, steps: RowSteps = NOTHING_DONE
) -> tuple[int, int]:
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
            steps=steps,
        )
        while (block := await source.read()) is not None:
            read += block.mapped.read
            rejected += len(block.mapped.rejects)
    return read, rejected


def main(path: str, keys: str = "{}") -> None:
    sections = orjson.loads(keys)
    settings = ExportSettings.model_validate({"id_column": ID_COLUMN, "unlisted": "send", **sections.get("export", {})})
    steps = MappingSettings.model_validate(sections.get("mapping", {})).steps(b"", {})
    wall, cpu = time.perf_counter(), time.process_time()
    read, rejected = anyio.run(transform, Path(path), settings, steps)
    wall_s, cpu_s = time.perf_counter() - wall, time.process_time() - cpu
    print(orjson.dumps({"wall_s": wall_s, "cpu_s": cpu_s, "rows": read, "rejected": rejected}).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
