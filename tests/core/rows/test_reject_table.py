"""Rejected rows as a table: what a spreadsheet would run is guarded, and every cell comes back as it was."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.rows.reject_table import Written, fits_a_spreadsheet, guarded, table_line, unguarded

#: Texts in which what matters is frequent.
TEXTS = st.text(alphabet=st.sampled_from("=+-@'\t\r\n,;| ab1.\uff1d\0"), max_size=12) | st.text(max_size=12)


@given(TEXTS)
def test_every_cell_comes_back_as_it_was(cell: str) -> None:
    assert unguarded(guarded(cell)) == cell


@given(TEXTS)
def test_no_cell_begins_a_formula_however_it_is_cut(cell: str) -> None:
    written = guarded(cell)
    if not re.fullmatch(r"[+-]?[0-9.,eE+-]+", cell):
        pieces = re.split(r"[,;|\t\r\n]", written)
        assert not any(piece[:1] in {"=", "+", "-", "@", "\uff1d"} for piece in pieces if piece), written


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("-5", "-5"),
        ("+1.5e3", "+1.5e3"),
        ("-1,5", "-1,5"),
        ("-5 mm", "'-5 mm"),
        ("'=x", "''=x"),
        ("'x", "'x"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\tx", "'\tx"),
        ("a;=x", "a;'=x"),
        ("a\n=x", "a\n'=x"),
        ("a=b", "a=b"),
        ("\uff1dx", "'\uff1dx"),
    ],
)
def test_what_is_guarded(cell: str, written: str) -> None:
    assert guarded(cell) == written


@pytest.mark.parametrize(
    ("written", "raw", "cells"),
    [
        (Written(("id", "a")), b'u1,"x,""y"""', ["u1", 'x,"y"']),
        (Written(("id", "a"), delimiter=";"), b"u1;x;y", ["u1", "x", "y"]),
        (Written(("id", "a"), quote="'"), b"u1,'x,y'", ["u1", "x,y"]),
        (Written(("id", "a"), escape="\\"), b'u1,"x\\"y"', ["u1", 'x"y']),
        (Written(("id", "a"), escape="\\", escape_in="quotes"), b'x\\,"a\\"b"', ["x\\", 'a"b']),
        (Written(("id", "a"), escape="\\", cr_lf_ends_lines=True), b"u1,x\\\r\ny", ["u1", "x\r\ny"]),
        (Written(("id", "a")), b'u1,"x"y', ['u1,"x"y']),
        (Written(("id", "a")), b'u1,"x', ['u1,"x']),
        (Written(("id", "a")), b"u1,\xe9", ["u1,\\xe9"]),
        (Written(("id", "a")), b"u1,\0", ["u1,\\x00"]),
        (Written(("id", "a.b"), is_json=True), b'{"id": "", "a": {"b": 7}}', ["", "7"]),
        (Written(("id", "a"), is_json=True), b'{"id": "u1", "a"', ['{"id": "u1", "a"']),
    ],
)
def test_a_record_is_cut_as_its_export_is(written: Written, raw: bytes, cells: list[str]) -> None:
    assert written.cells(raw) == cells


@pytest.mark.parametrize(("delimiter", "of_table"), [(";", b";"), ("\t", b"\t"), ("^", b","), ("\x01", b",")])
def test_the_table_has_a_delimiter_that_spreadsheets_know(delimiter: str, of_table: bytes) -> None:
    assert Written(("id",), delimiter=delimiter).table_delimiter == of_table


def test_cells_are_quoted_where_another_delimiter_might_cut_them() -> None:
    assert table_line(["a", 'b"', "c;d", "e\nf", " g"], b",") == b'a,"b""","c;d","e\nf"," g"\r\n'


def test_a_cell_that_no_spreadsheet_takes_is_known() -> None:
    assert fits_a_spreadsheet(["x" * 32_767])
    assert not fits_a_spreadsheet(["x" * 32_768])
