"""Reads Parquet and Arrow files as text: the cells of each row, with a NUL behind each, as `CellFramer` takes them.

Rows are read in slices, whatever the size of row groups and record batches, so that memory stays flat. pyarrow, the
extra `columnar`, is imported when the first such file is opened: it takes longer than all the rest. It gets one thread.

Each value becomes the text that people would write: no value where there is none, or no number (NaN); a float without a
fraction as a whole number; decimals without exponent; dates and times as in ISO 8601, with `Z` where the zone is known.
"""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cache
from io import FileIO
from operator import attrgetter, methodcaller
from types import ModuleType
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import orjson

from pipeline.core.errors import InputError
from pipeline.core.formats.cells import ARRAY, NUL_IN_CELL
from pipeline.core.formats.packing import Growth

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows of a slice: enough for the work on columns, few enough for rows of some kilobytes.
_SLICE_ROWS = 8_192
#: Bytes of a slice as pyarrow holds it, above which it is cut further.
_SLICE_BYTES = 8_388_608
#: Bytes that pyarrow reads of a column at a time, instead of all that a row group has of it.
_READ_BYTES = 1_048_576
#: Bytes of a block that is given.
_BLOCK_BYTES = 262_144
#: Bytes of text from which on the growth of a file is judged. Ours: dictionaries and run lengths make small files of
#: exports of which a column says the same in each row, so more than of an archive.
_JUDGED_FROM_BYTES = 1_073_741_824
#: Whole numbers below are floats of their own, by the bits of a float: a larger one may stand for several.
_MAX_WHOLE = {16: 2.0**53, 32: 2.0**24, 64: 2.0**53}
#: The end of a stream. Without it, one that is cut off between two record batches would be whole.
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
#: The end of a file and the beginning of the next, as `cat` puts them together. Only the directory of the last is read,
#: and it tells places in the first.
_SEAMS = {"Parquet file": b"PAR1PAR1", "Arrow file": b"ARROW1ARROW1\0\0"}
_ADVICE = "write the export anew, or as CSV or JSON Lines."
_WRITE_AS_TEXT = "write the export as CSV or JSON Lines"
_INSTALL = (
    "in a clone, make install EXTRA=columnar (docs/formats.md has pip and the container). "
    "Or write the export as CSV or JSON Lines."
)


@dataclass(frozen=True, slots=True)
class ColumnarFile:
    """An open Parquet or Arrow file.

    `columns`: their names; a field of a struct is named by its path, `address.city`.
    `blocks`: gives the cells of all rows as text, from the first row each time it is called.
    """

    columns: tuple[str, ...]
    blocks: Callable[[], Iterator[bytes]]


def open_columnar(file: FileIO, kind: str, *, judged_from_bytes: int = _JUDGED_FROM_BYTES) -> ColumnarFile:
    """The columns of a file, and the text of its rows. Blocks; `file` is read while it is open.

    `kind`: as `columnar_kind` tells it.
    `judged_from_bytes`: bytes of text from which on its growth is judged.

    Raises `InputError` (65) for a file that cannot be read as an export, and where pyarrow is not there.
    """
    arrow = _pyarrow(kind)
    source = _Source(file)
    with _readable(source, kind):
        schema = _BATCHES[kind](source, arrow, schema_only=True)
        columns = _columns_of(schema, arrow)
    texts = [each.texts for each in columns]

    def blocks() -> Iterator[bytes]:
        growth = Growth(f"the {kind}", judged_from_bytes=judged_from_bytes, taken=source.size(), advice=_WRITE_AS_TEXT)
        with _readable(source, kind):
            if kind in _SEAMS and source.holds(_SEAMS[kind]):
                raise _several(kind)
            for batch in _BATCHES[kind](source, arrow, schema_only=False):
                for text in _cells_of(batch, texts, arrow):
                    growth.give(len(text))
                    yield text
            if kind == "Arrow stream" and source.tell() != source.size():
                raise _several(kind)

    return ColumnarFile(tuple(each.name for each in columns), blocks)


def _several(kind: str) -> InputError:
    """Of several files put together, all but one would be lost."""
    return InputError(
        f"it is {_an(kind)} with another one behind it: put them into a directory, each as a file of its own, and load "
        "that."
    )


@cache
def _imported() -> ModuleType:
    import pyarrow
    import pyarrow.compute
    import pyarrow.parquet

    pyarrow.set_cpu_count(1)
    pyarrow.set_io_thread_count(1)
    module: ModuleType = pyarrow
    return module


