"""The rows of an open export, block by block: read, framed, mapped and encoded."""

from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.core.framing import BOM, BrokenLine, Framer, Record, detect_delimiter
from pipeline.core.mapping import ColumnPlan, Mapped, RowMapper, is_utf8, plan_columns
from pipeline.edges.exports import Export, open_export
from pipeline.job import Job


class RowSource:
    """Made by `open_rows`; `plan` says what is sent."""

    def __init__(
        self,
        export: Export,
        framer: Framer,
        plan: ColumnPlan,
        mapper: RowMapper,
        first: list[Record | BrokenLine],
    ) -> None:
        self.plan = plan
        self._export = export
        self._framer = framer
        self._mapper = mapper
        self._framed = first
        self._is_at_end = False

    async def read(self) -> Mapped | None:
        """What became of the next records, possibly none; None at the end of the export."""
        framed, self._framed = self._framed, []
        if not framed:
            if self._is_at_end:
                return None
            block = await self._export.read_block()
            self._is_at_end = not block
            framed = self._framer.feed(block) if block else self._framer.finish()
        return self._mapper.map(framed)


async def open_rows(export: Export, job: Job) -> RowSource:
    """Read up to the header and plan the columns. Raises `InputError` (65) for an export that cannot be sent."""
    settings = job.settings.export
    framer, delimiter, framed = await _frame_start(export, settings.delimiter)
    plan = plan_columns(
        read_header(framed[0]),
        id_column=settings.id_column,
        id_kind=settings.id_kind,
        columns=settings.columns,
        unlisted=settings.unlisted,
    )
    mapper = RowMapper(
        plan,
        delimiter=delimiter,
        on_delimiter=settings.on_delimiter,
        replacement=settings.replacement,
        max_row_bytes=job.settings.batch.max_bytes - len(plan.body_start),
        salt=job.salt,
    )
    job.progress.columns_sent = plan.parameters
    job.progress.warnings = mapper.warnings
    return RowSource(export, framer, plan, mapper, framed[1:])


async def read_columns(path: Path, *, delimiter: str = "auto") -> list[str]:
    """The column names of an export. Raises `InputError` (65, 66)."""
    async with open_export(path) as export:
        _, _, framed = await _frame_start(export, delimiter)
        return read_header(framed[0])


async def _frame_start(export: Export, delimiter: str) -> tuple[Framer, bytes, list[Record | BrokenLine]]:
    """Frame the export as far as it takes to have its header; the framer, the delimiter, and what is framed."""
    head = (await export.read_block()).removeprefix(BOM)
    found = detect_delimiter(head) if delimiter == "auto" else delimiter.encode()
    framer = Framer(found)
    framed = framer.feed(head)
    while not framed and (block := await export.read_block()):
        framed = framer.feed(block)
    framed = framed or framer.finish()
    if not framed:
        raise InputError(f"{export.path} is empty: it has not even a header line.", line=1)
    return framer, found, framed


def read_header(first: Record | BrokenLine) -> list[str]:
    """The column names. Raises `InputError` (65) where the first record cannot be a header."""
    if isinstance(first, BrokenLine):
        raise InputError(f"the header line is broken ({first.reason}): mend its quotes.", line=first.line)
    if b"\0" in first.raw or not is_utf8(first.raw):
        raise InputError(
            "the header line is not UTF-8 text (an export in UTF-16 or Latin-1?): save the export as UTF-8.",
            line=first.line,
        )
    return [column.decode() for column in first.fields]
