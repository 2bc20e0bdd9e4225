"""Where fuzzing begins: the texts that stand in the tests of what is fuzzed, and inputs that once broke something."""

import ast
import base64
import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from backports import zstd
from hypothesis import strategies as st

from tests.tools import strategies
from tests.tools.fuzz.targets import LONGEST_BYTES

_TESTS = Path(__file__).parents[2]
#: By target the files whose literals are its seeds.
_FILES = {
    "submitted": ("core/target/test_replies.py", "contract/test_sandbox.py"),
    "status": ("core/target/test_replies.py", "contract/test_sandbox.py"),
    "address": ("core/target/test_status_url.py",),
    "message": ("core/target/test_messages.py",),
    "retry_after": ("core/target/test_pacing.py",),
    "hosts": ("settings/test_settings.py",),
    "export": ("core/formats/test_framing.py", "core/rows/test_mapping.py", "core/rows/test_transform.py"),
    "rows": ("core/rows/test_transform.py",),
    "dialect": ("core/formats/test_framing.py", "core/formats/test_detection.py"),
    "file_kind": ("core/formats/test_file_kind.py",),
    "json_lines": ("core/formats/test_json_lines.py",),
    "unpacking": ("core/formats/test_framing.py",),
    "text_codec": ("core/formats/test_text_codec.py",),
    "header": ("core/rows/test_header.py",),
    "manifest": ("core/drop/test_manifest.py",),
    "names": ("core/drop/test_signals.py",),
    "fact": ("edges/store/test_ledger.py", "core/batches/test_fact_codec.py"),
    "checkpoint": ("core/batches/test_checkpoint.py", "core/batches/test_report.py"),
    "settings": ("settings/test_settings.py", "settings/test_windows_section.py", "settings/test_routes.py"),
    "environment": ("settings/test_settings.py",),
    "requests": ("edges/store/test_mailbox.py",),
    "heartbeat": ("edges/store/test_heartbeat_file.py",),
}
#: What a format is made of, where no test has it as a literal.
_OWN: dict[str, tuple[bytes, ...]] = {
    "status": (
        b"<response><status>complete</status><batchSize>2</batchSize><consumedCount>2</consumedCount>"
        b"<successfulUpdates>1</successfulUpdates><profilesNotFound>0</profilesNotFound><failedUpdates>1</failedUpdates>"
        b"<profile><id>a</id><status>failed</status></profile></response>",
        b"<![CDATA[",
        b"<profile>",
    ),
    "fact": (
        b'Taken {"status_url": "http://a/b?c"}',
        b'SeenComplete {"confirmed": 1, "failed": 1, "unconfirmed": 0, "lost_ids": ["a"]}',
        b'SplitUp {"children": [1, 2]}',
        b'GivenUp {"why": "lost"}',
    ),
    "checkpoint": (b'{"position": [1, 2, false], "read": 1, "warnings": {}, "by_reason": {"a": 1}}',),
    "held_rows": (
        b"\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" + b"\2\0\0\0\0\0\0\0" + b"\5\0\0\0\2\0\0\0" + b"u1,a\n",
        b"\0" * 16,
    ),
    "ledger": tuple(bytes([0, place, 3 * place, 255, 0, 7]) for place in range(40)),
    "heartbeat": (b'{"pid": 1, "at_s": 1.5, "started_s": 1.0, "tasks": 3, "open_files": 9, "memory_bytes": null}',),
    "requests": (b'{"command": "pause", "job": null}', b'{"command": "retry", "job": "x"}'),
    "token": (b"abc.DEF-123\n", b" \t", b"a\x7f"),
    "manifest": (b'{"rows": 1, "sha256": "' + b"a" * 64 + b'", "columns": ["a"]}', b"rows=3\nsequence=1\n"),
}
#: Inputs that once broke something, by target: none may again.
FOUND: dict[str, tuple[bytes, ...]] = {
    # Counts of rows that no change has, below 0 and beyond what there is.
    "held_rows": tuple(
        rows.to_bytes(8, "little", signed=True) + gone.to_bytes(8, "little", signed=True) + b"\0" * 28
        for rows, gone in ((-1, 0), (0, -1), (-1, 1), (2**62, 0), (0, 2**62))
    ),
    # A first line of blanks took a time that grew with its square.
    "dialect": (b" " * (LONGEST_BYTES - 1) + b"x", b"<!---->" * 9_000 + b"x"),
    "file_kind": (b" " * (LONGEST_BYTES - 1) + b"x", b"<!---->" * 9_000 + b"x"),
}


