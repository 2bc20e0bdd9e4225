"""Text of any encoding becomes UTF-8, however it is cut; what is not in the encoding spoils its own row only."""

import codecs
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import InputError
from pipeline.core.formats.text_codec import as_read, is_utf8, to_utf8

SAMPLES = {
    "windows-1252": "id,München €\nC-1,Orléans “x”\n",
    "iso-8859-15": "id,München €\nC-1,Orléans\n",
    "utf-16-le": "id,München €\nC-1,東京 😀\n",
    "utf-16-be": "id,München €\nC-1,東京 😀\n",
    "utf-32-le": "id,東京 😀\n",
    "shift_jis": "id,東京都\nC-1,ソ\\n",
    "euc_jp": "id,東京都\n",
    "gb18030": "id,北京 €😀\n",
    "big5": "id,台北\n",
    "euc_kr": "id,서울\n",
    "koi8-r": "id,Москва\n",
    "mac-roman": "id,Zürich\n",
    "cp037": "id,Koln\n",
    "iso2022_jp": "id,東京都\nC-1,x\n",
    "utf-7": "id,München\n",
}


def cut(text: bytes, size: int) -> Iterator[bytes]:
    return (text[start : start + size] for start in range(0, len(text), size))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 262_144])
@pytest.mark.parametrize("codec", SAMPLES)
def test_every_cut_gives_the_same(codec: str, size: int) -> None:
    text = SAMPLES[codec]
    assert b"".join(to_utf8(cut(text.encode(codec), size), codec)) == text.encode()


def test_blocks_are_bounded() -> None:
    text = "東" * 400_000
    blocks = list(to_utf8(iter([text.encode("utf-16-le")]), "utf-16-le"))
    assert b"".join(blocks) == text.encode()
    assert all(0 < len(block) <= 262_144 for block in blocks)


FAULTS = [
    ("windows-1252", b"C-1,a\nC-2,\x81x\nC-3,c\n", 1),
    ("ascii", b"C-1,a\nC-2,\xe9\nC-3,c\n", 1),
    ("shift_jis", b"C-1,a\nC-2,\x81\nC-3,c\n", 1),
    ("shift_jis", b"C-1,a\nC-2,\xfd,x\nC-3,c\n", 1),
    ("euc_jp", b"C-1,a\nC-2,\xc3\nC-3,c\n", 1),
    ("gb18030", b"C-1,a\nC-2,\x81\x30\nC-3,c\n", 1),
    ("utf-16-le", "C-1,a\nC-2,\ud83dx\nC-3,c\n".encode("utf-16-le", "surrogatepass"), 1),
    ("utf-16-be", "C-1,a\nC-2,\ude00x\nC-3,c\n".encode("utf-16-be", "surrogatepass"), 1),
    ("utf-16-le", "C-1,a\nC-2,b\nC-3,c".encode("utf-16-le") + b"x", 2),
    ("utf-32-le", "C-1,a\nC-2,".encode("utf-32-le") + b"\0\0\x11\0" + "\nC-3,c\n".encode("utf-32-le"), 1),
]


@pytest.mark.parametrize("size", [1, 3, 262_144])
@pytest.mark.parametrize(("codec", "text", "line"), FAULTS)
def test_a_fault_spoils_its_own_row(codec: str, text: bytes, line: int, size: int) -> None:
    lines = b"".join(to_utf8(cut(text, size), codec)).rstrip(b"\n").split(b"\n")
    assert [is_utf8(each) for each in lines] == [number != line for number in range(3)]
    assert b"\xef\xbf\xbd" not in lines[line]


def test_a_row_as_it_was_read() -> None:
    row = b"".join(to_utf8(iter([b"C-2,M\x81nchen \xe9"]), "windows-1252"))
    assert as_read(row) == b"C-2,M\x81nchen \xc3\xa9"


@given(st.binary(max_size=60), st.sampled_from(["windows-1252", "shift_jis", "euc_jp", "utf-16-le", "gb18030"]))
def test_nothing_undecodable_becomes_text(text: bytes, codec: str) -> None:
    try:
        expected = text.decode(codec)
    except UnicodeDecodeError:
        assert not is_utf8(b"".join(to_utf8(cut(text, 7), codec)))
    else:
        assert b"".join(to_utf8(cut(text, 7), codec)) == expected.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(("codec", "text", "place"), [("iso2022_jp", b"id\n\x1b$Bzz~", 6), ("utf-7", b"id\n\xff", 3)])
def test_an_encoding_with_state_ends_at_a_fault(codec: str, text: bytes, place: int) -> None:
    with pytest.raises(InputError, match=f"is not {codec} at about byte") as caught:
        list(to_utf8(iter([text]), codec))
    assert "UTF-8" in str(caught.value)


def test_a_mark_is_left_to_whoever_reads() -> None:
    assert b"".join(to_utf8(iter([codecs.BOM_UTF16_LE]), "utf-16-le")) == codecs.BOM_UTF8
