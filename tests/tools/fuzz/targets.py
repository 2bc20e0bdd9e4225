"""The targets: functions that take bytes, and raise only where there is a bug."""

import bz2
import gzip
import io
import lzma
import math
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import yarl
from backports import zstd

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.fact_codec import fact_detail, fact_kind, make_fact
from pipeline.core.batches.report import Report
from pipeline.core.drop.manifest import is_whole, parse_manifest
from pipeline.core.drop.signals import exports_for, is_ignored, name_problem, shown, stem_of
from pipeline.core.errors import InputError, PipelineError
from pipeline.core.formats.blockframing import BlockFramer
from pipeline.core.formats.candidate_encodings import header_line
from pipeline.core.formats.detection import delimiter_of_sep_line, detect_delimiter, holds_nothing, is_sep_line
from pipeline.core.formats.dialect import Dialect
from pipeline.core.formats.file_kind import codec_of, is_json_lines, other_encoding, refusal, text_refusal
from pipeline.core.formats.framing import START, Framer
from pipeline.core.formats.json_lines import JsonFramer
from pipeline.core.formats.packing import BZIP2, GZIPPED, XZ, ZSTD, Growth, Packing, packing_of, unpack
from pipeline.core.formats.text_codec import as_read, to_utf8
from pipeline.core.formats.trailer import Trailer, TrailerPattern
from pipeline.core.rows.header import plan_columns
from pipeline.core.rows.mapping import RowMapper
from pipeline.core.rows.transform import Transform
from pipeline.core.target.hosts import checked_base_url, checked_status_host, is_listed
from pipeline.core.target.messages import in_our_words, without
from pipeline.core.target.pacing import http_date, retry_after_s
from pipeline.core.target.replies import Complete, count_rows, parse_status, parse_submitted
from pipeline.core.target.status_url import NotAllowed, status_request
from pipeline.edges.containers import members_of
from pipeline.edges.durable import make_directory
from pipeline.edges.store.heartbeat_file import Heart, read_beat
from pipeline.edges.store.held_log import replay
from pipeline.edges.store.ledger_reader import read_ledger
from pipeline.edges.store.mailbox import Mailbox
from pipeline.edges.target.token_file import read_token
from pipeline.sandbox import Fault, FaultPlan, serving
from pipeline.settings.settings import load_settings
from tests.core.rows.test_against_oracle import check
from tests.tools.faults.loading import make_export
from tests.tools.faults.plans import load_and_check, sandbox_for
from tests.tools.strategies import MAX_BYTES, Export
from tests.tools.support import run_fast

Target = Callable[[bytes], None]
#: Bytes of the longest input.
LONGEST_BYTES = 65_536
_NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
#: The oracle is slow, and made to be plain.
_ORACLE_BYTES = 1_500


# --- Target's answers -------------------------------------------------------------------------------


def submitted(data: bytes) -> None:
    parse_submitted(data)


def status(data: bytes) -> None:
    outcome = parse_status(data)
    if isinstance(outcome, Complete):
        for rows in (0, 1, 7, 500_000):
            counted = count_rows(rows, outcome)
            assert min(counted.confirmed, counted.failed, counted.unconfirmed) >= 0, counted
            assert counted.confirmed + counted.failed + counted.unconfirmed == rows, counted


def address(data: bytes) -> None:
    text = data.decode(errors="replace")
    url = status_request(text, base_url="https://demo.tt.omtrdc.net", status_hosts=("mboxedge*.tt.omtrdc.net",))
    if not isinstance(url, NotAllowed):
        assert url.startswith("https://"), url
        assert url.isascii(), url
        assert url.isprintable(), url
        assert " " not in url, url
        # The client takes it as it is.
        yarl.URL(url, encoded=True)


def message(data: bytes) -> None:
    text = data.decode(errors="replace")
    in_our_words(text)
    assert "sEcr3t" not in without("sEcr3t", f"{text}sEcr3t{text}")


def retry_after(data: bytes) -> None:
    text = data.decode("latin-1")
    wait_s = retry_after_s(text, http_date(text) or _NOW)
    assert wait_s is None or (wait_s >= 0 and math.isfinite(wait_s)), wait_s