def _pyarrow(kind: str) -> ModuleType:
    try:
        return _imported()
    except ImportError as error:
        raise InputError(f"it is {_an(kind)}, and what reads those is not installed: {_INSTALL}") from error


class _Source(io.RawIOBase):
    """The bytes of a file, read at a place of its own: others read the same file meanwhile."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._place = 0
        #: An error of the disk, which is none of the file's content.
        self.fault: OSError | None = None

    def size(self) -> int:
        """The bytes of the file."""
        return os.fstat(self._file.fileno()).st_size

    def ends_with(self, content: bytes) -> bool:
        """True if these are the last bytes of the file."""
        return os.pread(self._file.fileno(), len(content), max(0, self.size() - len(content))) == content

    def holds(self, content: bytes) -> bool:
        """True if these bytes are somewhere in the file."""
        left = b""
        self.seek(0)
        while piece := self.read(_READ_BYTES):
            if content in left + piece:
                return True
            left = piece[1 - len(content) :]
        return False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self.size()}[whence]
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, size: int = -1) -> bytes:
        left = max(0, self.size() - self._place) if size < 0 else size
        pieces = []
        try:
            while left and (piece := os.pread(self._file.fileno(), left, self._place)):
                pieces.append(piece)
                self._place += len(piece)
                left -= len(piece)
        except OSError as error:
            self.fault = error
            raise
        return b"".join(pieces)


@contextmanager
def _readable(source: _Source, kind: str) -> Iterator[None]:
    """Raise `InputError` where pyarrow cannot read a file; what it says may hold values, and is told to nobody."""
    try:
        yield
    except InputError:
        raise
    except (MemoryError, GeneratorExit):
        raise
    except Exception as error:
        if source.fault is not None:
            raise source.fault from error
        arrow = _imported()
        known = (arrow.ArrowException, OSError, ValueError, TypeError, KeyError, NotImplementedError, OverflowError)
        if not isinstance(error, known):
            raise
        raise InputError(
            f"it is {_an(kind)} that is cut off, damaged, encrypted or of a kind that is not known: {_ADVICE}"
        ) from error


def _an(kind: str) -> str:
    """The name of a kind with its article."""
    return f"{'an' if kind.startswith('A') else 'a'} {kind}"


def _parquet(source: _Source, arrow: ModuleType, *, schema_only: bool) -> Any:
    source.seek(0)
    file = arrow.parquet.ParquetFile(source, buffer_size=_READ_BYTES, pre_buffer=False)
    if schema_only:
        return file.schema_arrow
    return file.iter_batches(batch_size=_SLICE_ROWS, use_threads=False)


def _arrow_file(source: _Source, arrow: ModuleType, *, schema_only: bool) -> Any:
    source.seek(0)
    file = arrow.ipc.open_file(source, options=arrow.ipc.IpcReadOptions(use_threads=False))
    if schema_only:
        return file.schema
    return (file.get_batch(place) for place in range(file.num_record_batches))


def _arrow_stream(source: _Source, arrow: ModuleType, *, schema_only: bool) -> Any:
    source.seek(0)
    if not source.ends_with(_END_OF_STREAM):
        raise InputError(f"it is an Arrow stream without its mark at the end, so it is cut off: {_ADVICE}")
    stream = arrow.ipc.open_stream(source, options=arrow.ipc.IpcReadOptions(use_threads=False))
    return stream.schema if schema_only else iter(stream)


_BATCHES: dict[str, Callable[..., Any]] = {
    "Parquet file": _parquet,
    "Arrow file": _arrow_file,
    "Arrow stream": _arrow_stream,
}


@dataclass(frozen=True, slots=True)
class _Column:
    """A column. `texts`: makes the texts of its values of a record batch."""

    name: str
    texts: "Callable[[pa.RecordBatch], pa.Array]"


def _columns_of(schema: "pa.Schema", arrow: ModuleType) -> list[_Column]:
    found: list[_Column] = []
    for place, field in enumerate(schema):
        _add_columns(found, field.name, field.type, methodcaller("column", place), arrow)
    if not found:
        raise InputError(f"it has no columns: {_ADVICE}")
    return found


def _add_columns(
    found: list[_Column], name: str, kind: "pa.DataType", values: "Callable[[Any], pa.Array]", arrow: ModuleType
) -> None:
    """Add the column of this type, or those of the fields of a struct."""
    if arrow.types.is_struct(kind):
        for place in range(kind.num_fields):
            field = kind.field(place)

            def within(batch: Any, place: int = place) -> "pa.Array":
                return arrow.compute.struct_field(values(batch), [place])

            _add_columns(found, f"{name}.{field.name}", field.type, within, arrow)
        return
    number = len(found) + 1
    written = _writer_of(kind, arrow)
    if written is None:
        raise InputError(f"its column {number} is of a type that has no text: leave it out, or write it as text.")
    found.append(_Column(name, lambda batch: written(values(batch))))


def _cells_of(
    batch: "pa.RecordBatch", texts: "list[Callable[[pa.RecordBatch], pa.Array]]", arrow: ModuleType
) -> Iterator[bytes]:
    """The text of a record batch, in blocks."""
    rows = _SLICE_ROWS
    if batch.num_rows and batch.nbytes > _SLICE_BYTES:
        rows = min(rows, max(1, _SLICE_BYTES * batch.num_rows // batch.nbytes))
    for first in range(0, batch.num_rows, rows):
        piece = batch.slice(first, rows)
        columns = [make(piece).cast(arrow.large_binary()) for make in texts]
        text = _joined(columns, arrow)
        if np.count_nonzero(np.frombuffer(text, dtype=np.uint8) == 0) != piece.num_rows * len(columns):
            text = _joined([arrow.compute.replace_substring(each, b"\0", NUL_IN_CELL) for each in columns], arrow)
        for start in range(0, len(text), _BLOCK_BYTES):
            yield bytes(text[start : start + _BLOCK_BYTES])


def _joined(columns: "list[pa.Array]", arrow: ModuleType) -> memoryview:
    """The texts of all rows, with a NUL behind each."""
    end, between = (arrow.scalar(text, arrow.large_binary()) for text in (b"", b"\0"))
    rows = arrow.compute.binary_join_element_wise(*columns, end, between, null_handling="replace", null_replacement=b"")
    _, offsets, content = rows.buffers()
    places = memoryview(offsets).cast("B").cast("q")
    text = memoryview(content or b"").cast("B")
    return text[places[rows.offset] : places[rows.offset + len(rows)]]


def _writer_of(kind: "pa.DataType", arrow: ModuleType) -> "Callable[[pa.Array], pa.Array] | None":
    """The function that makes texts of values of a type; None for a type that has none."""
    types = arrow.types
    if isinstance(kind, arrow.BaseExtensionType):
        if kind.extension_name == "arrow.uuid":
            return lambda values: arrow.array(
                [None if each is None else str(UUID(bytes=each)) for each in values.storage.to_pylist()], arrow.string()
            )
        return _behind(attrgetter("storage"), kind.storage_type, arrow)
    if types.is_dictionary(kind):
        return _behind(lambda values: values.cast(kind.value_type), kind.value_type, arrow)
    if types.is_run_end_encoded(kind):
        return _behind(arrow.compute.run_end_decode, kind.value_type, arrow)
    for is_kind, writer in _writers(arrow):
        if is_kind(kind):
            return writer
    return None


def _behind(
    unwrap: "Callable[[pa.Array], pa.Array]", kind: "pa.DataType", arrow: ModuleType
) -> "Callable[[pa.Array], pa.Array] | None":
    """The writer of the values of this type that others stand for."""
    writer = _writer_of(kind, arrow)
    return None if writer is None else lambda values: writer(unwrap(values))


def _writers(arrow: ModuleType) -> "list[tuple[Callable[[Any], bool], Callable[[pa.Array], pa.Array]]]":
    types = arrow.types

    def as_text(values: "pa.Array") -> "pa.Array":
        return values.cast(arrow.string())

    def as_it_is(values: "pa.Array") -> "pa.Array":
        if types.is_fixed_size_binary(values.type):
            return values.cast(arrow.binary())
        if types.is_string_view(values.type):
            return values.cast(arrow.large_string())
        return values

    return [
        (types.is_null, lambda values: arrow.nulls(len(values), arrow.string())),
        (types.is_boolean, as_text),
        (types.is_integer, as_text),
        (types.is_floating, lambda values: _floats(values, arrow)),
        (types.is_decimal, lambda values: _decimals(values, arrow)),
        (types.is_date, lambda values: values.cast(arrow.date32(), safe=False).cast(arrow.string())),
        (types.is_timestamp, lambda values: _timestamps(values, arrow)),
        (types.is_time, lambda values: _without_zeros(as_text(values), arrow)),
        (types.is_duration, lambda values: _durations(values, arrow)),
        (types.is_string, as_it_is),
        (types.is_large_string, as_it_is),
        (types.is_string_view, as_it_is),
        (types.is_binary, as_it_is),
        (types.is_large_binary, as_it_is),
        (types.is_binary_view, as_it_is),
        (types.is_fixed_size_binary, as_it_is),
        (types.is_map, lambda values: _json_texts(values, arrow, is_array=False)),
        (types.is_list, lambda values: _json_texts(values, arrow, is_array=True)),
        (types.is_large_list, lambda values: _json_texts(values, arrow, is_array=True)),
        (types.is_list_view, lambda values: _json_texts(values, arrow, is_array=True)),
        (types.is_large_list_view, lambda values: _json_texts(values, arrow, is_array=True)),
        (types.is_fixed_size_list, lambda values: _json_texts(values, arrow, is_array=True)),
    ]


def _floats(values: "pa.Array", arrow: ModuleType) -> "pa.Array":
    """Whole numbers as such, the others in the fewest digits that give the same float again; no number, no value.

    A whole number that may stand for several has an exponent, so that nobody takes it for an id.
    """
    compute, most = arrow.compute, _MAX_WHOLE[values.type.bit_width]
    if values.type.bit_width == 16:
        values = values.cast(arrow.float32())
    values = compute.if_else(compute.is_nan(values), arrow.scalar(None, values.type), values)
    is_whole = compute.and_(
        compute.equal(compute.floor(values), values), compute.less(compute.abs(values), arrow.scalar(most))
    )
    whole = compute.if_else(is_whole, values, arrow.scalar(None, values.type)).cast(arrow.int64()).cast(arrow.string())
    left = compute.if_else(compute.invert(is_whole), values, arrow.scalar(None, values.type))
    if left.null_count == len(left):
        return whole
    if values.type.bit_width == 64:
        written = [None if each is None else _exponential(repr(each)) for each in left.to_pylist()]
    else:
        numbers = zip(left.to_pylist(), left.to_numpy(zero_copy_only=False), strict=True)
        written = [None if each is None else _exponential(str(number)) for each, number in numbers]
    return compute.coalesce(whole, arrow.array(written, arrow.string()))


def _exponential(number: str) -> str:
    """The digits of a float, with an exponent if it is a whole number."""
    if not number.endswith(".0"):
        return number
    return f"{Decimal(number[:-2]).normalize():e}"


def _decimals(values: "pa.Array", arrow: ModuleType) -> "pa.Array":
    texts = values.cast(arrow.string())
    if not arrow.compute.any(arrow.compute.match_substring(texts, "E")).as_py():
        return texts
    return arrow.array([None if each is None else f"{each:f}" for each in values.to_pylist()], arrow.string())


def _timestamps(values: "pa.Array", arrow: ModuleType) -> "pa.Array":
    zone, compute = values.type.tz, arrow.compute
    # Without its zone, it is the time in UTC.
    texts = values.cast(arrow.timestamp(values.type.unit)).cast(arrow.string())
    texts = _without_zeros(compute.replace_substring(texts, " ", "T"), arrow)
    return texts if zone is None else compute.binary_join_element_wise(texts, "Z", "")


def _without_zeros(texts: "pa.Array", arrow: ModuleType) -> "pa.Array":
    """Times without zeros at the end of fractions of seconds."""
    texts = arrow.compute.replace_substring_regex(texts, r"(\.\d*?)0+$", r"\1")
    return arrow.compute.replace_substring_regex(texts, r"\.$", "")


def _durations(values: "pa.Array", arrow: ModuleType) -> "pa.Array":
    """Seconds."""
    digits = {"s": 0, "ms": 3, "us": 6, "ns": 9}[values.type.unit]
    written = [
        None if each is None else _plain(Decimal(each).scaleb(-digits))
        for each in values.cast(arrow.int64()).to_pylist()
    ]
    return arrow.array(written, arrow.string())


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _json_texts(values: "pa.Array", arrow: ModuleType, *, is_array: bool) -> "pa.Array":
    mark = ARRAY if is_array else b""
    # A list of pairs is what pyarrow gives for a map.
    given = [each if is_array else dict(each or ()) or None for each in values.to_pylist()]
    written = [None if each is None else mark + _json(each) for each in given]
    return arrow.array(written, arrow.large_binary())


def _json(value: Any) -> bytes:
    return orjson.dumps(value, default=_json_value, option=orjson.OPT_NON_STR_KEYS)


def _json_value(value: Any) -> Any:
    """A value that JSON has no word for."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
