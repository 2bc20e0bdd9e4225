"""Exports as people have them, through the real program: each loads as it is meant, or says what it is."""

import bz2
import gzip
import io
import lzma
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backports import zstd

from pipeline.sandbox import Fault, FaultPlan
from tests.tools.support import Ended, assert_every_row_is_in_one_class, bench, read_lines, run_program, unheard

CITIES = ["Paris", "München", "Orléans", "Ulm"]
HEADER = "customer_id,tier,city"
ROWS = [f"C-{number},gold,{CITIES[number % len(CITIES)]}" for number in range(50)]
TEXT = "\n".join([HEADER, *ROWS]) + "\n"
PROFILES = {f"C-{number}": {"tier": "gold", "city": CITIES[number % len(CITIES)]} for number in range(50)}
EXPORT = {"id_column": "customer_id", "unlisted": "send", "on_delimiter": "replace", "max_rejects": "1%"}


async def load(
    directory: Path, name: str, content: bytes, **keys: Any
) -> tuple[Ended, Mapping[str, Mapping[str, str]]]:
    """What a load of an export came to, and the profiles that Target has then."""
    export = directory / name
    export.write_bytes(content)
    async with bench(directory) as at:
        done = await run_program("load", export, "--config", at.config(export=EXPORT | keys), "--json")
        assert_every_row_is_in_one_class(done.report)
        return done, at.sandbox.profiles()


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstd.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


class TestPacked:
    """An archive is told by its bytes, whatever its name; what is cut off is never done."""

    @pytest.mark.parametrize(
        ("name", "kind"),
        [("customers.csv.gz", "gzip"), ("customers.csv", "zstd"), ("customers.gz", "bzip2"), ("customers.XZ", "xz")],
    )
    async def test_loads(self, tmp_path: Path, name: str, kind: str) -> None:
        pack = PACK[kind]
        packed = pack(TEXT[:400].encode()) + pack(TEXT[400:].encode()) + bytes(512)
        done, profiles = await load(tmp_path, name, packed)
        assert (done.code, done.report["rows"]["confirmed"]) == (0, 50)
        assert profiles == PROFILES
        # The size is that of the file.
        assert done.report["export"]["bytes"] == len(packed)

    @pytest.mark.parametrize(
        ("kind", "fault"), [("gzip", "flipped"), ("zstd", "cut"), ("bzip2", "flipped"), ("xz", "followed")]
    )
    async def test_is_not_whole(self, tmp_path: Path, kind: str, fault: str) -> None:
        packed = bytearray(PACK[kind](TEXT.encode()))
        if fault == "cut":
            del packed[-9:]
        elif fault == "flipped":
            packed[-6] ^= 1
        else:
            packed += b"more, and more"
        done, profiles = await load(tmp_path, "customers.csv.gz", bytes(packed))
        assert (done.code, done.report["state"]) == (65, "failed")
        assert ("cut off" if fault == "cut" else "damaged") in done.report["error"]
        assert "make or transfer the export anew" in done.report["error"]
        assert profiles == {}


