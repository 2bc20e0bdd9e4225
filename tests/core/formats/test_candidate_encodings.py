"""A text that is not UTF-8 says in which encodings it may be, by words of its header; never by those of a row."""

import pytest

from pipeline.core.formats.candidate_encodings import encoding_advice, header_line

#: Header and row of exports as a CRM or Excel on Windows writes them; encoding, and the words that are shown.
WRITTEN = {
    "French": (
        "Identifiant;Prénom;Ville préférée;Téléphone;Société",
        "C-1;Anaïs;Besançon;06;Crédit",
        "windows-1252",
        '"Prénom", "préférée", "Téléphone"',
    ),
    "German": ("Identifiant;Straße;Größe", "C-1;Königsallee;8 €", "windows-1252", '"Straße", "Größe"'),
    "Spanish": ('"Identifiant","Año","Código"', '"C-1","Peñíscola","1"', "iso-8859-15", '"Año", "Código"'),
    "Polish": ("Identifiant;Imię;Województwo", "C-1;Łucja;śląskie", "windows-1250", '"Imiê", "Województwo"'),
    "of a Mac": ("Identifiant,Prénom", "C-1,Chloé", "mac-roman", '"PrŽnom"'),
}


@pytest.mark.parametrize("language", WRITTEN)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_words_of_the_header_show_it(language: str, end: str) -> None:
    header, row, codec, words = WRITTEN[language]
    text = f"{header}{end}{row}{end}".encode(codec)
    line = header_line(text, "Identifiant")
    assert line.rstrip(b"\r") == header.encode(codec)
    advice = encoding_advice(text, line)
    assert f"windows-1252 (its header reads {words})" in advice
    assert "name the one it was written in" in advice
    assert not any(word in advice for word in row.split(";")[1:])


def test_what_the_bytes_contradict_is_left_out() -> None:
    both = encoding_advice("Größe\nC-1,à\n".encode("windows-1252"), b"")
    assert 'encoding = "windows-1252" or encoding = "iso-8859-15"; if neither reads right' in both
    only = encoding_advice("Größe\nC-1,8 €\n".encode("windows-1252"), b"")
    assert 'encoding = "windows-1252"; if that does not read right' in only
    assert "it looks like neither" in encoding_advice("a\n東京都\n".encode("shift_jis"), b"")
    assert "ISO-8859-15" not in encoding_advice(b"a\nb\x9d\xe9\x81", b"").partition(": set")[2]


def test_a_header_in_ascii_tells_nothing() -> None:
    assert "(its header is plain ASCII, and tells nothing)" in encoding_advice(b"id,city\n1,Orl\xe9ans\n", b"id,city")


@pytest.mark.parametrize(
    ("head", "skip_first", "line"),
    [
        (b"sep=;\n\nid;Stra\xdfe\n", 0, b"id;Stra\xdfe"),
        (b"Stand: M\xe4rz\nid;Stra\xdfe\n", 1, b"id;Stra\xdfe"),
        (b"id\tStra\xdfe\rC-1\tx\r", 0, b"id\tStra\xdfe"),
        (b"id^Stra\xdfe\n", 0, b"id^Stra\xdfe"),
        (b'"Stra\xdfe","id"\n', 0, b'"Stra\xdfe","id"'),
        # A line without the id column may be a row.
        (b"C-1;M\xfcller\n", 0, b""),
        (b"paid;Stra\xdfe\n", 0, b""),
        (b"id;x\n", 5, b""),
        (b"", 0, b""),
    ],
)
def test_the_header_is_known_by_the_id_column(head: bytes, skip_first: int, line: bytes) -> None:
    assert header_line(head, "id", skip_first) == line


def test_an_id_column_beyond_ascii() -> None:
    line = "Schlüssel;Größe".encode("windows-1252")
    assert header_line(line + b"\n", "Schlüssel") == line
    assert header_line(line + b"\n", "ключ") == b""


def test_words_are_short_and_printable() -> None:
    advice = encoding_advice(b"id,\xe9\n", "id,é\u202e,{},ä,ö,ü".format("ß" * 90).encode("latin-1", "replace"))
    assert "ß" * 24 + '"' in advice
    assert "ö" not in advice
    assert encoding_advice(b"\xe9\n", b"id,\xe9\x1b[2J").count("\\x1b") == 2
