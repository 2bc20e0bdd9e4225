"""The columns of JSON Lines: the keys of its objects, in all parts of the export."""

from itertools import chain
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.core.formats.framing import BOM
from pipeline.core.formats.json_lines import MAX_COLUMNS, JsonFramer, add_columns
from pipeline.core.printable import printable
from pipeline.edges.exports import Export
from pipeline.edges.host import OpenExport, RunBlocking, run_if_large
from pipeline.settings.sections.export import ExportSettings


async def read_keys(
    export: Export, head: bytes, settings: ExportSettings, open_export: OpenExport, run_blocking: RunBlocking
) -> list[str]:
    """The columns of JSON Lines, of which `head` is the first block of the first part that holds anything.

    If all keys count, because each is sent or stops the load, the whole export is read for them: a key that comes late
    would else have no place in the batches before. A key of [export] columns may be in no line, unless all are in none.
    """
    columns: dict[str, None] = {}
    if settings.unlisted == "ignore":
        is_blank = await run_if_large(run_blocking, len(head), _add_configured, columns, JsonFramer(()), head, settings)
    else:
        async with open_export(export.path, settings.encoding) as again:
            await _add_parts(columns, again, settings, run_blocking)
        is_blank = not columns
    if is_blank:
        raise InputError(f"{printable(str(export.path))} cannot be loaded: no line of it holds a JSON object.", line=1)
    if not settings.columns.keys().isdisjoint(columns):
        columns |= dict.fromkeys(settings.columns)
    return list(columns)


async def _add_parts(
    columns: dict[str, None], export: Export, settings: ExportSettings, run_blocking: RunBlocking
) -> None:
    """Add the keys of all parts of an export that nothing was read of."""
    has_more = True
    while has_more:
        # The last line of a part may have no line feed, and is none with the first of the next.
        framer, start = JsonFramer(()), BOM
        while block := await export.read_block():
            block = block.removeprefix(start)
            await run_if_large(run_blocking, len(block), _add_all, columns, framer, block, settings, export.place)
            start = b""
        left = framer.pending_bytes
        await run_if_large(run_blocking, left, _add_all, columns, framer, None, settings, export.place)
        has_more = await export.next_part()


def _add_configured(columns: dict[str, None], framer: JsonFramer, head: bytes, settings: ExportSettings) -> bool:
    """Add those of the configured columns that are in the first block; True if it holds no object at all."""
    is_blank = True
    wanted = {settings.id_column, *settings.columns}
    for keys in chain(framer.objects(head), framer.objects(None)):
        is_blank = False
        columns |= dict.fromkeys(key for key in keys if key in wanted)
    return is_blank


def _add_all(
    columns: dict[str, None], framer: JsonFramer, block: bytes | None, settings: ExportSettings, path: Path
) -> None:
    """Add the keys of the objects that a block completes. Raises `InputError` (65) for too many."""
    most = min(MAX_COLUMNS, settings.max_columns)
    for keys in framer.objects(block):
        add_columns(columns, [keys])
        if len(columns) > most:
            raise InputError(
                f"{printable(str(path))} cannot be loaded: its objects have more than {most:,} different keys, so some "
                "are data and no names. List those that Target should get under [export] columns, and set "
                'unlisted = "ignore".'
            )
