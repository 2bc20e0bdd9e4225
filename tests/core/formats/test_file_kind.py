"""The kind of a file is told by what is in it: nothing that is no export is read as one, and no export is refused."""

import codecs
import io
import lzma
import sqlite3
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from pipeline.core.errors import InputError
from pipeline.core.formats.file_kind import (
    codec_of,
    document_refusal,
    is_json_lines,
    is_zip,
    other_encoding,
    refusal,
    text_refusal,
)

CSV = "customer_id,tier,city\nC-1,gold,Paris\nC-2,iron,Ulm\n"


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, CSV)
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("export.csv")
        member.size = len(CSV)
        archive.addfile(member, io.BytesIO(CSV.encode()))
    return file.getvalue()


ODS = zipped("mimetype").replace(CSV.encode(), b"application/vnd.oasis.opendocument.spreadsheet")

BINARY = {
    "zip": (zipped("export.csv"), "a zip archive: unpack it"),
    "empty zip": (zipped(), "an empty zip archive"),
    "xlsx": (zipped("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook (xlsx): save the sheet as CSV UTF-8"),
    "xlsm": (zipped("xl/worksheets/sheet1.xml", "xl/vbaProject.bin"), "an Excel workbook"),
    "ods": (ODS, "a spreadsheet (ods)"),
    "xls": (bytes.fromhex("d0cf11e0a1b11ae1") + bytes(504), "an old Excel"),
    "parquet": (b"PAR1\x15\x04\x15\x10", "a Parquet file that is packed"),
    "orc": (b"ORC\x11\x00\x00\x0a", "an ORC file"),
    "avro": (b"Obj\x01\x04\x14avro.codec", "an Avro file"),
    "arrow": (b"ARROW1\0\0\xff\xff\xff\xff", "an Arrow file that is packed"),
    "sqlite": (b"SQLite format 3\0\x10\0", "a SQLite database"),
    "lzma": (lzma.compress(b"id\n", lzma.FORMAT_ALONE), "compressed with lzma: unpack it (unlzma)"),
    "lz4": (b"\x04\x22\x4d\x18\x64", "compressed with lz4"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4", "a 7z archive"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3", "a PDF document"),
    "tar": (tarred(), "a tar archive"),
    "pgp": (b"-----BEGIN PGP MESSAGE-----\n\nhQEM", "encrypted with PGP"),
}


@pytest.mark.parametrize("kind", BINARY)
def test_what_is_no_text(kind: str) -> None:
    head, told = BINARY[kind]
    assert told in (refusal(head) or "")


@pytest.mark.parametrize(
    "header",
    [
        "customer_id,tier",
        "PAR1,tier",
        "PK,tier",
        "ORC,tier",
        "ORC;tier",
        "BZh,tier",
        "Obj,tier",
        "Rar!,x",
        "7z,x",
        "%PDF",
        "",
    ],
)
def test_headers_that_only_begin_so(header: str) -> None:
    assert refusal(header.encode()) is None


def test_a_real_database(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "export.csv") as database:
        database.execute("CREATE TABLE customers (id TEXT)")
    assert "SQLite" in (refusal((tmp_path / "export.csv").read_bytes()[:65_536]) or "")


def test_zip() -> None:
    assert is_zip(zipped("export.csv"))
    assert not is_zip(zipped())
    assert not is_zip(b"PK,tier\n")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook (xlsx)"),
        (("[Content_Types].xml", "xl/workbook.bin"), "an Excel workbook (xlsb)"),
        (("[Content_Types].xml", "word/document.xml"), "a Word document"),
        (("[Content_Types].xml", "ppt/presentation.xml"), "an Office document"),
        (("Index/Document.iwa", "preview.jpg"), "a Numbers spreadsheet"),
        (("export.csv", "xl/readme.txt"), None),
    ],
)
def test_documents(names: tuple[str, ...], told: str | None) -> None:
    found = document_refusal(zipped(*names), names)
    assert (found is None) if told is None else (told in (found or ""))
    assert "(ods)" in (document_refusal(ODS, ["mimetype", "content.xml"]) or "")


TEXTS = {
    "<!DOCTYPE html>\n<html>": "HTML page",
    "\ufeff\n <html lang=en><head>": "HTML page",
    "<!-- saved --><HTML>": "HTML page",
    '<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>': "XML document",
    '[{"id":1},\n{"id":2}]': "one JSON array: write it as JSON Lines",
    '[\n  {\n    "id": 1\n  }\n]': "one JSON array",
    "[]": "one JSON array",
    '{\n  "id": 1\n}\n': "one JSON document over several lines",
    '{"customers": [\n{"id": 1}\n]}': "one JSON document over several lines",
}


@pytest.mark.parametrize("text", TEXTS)
def test_texts_that_are_no_export(text: str) -> None:
    assert TEXTS[text] in (text_refusal(text.encode(), "auto") or "")


@pytest.mark.parametrize(
    "text", [CSV, "", "\n", "<id>,tier\n", "[id],[tier]\n1,2", "{id},{tier}\n1,2", '"[",x\n', "html,body\n"]
)
def test_exports_that_only_look_so(text: str) -> None:
    assert text_refusal(text.encode(), "auto") is None
    assert not is_json_lines(text.encode(), "auto")


def test_json_is_no_csv_only_if_nobody_said_so() -> None:
    assert text_refusal(b"[{\n1,2", "csv") is None
    assert not is_json_lines(b'{"id":1}', "csv")
    assert is_json_lines(b'\xef\xbb\xbf\n {"id":1}\n', "auto")
    assert is_json_lines(b"{}\n", "auto")
    assert is_json_lines(b"anything", "jsonl")