def hosts(data: bytes) -> None:
    text = data.decode(errors="replace")
    with suppress(ValueError):
        url = checked_base_url(text)
        assert checked_base_url(url) == url
    with suppress(ValueError):
        entry = checked_status_host(text)
        assert checked_status_host(entry) == entry
        assert not is_listed("evil.example", 443, (entry,)) or entry == "evil.example"


# --- Exports ----------------------------------------------------------------------------------------


def export(data: bytes) -> None:
    """Both readers, and the oracle: the first bytes say how it is read."""
    head, rest = data[:2].ljust(2, b"\0"), data[2:_ORACLE_BYTES]
    delimiter = b",;"[head[0] & 1 : (head[0] & 1) + 1].decode()
    options: dict[str, Any] = {
        "id_column": "id",
        "columns": {},
        "unlisted": "send",
        "delimiter": delimiter,
        "on_delimiter": ("encode", "replace", "reject")[head[0] >> 1 & 3 and (head[0] >> 1) % 3],
        "replacement": (" ", "_", "%é")[head[0] >> 4 & 3 and (head[0] >> 4) % 3],
        "max_bytes": MAX_BYTES,
        "id_kind": ("thirdPartyId", "pcId")[head[0] >> 7],
        "trim": ("ids", "all", "none")[head[1] % 3],
        "number_ids": ("reject", "send")[head[1] >> 6 & 1],
    }
    header = delimiter.join(["id", "a", "b"][: 2 + (head[1] >> 7)]).encode()
    check(Export(header + b"\n" + rest, options), [head[1], head[0] + 3 * head[1]])


def rows(data: bytes) -> None:
    """Long exports, without the oracle: none may take long."""
    plan = plan_columns(["id", "a"], id_column="id", id_kind="thirdPartyId", columns={}, unlisted="send")
    mapper = RowMapper(
        plan, dialect=Dialect(b","), on_delimiter="replace", replacement=" ", max_row_bytes=MAX_BYTES, salt=7
    )
    transform = Transform(mapper, start=START)
    mapped = [transform.feed(data), transform.finish()]
    read = sum(each.read for each in mapped)
    assert read == sum(len(each.rows) + len(each.rejects) + each.empty for each in mapped)


def dialect(data: bytes) -> None:
    for each in (Dialect(b","), Dialect(b";", escape=b"\\"), Dialect(b"\t", quote=b"", cr_ends_lines=True)):
        line = data.split(b"\n", 1)[0]
        assert len(detect_delimiter(line, each, id_column="id")) == 1
        whole, cut = Framer(each, max_record_bytes=4_096), Framer(each, max_record_bytes=4_096)
        records = [*whole.feed(data), *whole.finish()]
        blocks = BlockFramer(each, max_record_bytes=4_096)
        framed = blocks.feed(data)
        assert [*framed.exactly(np.arange(len(framed.ends)), each.delimiter), *blocks.finish().others] == records
        at = len(data) // 3
        assert [*cut.feed(data[:at]), *cut.feed(data[at:]), *cut.finish()] == records
    holds_nothing(data)
    if is_sep_line(data):
        with suppress(InputError):
            delimiter_of_sep_line(data)


def file_kind(data: bytes) -> None:
    packing_of(data)
    refusal(data)
    for form in ("csv", "jsonl", "auto"):
        text_refusal(data, form)
        is_json_lines(data, form)
    for encoding in ("auto", "utf-8", "cp1252", "utf-16"):
        with suppress(InputError):
            codec_of(data, encoding)
        other_encoding(data, encoding, header_line(data, "id"))
    for lines, pattern in ((2, None), (0, TrailerPattern.of("T{any}|{rows}{any}"))):
        whole, cut = Trailer(lines, Dialect(b","), pattern), Trailer(lines, Dialect(b","), pattern)
        at = len(data) // 3
        assert whole.feed(data) == cut.feed(data[:at]) + cut.feed(data[at:])
        with suppress(InputError):
            whole.check(1)