@cache
def seeds(name: str) -> tuple[bytes, ...]:
    """The inputs with which a target begins."""
    found = [*_OWN.get(name, ()), *FOUND.get(name, ())]
    for file in _FILES.get(name, ()):
        found += _literals((_TESTS / file).read_text())
    if name in ("export", "rows", "dialect", "json_lines"):
        found += [value.encode() for value in (*strategies.IDS, *strategies.VALUES) if len(value) < 400]
        found += strategies.VERBATIM
    if name == "export":
        found = [b"\0\0" + each for each in found]
    if name == "unpacking":
        packs = (gzip.compress, zstd.compress, bz2.compress, lzma.compress)
        packed = [pack(each) for pack in packs for each in found[:20]]
        found = [*packed, *(pack(found[0]) * 2 + b"\0\0" for pack in packs)]
    if name == "zip_archive":
        found = [_zipped({}), _zipped({"a.csv": b"id,a\nu1,1\n", "b.csv": b"id,a\nu2,2\n"}), _zipped({"_/": b""})]
    return tuple(dict.fromkeys(each[:LONGEST_BYTES] for each in found)) or (b"",)


def _zipped(members: Mapping[str, bytes]) -> bytes:
    """A zip archive of these members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def _literals(source: str) -> Iterator[bytes]:
    """All texts and bytes that stand in Python source."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant):
            if isinstance(node.value, bytes):
                yield node.value
            elif isinstance(node.value, str):
                yield node.value.encode(errors="surrogatepass")


def long_inputs(name: str) -> Iterator[bytes]:
    """Inputs of the full length in which one thing comes again and again: what grows with the square shows."""
    for seed in seeds(name):
        if seed:
            yield (seed * (LONGEST_BYTES // len(seed) + 1))[:LONGEST_BYTES]


def inputs(name: str) -> st.SearchStrategy[bytes]:
    """Seeds, changed in some places, and pieces of several of them; now and then any bytes."""
    known = seeds(name)
    pieces = sorted({piece for seed in known[:400] for piece in _pieces(seed)})[:2_000] or [b"a"]
    # The shortest first: an input that breaks something is made shorter.
    one = st.sampled_from(sorted(known, key=len))
    piece = st.one_of(st.sampled_from(pieces), st.binary(max_size=4))
    edits = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), piece), max_size=5)
    return st.one_of(
        st.builds(_edited, one, edits),
        st.builds(_edited, one, edits),
        st.builds(lambda first, second, edits: _edited(first + second, edits), one, one, edits),
        st.lists(piece, max_size=30).map(b"".join),
        st.binary(max_size=200),
    ).map(lambda data: data[:LONGEST_BYTES])


def _edited(data: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for where, removed, put in edits:
        at = int(where * len(data))
        data = data[:at] + put + data[at + removed :]
    return data


def _pieces(seed: bytes) -> Iterator[bytes]:
    """Short pieces of a seed: its words, and what is between them."""
    at = 0
    for here in range(1, min(len(seed), 600) + 1):
        if here == len(seed) or seed[here : here + 1].isalnum() != seed[here - 1 : here].isalnum():
            yield seed[at:here]
            at = here


def shown(data: bytes) -> str:
    """An input as a literal, or in base64 if it is long."""
    return repr(data) if len(data) <= 300 else f"base64 {base64.b64encode(data).decode()}"