class TestEncodings:
    @pytest.mark.parametrize(
        ("head", "codec"),
        [
            (CSV.encode(), None),
            (CSV.encode("utf-8-sig"), None),
            ("größe".encode(), None),
            (b"", None),
            (b"a", None),
            *(
                (mark + CSV.encode(name), name)
                for name, mark in (
                    ("utf-16-le", codecs.BOM_UTF16_LE),
                    ("utf-16-be", codecs.BOM_UTF16_BE),
                    ("utf-32-le", codecs.BOM_UTF32_LE),
                    ("utf-32-be", codecs.BOM_UTF32_BE),
                    ("utf-16-le", b""),
                    ("utf-16-be", b""),
                    ("utf-32-le", b""),
                    ("utf-32-be", b""),
                )
            ),
            ("id,Größe,Straße,Ort\n".encode("utf-16-le"), "utf-16-le"),
            # What the bytes leave in doubt is not guessed.
            ("id,größe\n".encode("windows-1252"), None),
            (b"id,tier\nC-1,a\0b\n", None),
        ],
    )
    def test_auto(self, head: bytes, codec: str | None) -> None:
        assert codec_of(head, "auto") == codec

    @pytest.mark.parametrize(
        ("head", "encoding", "codec"),
        [
            (CSV.encode(), "utf-8", None),
            (CSV.encode("utf-8-sig"), "UTF8", None),
            (CSV.encode(), "cp1252", "cp1252"),
            (CSV.encode("utf-16"), "utf-16", "utf-16-le"),
            (CSV.encode("utf-16-be"), "utf-16", "utf-16-be"),
            (CSV.encode("utf-16-be"), "utf-16-be", "utf-16-be"),
            ("東京都,大阪府".encode("utf-16-le"), "utf-16", "utf-16-le"),
            (CSV.encode("utf-32"), "utf-32", "utf-32-le"),
            (CSV.encode("cp037"), "cp037", "cp037"),
            (b"a,b", "utf-16", "utf-16-le"),
        ],
    )
    def test_by_name(self, head: bytes, encoding: str, codec: str | None) -> None:
        assert codec_of(head, encoding) == codec

    @pytest.mark.parametrize(
        ("head", "encoding", "found"),
        [
            (CSV.encode("utf-16"), "utf-8", "UTF-16-LE"),
            (CSV.encode("utf-16"), "windows-1252", "UTF-16-LE"),
            (CSV.encode("utf-16-be"), "iso-8859-15", "UTF-16-BE"),
            (CSV.encode("utf-32"), "utf-16", "UTF-32-LE"),
            (CSV.encode("utf-16-le"), "utf-16-be", "UTF-16-LE"),
            (CSV.encode("utf-8-sig"), "windows-1252", "UTF-8"),
            (CSV.encode("utf-8-sig"), "utf-16", "UTF-8"),
            (CSV.encode(), "utf-16", "UTF-8"),
            (CSV.encode(), "utf-16-le", "UTF-8"),
            (CSV.encode(), "utf-32", "UTF-8"),
        ],
    )
    def test_a_name_that_is_wrong(self, head: bytes, encoding: str, found: str) -> None:
        with pytest.raises(InputError, match=f'it is {found} by its first bytes.*set encoding = "auto"') as caught:
            codec_of(head, encoding)
        assert "Paris" not in str(caught.value)


class TestOtherEncodings:
    MUNICH = "customer_id,city\nC-1,München\nC-2,Orléans\nC-3,Rome\n"

    @pytest.mark.parametrize("encoding", ["windows-1252", "iso-8859-15", "latin-1"])
    def test_looks_like_windows_1252(self, encoding: str) -> None:
        bad, lines, advice = other_encoding(self.MUNICH.encode(encoding), "auto") or (0, 0, "")
        assert (bad, lines) == (2, 4)
        told = (
            'it may be windows-1252 or ISO-8859-15: set [export] encoding = "windows-1252" or encoding = "iso-8859-15"'
        )
        assert advice == f"{told}; if neither reads right, name the one it was written in"

    def test_an_apostrophe_is_enough(self) -> None:
        _, _, advice = other_encoding("id,shop\n1,Joe’s\n".encode("windows-1252"), "auto") or (0, 0, "")
        assert 'it may be windows-1252: set [export] encoding = "windows-1252"; if that does not read right' in advice
        assert "ISO" not in advice

    @pytest.mark.parametrize(("city", "encoding"), [("東京都", "shift_jis"), ("Москва", "koi8-r"), ("北京", "gb18030")])
    def test_looks_like_no_such_thing(self, city: str, encoding: str) -> None:
        _, _, advice = other_encoding(f"id,city\n1,{city}\n".encode(encoding), "auto") or (0, 0, "")
        assert "it looks like neither windows-1252 nor ISO-8859-15" in advice
        assert "shift_jis" in advice

    def test_is_what_was_set(self) -> None:
        _, _, advice = other_encoding(b"id,x\n1,\xed\xb2\x81\n", "windows-1252") or (0, 0, "")
        assert "which is 'windows-1252'" in advice

    @pytest.mark.parametrize(
        "text", [MUNICH.encode(), CSV.encode(), b"", MUNICH.encode() + b"C-4,\xff\n", b"a\n1\n\xc3"]
    )
    def test_utf_8_and_utf_8_with_broken_rows(self, text: bytes) -> None:
        """A last line that is not whole proves nothing: the beginning of a file ends anywhere."""
        assert other_encoding(text, "auto") is None


def test_a_stream_of_arrow() -> None:
    assert "Arrow" in (refusal(b"\xff\xff\xff\xff" + struct.pack("<i", 16) + bytes(20)) or "")
