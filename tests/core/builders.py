"""Rows made by hand, and what a naive reader makes of batches: shared by the tests of the core."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from pipeline.core.batches.tracker import HeldChanges
from pipeline.core.formats.dialect import Dialect
from pipeline.core.formats.framing import Framer, Position, Record
from pipeline.core.model import BatchContent, Flags, Hashes, Rows, Warnings
from pipeline.core.rows.encoding import KEPT, merge
from pipeline.core.rows.hashing import _GOLDEN, _MIX_1, _MIX_2, _SHIFT, _mix, hash_ids
from pipeline.core.rows.mapping import Mapped, pack_rows

SALT = 42
BODY_START = b"batch=thirdPartyId,a,b\n"


def row(profile_id: str, *cells: str) -> bytes:
    """An encoded row; nothing in it may need encoding."""
    return ",".join([profile_id, *cells]).encode() + b"\n"


def id_of(text: bytes) -> bytes:
    return text.partition(b",")[0]


def rows_of(texts: Sequence[bytes], *, first_line: int = 2, hashes: Sequence[int] | None = None) -> Rows:
    """Rows on successive lines; with `hashes` their hashes are forged."""
    lengths = [len(id_of(text)) for text in texts]
    rows = pack_rows(list(texts), lengths, list(range(first_line, first_line + len(texts))), SALT)
    return rows if hashes is None else replace(rows, hashes=hashes_of(hashes))


def rows_by_id(changes: HeldChanges) -> dict[bytes, list[tuple[bytes, int]]]:
    """By id of which what is held changed: the rows that wait now, each with its line."""
    held: dict[bytes, list[tuple[bytes, int]]] = {profile_id: [] for profile_id in changes.gone}
    for rows in changes.rows:
        for index, length in enumerate(rows.id_lengths.tolist()):
            text = rows.text(index)
            held.setdefault(text[:length], []).append((text, int(rows.lines[index])))
    return held


def changes_to(held: dict[bytes, list[tuple[bytes, int]]], *, is_all: bool = False) -> HeldChanges:
    """The opposite."""
    lengths = [len(profile_id) for profile_id, entries in held.items() for _ in entries]
    texts = [text for entries in held.values() for text, _ in entries]
    lines = [line for entries in held.values() for _, line in entries]
    gone = tuple(profile_id for profile_id, entries in held.items() if not entries)
    return HeldChanges((pack_rows(texts, lengths, lines, SALT),), gone, is_all)


def hashes_of(hashes: Iterable[int]) -> Hashes:
    """Sorted or not, as given."""
    return np.array(list(hashes), dtype=np.uint64)


def ids_alike(salt: int) -> tuple[bytes, bytes]:
    """Two ids whose hashes are not the same, and begin with the same 49 bits.

    The hash of eight bytes can be undone: of the 32,767 that differ in the last 15 bits, one or so is that of an id of
    eight letters and digits.
    """
    start = _mix(np.array([8], dtype=np.uint64) * _GOLDEN ^ np.uint64(salt))
    for number in range(100):
        profile_id = b"cust%04d" % number
        alike = _unmix(_hash_of(profile_id, salt) ^ np.arange(1, 1 << 15, dtype=np.uint64)) ^ start
        for other in (each for each in _words(alike) if not each.translate(None, KEPT)):
            assert 0 < int(_hash_of(other, salt) ^ _hash_of(profile_id, salt)) < 1 << 15
            return profile_id, other
    raise AssertionError("no two ids are alike")


def ids_of_one_hash(salt: int) -> tuple[bytes, bytes]:
    """Two ids with the same hash."""
    profile_id = b"customer-0000001"
    firsts = [b"id%06d" % number for number in range(200_000)]
    start = _mix(np.array([16], dtype=np.uint64) * _GOLDEN ^ np.uint64(salt))
    halfway = _mix(start ^ np.frombuffer(b"".join(firsts), dtype="<u8"))
    seconds = _words(_unmix(np.array([_hash_of(profile_id, salt)])) ^ halfway)
    other = next(first + each for first, each in zip(firsts, seconds, strict=True) if not each.translate(None, KEPT))
    assert _hash_of(other, salt) == _hash_of(profile_id, salt)
    return profile_id, other


def _hash_of(profile_id: bytes, salt: int) -> np.uint64:
    return np.uint64(hash_ids(profile_id, np.array([0]), np.array([len(profile_id)]), salt)[0])


def _words(words: Hashes) -> list[bytes]:
    octets = words.astype("<u8").tobytes()
    return [octets[start : start + 8] for start in range(0, len(octets), 8)]


def _unmix(hashes: Hashes) -> Hashes:
    """The opposite of what `hashing` mixes with."""
    for factor in (_MIX_2, _MIX_1):
        hashes = (hashes ^ (hashes >> _SHIFT)) * np.uint64(pow(int(factor), -1, 2**64))
    return hashes ^ (hashes >> _SHIFT)


def none_in_flight(rows: Rows, first: int = 0) -> Flags:
    return np.zeros(len(rows) - first, dtype=np.bool_)


def body_of(content: BatchContent) -> bytes:
    return b"".join(content.pieces)


def texts_of(content: BatchContent) -> list[bytes]:
    """The rows of a batch, without what it begins with."""
    return body_of(content).splitlines(keepends=True)[1:]


def all_texts(rows: Rows) -> list[bytes]:
    return [rows.text(index) for index in range(len(rows))]


def merged(texts: Iterable[bytes]) -> dict[bytes, bytes]:
    """By id: of each cell the last non-empty value."""
    profiles: dict[bytes, bytes] = {}
    for text in texts:
        profile_id = id_of(text)
        profiles[profile_id] = merge(profiles[profile_id], text) if profile_id in profiles else text
    return profiles


def rest_of(rows: Rows, first: int) -> Rows:
    """The rows from row `first` on, with the same lines and hashes."""
    start = int(rows.starts[first]) if first < len(rows) else len(rows.body)
    return Rows(
        rows.body[start:], rows.ends[first:] - start, rows.id_lengths[first:], rows.lines[first:], rows.hashes[first:]
    )


def joined(parts: Sequence[Mapped]) -> Mapped:
    """What became of all the records of these parts."""
    sizes = np.concatenate([np.diff(part.rows.ends, prepend=0) for part in parts])
    rows = Rows(
        b"".join(part.rows.body for part in parts),
        np.cumsum(sizes),
        np.concatenate([part.rows.id_lengths for part in parts]),
        np.concatenate([part.rows.lines for part in parts]),
        np.concatenate([part.rows.hashes for part in parts]),
    )
    warnings = Warnings()
    for part in parts:
        warnings.add(part.warnings)
    rejects = [reject for part in parts for reject in part.rejects]
    excluded = sum((Counter(part.excluded) for part in parts), Counter())
    not_sent = tuple(each for part in parts for each in part.not_sent)
    return Mapped(rows, rejects, sum(part.empty for part in parts), warnings, excluded, not_sent)


def assert_same(one: Mapped, other: Mapped) -> None:
    """Both say the same of the same records."""
    assert one.rows.body == other.rows.body
    for name in ("ends", "id_lengths", "lines", "hashes"):
        ours, theirs = getattr(one.rows, name), getattr(other.rows, name)
        assert ours.dtype == theirs.dtype
        assert ours.tolist() == theirs.tolist(), name
    assert one.rejects == other.rejects
    assert (one.empty, one.read) == (other.empty, other.read)
    assert one.warnings.as_dict() == other.warnings.as_dict()


def read_header(data: bytes, dialect: Dialect, *, max_record_bytes: int) -> tuple[list[str], Position]:
    """The column names of an export without a byte order mark, and where its first record begins."""
    framer = Framer(dialect, max_record_bytes=max_record_bytes)
    framed = framer.feed(data) or framer.finish()
    assert isinstance(framed[0], Record)
    end = framer.position_of(framed[1].line) if len(framed) > 1 else framer.position
    return [name.decode() for name in framed[0].fields], end