def json_lines(data: bytes) -> None:
    framed = []
    for cuts in ([], [len(data) // 3], list(range(1, min(len(data), 40)))):
        framer = JsonFramer(["id", "a", "b.c"], max_record_bytes=4_096, id_column="id")
        blocks = [data[first:last] for first, last in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        found = [*map(framer.feed, blocks), framer.finish()]
        framed.append([each for some in found for each in some.exactly(np.arange(len(some.ends)), b",")])
    assert framed[0] == framed[1] == framed[2]


def unpacking(data: bytes) -> None:
    """Each way of packing. What is given is what the standard library gives, in whatever blocks it comes."""
    for packing, packed in _of_each_kind(data):
        whole, cut = _unpacked([packed], packing), _unpacked([packed[:7], packed[7:8], packed[8:]], packing)
        assert whole == cut, packing.name
        if whole is not None and packed:
            with suppress(OSError, EOFError, zlib.error, lzma.LZMAError, zstd.ZstdError):
                # It takes no padding.
                assert whole == _ORACLES[packing.name](packed), packing.name


def zip_archive(data: bytes) -> None:
    """An archive with some bytes of it overwritten: what is read of it is what was packed, or there is an error."""
    whole = bytearray(_zip())
    for at in range(0, len(data) - 3, 4):
        where = int.from_bytes(data[at : at + 2], "big") % len(whole)
        whole[where : where + 2] = data[at + 2 : at + 4]
    file = _place() / "archive.zip"
    file.write_bytes(whole)
    with FileIO(file) as opened, suppress(InputError):
        for member in members_of(opened, bytes(whole)) or ():
            assert b"".join(member.blocks()) in _IN_ZIP.values()


_IN_ZIP = {"a.csv": b"id,tier\nC-1,gold\n" * 9, "b.csv": b"", "d/c.csv": b"id,tier\n"}


@cache
def _zip() -> bytes:
    """An archive with a member of each of several methods."""
    file = io.BytesIO()
    methods = (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2)
    with zipfile.ZipFile(file, "w") as archive:
        for (name, content), method in zip(_IN_ZIP.items(), methods, strict=True):
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


#: An archive of each kind, of which an input takes the place of some bytes.
_SHAPES = {
    packing: pack(b"id,tier\nC-1,gold\n" * 9)
    for packing, pack in ((GZIPPED, gzip.compress), (ZSTD, zstd.compress), (BZIP2, bz2.compress), (XZ, lzma.compress))
}
_ORACLES = {"gzip": gzip.decompress, "zstd": zstd.decompress, "bzip2": bz2.decompress, "xz": lzma.decompress}


def _of_each_kind(data: bytes) -> Iterator[tuple[Packing, bytes]]:
    if packing := packing_of(data):
        yield packing, data
    for packing, whole in _SHAPES.items():
        at = data[0] % len(whole) if data else 0
        yield packing, whole[:at] + data[1:] + whole[at + len(data) // 2 :]


def _unpacked(blocks: list[bytes], packing: Packing) -> bytes | None:
    growth = Growth("it", packing.max_inflation, judged_from_bytes=2**20)
    try:
        return b"".join(unpack(iter(blocks), packing, growth=growth))
    except InputError:
        return None


def text_codec(data: bytes) -> None:
    for codec in ("cp1252", "utf-16", "utf-8", "shift_jis", "iso2022_jp", "utf-32"):
        whole, cut = _decoded([data], codec), _decoded([data[:7], data[7:8], data[8:]], codec)
        assert whole == cut, (codec, whole, cut)
        if whole is not None:
            as_read(whole)


def _decoded(blocks: list[bytes], codec: str) -> bytes | None:
    try:
        return b"".join(to_utf8(iter(blocks), codec))
    except InputError:
        return None


def header(data: bytes) -> None:
    framer = Framer(Dialect(b","))
    first = next(iter([*framer.feed(data), *framer.finish()]), None)
    fields = getattr(first, "fields", None)
    if fields:
        names = [field.decode(errors="replace") for field in fields]
        with suppress(PipelineError):
            plan_columns(names, id_column=names[-1], id_kind="pcId", columns={}, unlisted="send")
        with suppress(PipelineError):
            plan_columns(names, id_column="nobody", id_kind="pcId", columns={"x": "y"}, unlisted="stop")


def manifest(data: bytes) -> None:
    is_whole(data)
    with suppress(InputError):
        parse_manifest(data)


def names(data: bytes) -> None:
    # No name is empty.
    text = data.decode(errors="surrogateescape") or "."
    shown(text).encode()
    name_problem(text)
    is_ignored(text, ("*.bak", "[a-z]*"))
    stem = stem_of(text, (".ready", ".fin"))
    assert exports_for(stem or text, [text, f"{text}.csv"]) is not None


# --- What the program itself has written ------------------------------------------------------------


def fact(data: bytes) -> None:
    kind, _, detail = data.partition(b" ")
    values = _json(detail)
    if not isinstance(values, dict):
        return
    with suppress(ValueError, KeyError, TypeError):
        made = make_fact(kind.decode(errors="replace"), values)
        assert fact_kind(made) == kind.decode()
        assert isinstance(fact_detail(made), dict)


def checkpoint(data: bytes) -> None:
    values = _json(data)
    if isinstance(values, dict):
        for kind in (Checkpoint.from_dict, Report.from_json):
            with suppress(ValueError, KeyError, TypeError):
                kind(values)


def held_rows(data: bytes) -> None:
    with suppress(ValueError):
        replay([(0, data), (1, data[::-1]), (1, data)])


def ledger(data: bytes) -> None:
    """A ledger with some bytes of it overwritten."""
    file = _place() / "ledger.db"
    whole = bytearray(_whole_ledger())
    for at in range(0, len(data) - 5, 6):
        where = int.from_bytes(data[at : at + 3], "big") % len(whole)
        whole[where : where + 3] = data[at + 3 : at + 6]
    file.write_bytes(whole)
    with suppress(PipelineError):
        reader = read_ledger(file)
        if reader is not None:
            try:
                reader.check()
                for job in reader.jobs():
                    reader.batches(job=job)
                    reader.held_rows(job)
                reader.learned_statuses()
            finally:
                reader.close()


def settings(data: bytes) -> None:
    file = _place() / "config.toml"
    file.write_bytes(data)
    with suppress(PipelineError):
        load_settings(file, env={})


def environment(data: bytes) -> None:
    text = data.decode(errors="surrogateescape").replace("\0", "")
    name, _, value = text.partition("=")
    with suppress(PipelineError):
        load_settings(None, env={f"PROFILE_PIPELINE__{name}": value})


def requests(data: bytes) -> None:
    mailbox = Mailbox(_place())
    (_place() / "requests" / "1.request").write_bytes(data)
    mailbox.requests()


def heartbeat(data: bytes) -> None:
    place = _place() / "beating"
    make_directory(place)
    with _heart(place) as file:
        file.write_bytes(data[:4_096])
        with suppress(PipelineError):
            read_beat(place)


def token(data: bytes) -> None:
    file = _place() / "token"
    file.write_bytes(data)
    with suppress(PipelineError):
        read = read_token(file)
        assert read
        assert read.isascii()


@contextmanager
def _heart(place: Path) -> Iterator[Path]:
    """The file of a heartbeat, locked as by a process that serves."""
    heart = Heart(place)
    heart._descriptor = heart._open()
    try:
        yield place / "heartbeat"
    finally:
        heart.stop()


@cache
def _place() -> Path:
    """A directory for files, of this process."""
    made = tempfile.TemporaryDirectory(prefix="profile-pipeline-fuzz-")
    _KEPT.append(made)
    return Path(made.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


@cache
def _whole_ledger() -> bytes:
    """That of a load with rejects, held rows and a batch that failed."""
    place = _place() / "made"
    place.mkdir()
    export, plan = make_export(60, 1, rejected=0.1), FaultPlan(posts={1: Fault.HTTP_500_TAKEN, 2: Fault.STATUS_LOST})

    async def load() -> None:
        sandbox = sandbox_for(1, [export], faults=plan)
        async with serving(sandbox) as run:
            await load_and_check(place, [export], sandbox, run.base_url)

    run_fast(load())
    return (place / "state" / "ledger.db").read_bytes()


def warm_up(name: str) -> None:
    """Make what a target makes but once, so that no input takes the time of it."""
    if name == "ledger":
        _whole_ledger()


def _json(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except ValueError:
        return None


#: The targets by their names.
TARGETS: dict[str, Target] = {
    each.__name__: each
    for each in (
        *(submitted, status, address, message, retry_after, hosts),
        *(export, rows, dialect, file_kind, json_lines, unpacking, zip_archive, text_codec, header, manifest, names),
        *(fact, checkpoint, held_rows, ledger, settings, environment, requests, heartbeat, token),
    )
}