def zipped(members: Mapping[str, str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


class TestZip:
    """The members of an archive are parts of one export."""

    async def test_loads(self, tmp_path: Path) -> None:
        half = len(ROWS) // 2
        first, second = ("\n".join([HEADER, *rows]) + "\n" for rows in (ROWS[:half], ROWS[half:]))
        members = {"all/b.csv": second + "C-99,gold\n", "all/a.csv": first, "__MACOSX/all/._a.csv": "\0", "all/": ""}
        packed = zipped(members)
        done, profiles = await load(tmp_path, "customers.csv", packed, max_rejects="5%")
        assert (done.code, done.report["rows"]["confirmed"], profiles) == (0, 50, PROFILES)
        assert done.report["export"]["bytes"] == len(packed)
        assert [(part["name"], part["rows"]) for part in done.report["parts"]] == [("all/a.csv", 25), ("all/b.csv", 26)]
        [reject] = read_lines(tmp_path / "state" / "jobs" / done.report["job"] / "rejects.jsonl")
        assert (reject["file"], reject["line"]) == ("all/b.csv", 27)

    async def test_members_with_other_columns(self, tmp_path: Path) -> None:
        members = {"a.csv": "customer_id,tier\nC-1,gold\n", "b.csv": "customer_id,city\nC-2,Ulm\n"}
        done, profiles = await load(tmp_path, "customers.zip", zipped(members))
        assert (done.code, done.report["state"], profiles) == (65, "failed", {})
        assert "customers.zip/b.csv" in done.report["error"]


class TestEncodings:
    @pytest.mark.parametrize(
        ("written", "said"),
        [
            ("utf-8-sig", "auto"),
            ("utf-16", "auto"),
            ("utf-16-le", "auto"),
            ("utf-16-be", "auto"),
            ("utf-32", "auto"),
            ("utf-16-be", "utf-16"),
            ("utf-16-le", "utf-16-le"),
            ("windows-1252", "windows-1252"),
            ("windows-1252", "cp1252"),
            ("iso-8859-15", "ISO-8859-15"),
            ("latin-1", "latin-1"),
            ("mac-roman", "mac-roman"),
        ],
    )
    async def test_loads(self, tmp_path: Path, written: str, said: str) -> None:
        text = TEXT.replace("\n", "\r\n") if written.startswith("utf-16") else TEXT
        done, profiles = await load(tmp_path, "customers.csv", text.encode(written), encoding=said)
        assert (done.code, done.report["rows"]["confirmed"]) == (0, 50)
        assert profiles == PROFILES

    async def test_packed_too(self, tmp_path: Path) -> None:
        _, profiles = await load(
            tmp_path, "c.csv.gz", gzip.compress(TEXT.encode("shift_jis", "ignore")), encoding="cp932"
        )
        assert profiles["C-0"] == {"tier": "gold", "city": "Paris"}

    @pytest.mark.parametrize(
        ("written", "said", "told"),
        [
            ("windows-1252", "auto", 'set [export] encoding = "windows-1252" or encoding = "iso-8859-15"'),
            ("windows-1252", "utf-8", 'set [export] encoding = "windows-1252" or encoding = "iso-8859-15"'),
            ("utf-16", "windows-1252", 'set encoding = "auto"'),
            ("utf-8-sig", "windows-1252", 'set encoding = "auto"'),
            ("utf-8", "utf-16-le", 'set encoding = "auto"'),
            ("utf-8", "latin-1", 'set encoding = "auto"'),
            ("utf-8", "iso-8859-15", 'set encoding = "auto"'),
            ("utf-8", "mac-roman", 'set encoding = "auto"'),
        ],
    )
    async def test_the_wrong_one_is_said(self, tmp_path: Path, written: str, said: str, told: str) -> None:
        done, profiles = await load(tmp_path, "customers.csv", TEXT.encode(written), encoding=said)
        assert (done.code, done.report["state"], profiles) == (65, "failed", {})
        assert told in done.report["error"]
        for city in ("nchen", "Orl", "Paris"):
            assert city not in done.out + done.err

    async def test_what_is_not_in_it_is_a_reject(self, tmp_path: Path) -> None:
        """The row of the byte, and no other; told as it stands in the export."""
        text = TEXT.encode("windows-1252") + b"C-99,gold,N\x81rnberg\nC-98,gold,Ulm\n"
        done, profiles = await load(tmp_path, "c.csv", text, encoding="windows-1252", max_rejects="2%")
        assert (done.code, done.report["rejects"]["by_reason"]) == (0, {"local.invalid_utf8": 1})
        assert profiles == PROFILES | {"C-98": {"tier": "gold", "city": "Ulm"}}
        (reject,) = read_lines(tmp_path / "state" / "jobs" / done.report["job"] / "rejects.jsonl")
        assert (reject["line"], reject["raw"]) == (52, "C-99,gold,N\\x81rnberg")

    async def test_one_broken_row_of_utf_8_is_a_reject_as_ever(self, tmp_path: Path) -> None:
        done, _ = await load(tmp_path, "c.csv", TEXT.encode() + b"C-99,gold,N\xfcrnberg\n", max_rejects="5%")
        assert (done.code, done.report["rejects"]["by_reason"]) == (0, {"local.invalid_utf8": 1})


async def test_a_parquet_file_loads(tmp_path: Path) -> None:
    columns = zip(*(line.split(",") for line in TEXT.splitlines()), strict=True)
    table = pa.table({name: cells for name, *cells in columns})
    pq.write_table(table, tmp_path / "made", row_group_size=20)
    done, profiles = await load(tmp_path, "customers.csv", (tmp_path / "made").read_bytes(), format="parquet")
    assert (done.code, done.report["rows"]["confirmed"]) == (0, 50)
    assert profiles == PROFILES


def workbook() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return file.getvalue()


class TestWhatTheFileIs:
    """Nothing is sent of what is no export; each says what it is, and what to do."""

    FILES: Mapping[str, tuple[bytes, str]] = {
        "book.csv": (workbook(), "is an Excel workbook (xlsx): save the sheet as CSV UTF-8"),
        "table.csv": (b"PAR1\x15\x04" + bytes(90), "is a Parquet file that is cut off, damaged, encrypted"),
        "small.csv": (b"\x04\x22\x4d\x18\x64", "is compressed with lz4: unpack it"),
        "page.csv": (b"<!DOCTYPE html><html><body>Please sign in", "is an HTML page"),
        "array.json": (b'[{"customer_id":"C-1"}]', "is one JSON array: write it as JSON Lines"),
        "document.json": (b'{\n "customer_id": "C-1"\n}\n', "is one JSON document over several lines"),
        "old.csv": (bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600), "is an old Excel"),
        "print.csv": (b"%PDF-1.4\n", "is a PDF document"),
        "base.csv": (b"SQLite format 3\0" + bytes(84), "is a SQLite database"),
    }

    async def test_is_said(self, tmp_path: Path) -> None:
        for name, (content, _) in self.FILES.items():
            (tmp_path / name).write_bytes(content)
        at = unheard(tmp_path)
        files = [tmp_path / name for name in self.FILES]
        done = await run_program("load", *files, "--config", at.config(export=EXPORT))
        assert done.code == 65
        for name, (_, told) in self.FILES.items():
            assert f"{tmp_path / name} cannot be loaded: it {told}" in " ".join(done.err.split()), name

    async def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        done = await run_program("load", tmp_path / "pipe", "--config", unheard(tmp_path).config(), "--json")
        assert done.code == 66
        assert "An export must be readable twice: write it to a file" in done.report["error"]


class TestConfigurationFiles:
    @pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
    async def test_a_mark_is_read_over(self, tmp_path: Path, mark: bytes) -> None:
        config = unheard(tmp_path).config()
        config.write_bytes(mark + config.read_bytes().replace(b"\n", b"\r\n"))
        assert (await run_program("config", "show", "--config", config)).code == 0

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
    async def test_utf_16_is_said(self, tmp_path: Path, encoding: str) -> None:
        config = unheard(tmp_path).config()
        config.write_bytes(config.read_text().encode(encoding))
        done = await run_program("config", "show", "--config", config)
        assert done.code == 78
        assert "is UTF-16: save it as UTF-8" in done.err


class TestJsonLines:
    LINES = (
        '{"customer_id":"C-1","tier":"gold","n":3,"on":true,"x":null,"price":1.10,"big":12345678901234567890}',
        "",
        '{"customer_id":"C-2","address":{"city":"Ulm, Donau","geo":{"lat":48.40}},"tags":["a","b"]}',
        '{"customer_id":"C-3","note":"two\\nlines, and \\"quotes\\""}',
    )
    TEXT = "\r\n".join(LINES).encode()
    PROFILES: Mapping[str, Mapping[str, str]] = {
        "C-1": {"tier": "gold", "n": "3", "on": "true", "price": "1.10", "big": "12345678901234567890"},
        "C-2": {"address_city": "Ulm  Donau", "address_geo_lat": "48.40", "tags": "a|b"},
        "C-3": {"note": 'two lines  and "quotes"'},
    }

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("customers.jsonl", TEXT),
            ("customers.csv", b"\xef\xbb\xbf" + TEXT + b"\n"),
            ("customers.jsonl.gz", gzip.compress(TEXT)),
            ("customers.txt", TEXT.decode().encode("utf-16")),
        ],
    )
    async def test_loads(self, tmp_path: Path, name: str, content: bytes) -> None:
        done, profiles = await load(tmp_path, name, content)
        assert (done.code, done.report["rows"]["confirmed"]) == (0, 3)
        assert profiles == self.PROFILES
        assert done.report["warnings"]["array_joined"] == 1
        assert done.report["warnings"]["value_with_delimiter"] == 2

    async def test_a_key_that_comes_late_is_not_lost(self, tmp_path: Path) -> None:
        early = b"".join(b'{"customer_id":"C-%d","tier":"gold"}\n' % n for n in range(20_000))
        done, profiles = await load(tmp_path, "c.jsonl", early + b'{"customer_id":"C-x","late":"x"}')
        assert (done.code, profiles["C-x"]) == (0, {"late": "x"})
        stop = tmp_path / "stop"
        stop.mkdir()
        done, profiles = await load(stop, "c.jsonl", early + b'{"customer_id":"C-x","late":"x"}', unlisted="stop")
        assert (done.code, profiles) == (65, {})
        assert "'tier', 'late' are not listed" in done.report["error"]

    async def test_columns_by_their_paths(self, tmp_path: Path) -> None:
        columns = {"address.city": "city", "tier": "level"}
        done, profiles = await load(tmp_path, "c.jsonl", self.TEXT, unlisted="ignore", columns=columns)
        assert done.code == 0
        assert profiles == {"C-1": {"level": "gold"}, "C-2": {"city": "Ulm  Donau"}}
        assert done.report["rows"]["empty"] == 1

    async def test_what_was_lost_is_sent_again(self, tmp_path: Path) -> None:
        """A retry has an export of its own, which is CSV in UTF-8 whatever the first one was."""
        (tmp_path / "c.jsonl").write_bytes(self.TEXT.decode().encode("utf-16"))
        plan = FaultPlan(posts={1: Fault.FAIL_ROWS}, failing_ids=frozenset(["C-2"]))
        async with bench(tmp_path, faults=plan) as at:
            config = at.config(export=EXPORT | {"format": "jsonl", "encoding": "utf-16"})
            done = await run_program("load", tmp_path / "c.jsonl", "--config", config, "--json")
            assert (done.code, done.report["rows"]["failed"]) == (76, 1)
            retried = await run_program("retry", done.report["job"], "--config", config)
            assert retried.code == 0, retried.said
            assert at.sandbox.profiles() == self.PROFILES

    async def test_lines_that_were_put_together(self, tmp_path: Path) -> None:
        """Byte order marks before lines, lines that are blank, and the end of a file of DOS cost no row."""
        mark = b"\xef\xbb\xbf"
        text = mark + mark + self.TEXT + b"\n \t\n" + mark + b'{"customer_id":"C-4","tier":"tin"}\n\x1a'
        done, profiles = await load(tmp_path, "c.jsonl", text)
        assert (done.code, done.report["rows"]["read"], done.report["rows"]["confirmed"]) == (0, 4, 4)
        assert profiles == {**self.PROFILES, "C-4": {"tier": "tin"}}

    async def test_ids_that_nobody_can_mean(self, tmp_path: Path) -> None:
        """They are rejects: an object without any of the columns too, if it holds something else."""
        lines = [
            *('{"customer_id":["C-1","C-2"],"tier":"x"}', '{"customer_id":true,"tier":"x"}', '{"other":"x"}'),
            *('{"customer_id":null,"other":1}', '{"customer_id":["C-3"],"tier":"gold"}', '{"customer_id":null}', "{}"),
        ]
        keys = {"unlisted": "ignore", "columns": {"tier": "tier"}, "max_rejects": 4}
        done, profiles = await load(tmp_path, "c.jsonl", "\n".join(lines).encode(), **keys)
        assert (done.code, profiles) == (0, {"C-3": {"tier": "gold"}})
        reasons = {"local.empty_id": 2, "local.json_invalid": 1, "local.id_placeholder": 1}
        assert done.report["rejects"]["by_reason"] == reasons
        assert done.report["warnings"]["blank_records"] == 2

    async def test_a_broken_line_is_a_reject(self, tmp_path: Path) -> None:
        text = (
            self.TEXT + b'\n{"customer_id":"C-4","tier":\n[1]\n{"tier":"gold"}\n{"customer_id":"C-5","tier":"iron"}\n'
        )
        done, profiles = await load(tmp_path, "c.jsonl", text, max_rejects="50%")
        assert done.code == 0
        assert done.report["rejects"]["by_reason"] == {"local.json_invalid": 2, "local.empty_id": 1}
        assert profiles == {**self.PROFILES, "C-5": {"tier": "iron"}}
        rejects = read_lines(tmp_path / "state" / "jobs" / done.report["job"] / "rejects.jsonl")
        assert [(reject["line"], reject["raw"]) for reject in rejects] == [
            (5, '{"customer_id":"C-4","tier":'),
            (6, "[1]"),
            (7, '{"tier":"gold"}'),
        ]

    @pytest.mark.parametrize(
        ("text", "keys", "told"),
        [
            (b'{"id":"C-1"}\n', {}, "'customer_id' ([export] id_column) is not among the keys of its objects"),
            (b'{"id":"C-1"},\n{"id":"C-2"}\n', {}, "has a comma behind each JSON object"),
            (TEXT, {"unlisted": "ignore", "columns": {"teir": "tier"}}, "'teir'"),
            (b"customer_id,tier\n", {"format": "jsonl"}, "no line of it holds a JSON object"),
            (TEXT, {"format": "csv"}, "the header line is broken"),
            (
                b"".join(b'{"customer_id":"C-%d","k%d":1}\n' % (n, n) for n in range(1_100)),
                {},
                "more than 1,000 different keys",
            ),
        ],
        ids=["id", "commas", "column", "csv", "jsonl", "keys"],
    )
    async def test_what_cannot_be_sent(self, tmp_path: Path, text: bytes, keys: dict[str, Any], told: str) -> None:
        done, profiles = await load(tmp_path, "c.jsonl", text, **keys)
        assert (done.code, profiles) == (65, {})
        assert told in done.report["error"]
