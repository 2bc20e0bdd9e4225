"""The first bytes of an export tell its line ends and its delimiter."""

import pytest

from pipeline.core.errors import InputError
from pipeline.core.formats.detection import (
    SNIFFED_BYTES,
    delimiter_of_sep_line,
    detect_delimiter,
    ends_lines_with_cr,
    is_sep_line,
)
from pipeline.core.formats.dialect import Dialect

COMMA = Dialect(b",")


@pytest.mark.parametrize(
    ("head", "is_so"),
    [
        (b"", False),
        (b"a,b", False),
        (b"a,b\r", True),
        (b"a,b\rc\r", True),
        (b"a\rb\nc", False),
        (b"a,b\r\n", False),
        (b"\n\r\r\r", False),
        (b"a\r" + b"x" * (SNIFFED_BYTES - 3) + b"\n", False),
        (b"a\r" + b"x" * (SNIFFED_BYTES - 2) + b"\n", True),
        (b"x" * SNIFFED_BYTES + b"\r", False),
    ],
)
def test_line_ends(head: bytes, is_so: bool) -> None:
    assert ends_lines_with_cr(head) is is_so


@pytest.mark.parametrize(
    ("line", "delimiter"),
    [
        (b"sep=;", b";"),
        (b"SEP=,", b","),
        (b'"sep=|"', b"|"),
        (b"sep=\t", b"\t"),
        (rb"sep=\t", b"\t"),
        (b"sep=;;;;", b";"),
        (b'"sep=,",,', b","),
        (b"sep=^", b"^"),
        (b"sep=~~~", b"~"),
    ],
)
def test_a_line_that_tells_the_delimiter(line: bytes, delimiter: bytes) -> None:
    assert is_sep_line(line)
    assert delimiter_of_sep_line(line) == delimiter


@pytest.mark.parametrize("line", [b"", b"sep", b"sep=;x", b"separator,id", b"sep=ab", b"x,sep=;", b"sep=;,a"])
def test_other_lines_do_not(line: bytes) -> None:
    assert not is_sep_line(line)


@pytest.mark.parametrize("line", [b"sep=", b"sep=!", b"sep=#;"])
def test_a_delimiter_that_there_is_not(line: bytes) -> None:
    assert is_sep_line(line)
    with pytest.raises(InputError, match="none of comma, semicolon, tab, "):
        delimiter_of_sep_line(line)


@pytest.mark.parametrize(
    ("line", "name", "delimiter"),
    [
        (b"id;a,b,c;tier", "id", b";"),
        (b"a,b,c;id", "id", b";"),
        (b'"a,b";"id";x,y,z', "id", b";"),
        (b"a|b|id\tx,y,z", "id\tx,y,z", b"|"),
        (b"a;b,id,c;d;e", "id", b","),
        (b"a;b;c,d", "id", b";"),
        (b"id", "id", b","),
        ("größe;a,b,c".encode(), "größe", b";"),
        (b'id,"x;', "id", b","),
        (b"id^a,b^c", "id", b"^"),
        (b"id\x01tier", "id", b"\x01"),
        (b"id\x01tier", "other", b"\x01"),
        (b"id~a,b,c", "id", b"~"),
        (b"id\x1fa", "id", b"\x1f"),
        (b"a~b~c,d", "id", b","),
        (b"id,a:b:c:d", "id", b","),
    ],
)
def test_the_id_column_tells_the_delimiter(line: bytes, name: str, delimiter: bytes) -> None:
    assert detect_delimiter(line, COMMA, id_column=name) == delimiter


def test_quote_and_escape_are_no_delimiters() -> None:
    assert detect_delimiter(b"a|b|c;d|e", Dialect(b",", quote=b"|")) == b";"
    assert detect_delimiter(b"a;b;c", Dialect(b",", escape=b";")) == b","
    assert detect_delimiter(b"'a;b;c',d", Dialect(b",", quote=b"'")) == b","
