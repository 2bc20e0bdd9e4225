"""Names in a drop directory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.drop.signals import exports_for, is_ignored, name_problem, nearest_signal, shown, stem_of

SUFFIXES = (".ready", ".fin", ".csv.done")


@pytest.mark.parametrize(
    "name",
    [
        *(".a.csv", ".processing", "a.csv.tmp", "a.TMP", "a.csv.part", ".ready", ".", "..", ".nfs0000001", ".#a.csv"),
        *("a.csv.filepart", "a.csv.FilePart", "a.csv.partial", "a.csv.temp", "a.crdownload", "a.csv.download"),
        *("a.opdownload", "a.csv.aria2", "a.csv.!ut", "a.csv_.gstmp", "a.csv.inprogress", "a.csv.uploading"),
        "a.csv._COPYING_",
        *("a.csv.lock", ".a.csv.swp", "a.csv.swp", "a.csv.swx", "a.csv.swo", "a.csv~", "~$a.xlsx", "#a.csv#"),
        *("a.csv.ready.tmp", "a.csv.ready.filepart", "~", "#"),
    ],
)
def test_what_is_never_touched(name: str) -> None:
    assert is_ignored(name)


@pytest.mark.parametrize(
    "name",
    ["a.csv", "a.tmp.csv", "apart", "a.csv.ready", "_SUCCESS", "part-0", "lock", "a~b.csv", "#a.csv", "a.csv.parts"],
)
def test_what_is_looked_at(name: str) -> None:
    assert not is_ignored(name)
    assert not is_ignored(name, ("*.bak", "readme*", "b?", "[ab]"))


@pytest.mark.parametrize(
    "name", ["a.bak", "A.BAK", "a.csv.Bak", "ReadMe.csv", "b1", "B\u00e9", "a\n.bak", ".x", "a.tmp", "x.y"]
)
def test_patterns_of_names_that_are_never_touched(name: str) -> None:
    assert is_ignored(name, ("*.bak", "README*", "b?", "x.y"))


@pytest.mark.parametrize(
    "name", ["a\nb.csv", "a\x00", "a\x1b[2J.csv", "a/b", "..", "../a", "a..csv", "", "\udcff.csv", "a\u2028b", "a\rb"]
)
def test_names_that_cannot_be_used(name: str) -> None:
    assert name_problem(name)


@pytest.mark.parametrize("name", ["a.csv", "Kunden März.csv", "a b;c'd\".csv", "-rf", "客户.csv"])
def test_names_that_can_be_used(name: str) -> None:
    assert name_problem(name) is None
    assert shown(name) == name


@given(st.text(min_size=1))
def test_any_name_is_shown_in_one_printable_line(name: str) -> None:
    assert shown(name).isprintable()
    assert len(shown(name)) <= 200
    shown(name).encode()


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.csv.ready", "a.csv"),
        ("a.ready", "a"),
        ("a.csv.fin", "a.csv"),
        ("a.csv.done", "a"),
        ("a.csv", None),
        (".ready", None),
        ("a.READY", "a"),
        ("CUSTOMERS.FIN", "CUSTOMERS"),
        ("a.csv.Done", "a"),
        ("ready", None),
        ("a.ready.csv", None),
    ],
)
def test_stems(name: str, stem: str | None) -> None:
    assert stem_of(name, SUFFIXES) == stem


@pytest.mark.parametrize(
    ("stem", "names", "meant"),
    [
        ("a.csv", ["a.csv", "a.csv.csv"], ["a.csv"]),
        ("a", ["a.csv"], ["a.csv"]),
        ("a", ["a.CSV"], ["a.CSV"]),
        ("a", ["a"], ["a"]),
        ("a", ["a.csv", "a.tsv"], ["a.csv", "a.tsv"]),
        ("a", ["a", "a.csv"], ["a", "a.csv"]),
        ("a.csv", ["a.csv.bak", "a", "b.csv"], []),
        ("a", ["a.bak", "ab.csv", "a.b.csv"], []),
        ("a.csv", ["a.csv.txt"], []),
        # Packed: by the name without both endings, without the second, and in full.
        *[(stem, ["customers.csv.gz"], ["customers.csv.gz"]) for stem in ("customers", "customers.csv")],
        ("customers.csv.gz", ["customers.csv.gz", "customers.csv.gz.gz"], ["customers.csv.gz"]),
        ("customers.csv.gz", ["customers.csv", "customers"], []),
        *[("a", [f"a{packed}"], [f"a{packed}"]) for packed in (".gz", ".zst", ".zstd", ".bz2", ".xz", ".zip")],
        *[("a", [f"a{kind}"], [f"a{kind}"]) for kind in (".parquet", ".arrow", ".jsonl", ".ndjson", ".json", ".txt")],
        *[("a", [f"a{kind}.zst"], [f"a{kind}.zst"]) for kind in (".tsv", ".tab", ".psv", ".dat", ".jsonl")],
        ("a", ["a.csv", "a.csv.gz"], ["a.csv", "a.csv.gz"]),
        ("a.csv", ["a.csv", "a.csv.gz"], ["a.csv"]),
        ("a.csv", ["a.csv.gz", "a.csv.zst"], ["a.csv.gz", "a.csv.zst"]),
        # In any case, unless one fits to the letter.
        ("CUSTOMERS", ["customers.CSV.GZ"], ["customers.CSV.GZ"]),
        ("customers.csv", ["Customers.CSV"], ["Customers.CSV"]),
        ("customers.csv", ["Customers.CSV", "customers.csv.gz"], ["customers.csv.gz"]),
        ("a", ["A.csv", "a.csv"], ["a.csv"]),
        ("a", ["A.csv", "A.CSV"], ["A.CSV", "A.csv"]),
    ],
)
def test_which_exports_a_signal_means(stem: str, names: list[str], meant: list[str]) -> None:
    assert exports_for(stem, names) == meant


def test_the_nearest_signal() -> None:
    assert nearest_signal("customers.csv", ["orders.ready", "customer.csv.ready"]) == "customer.csv.ready"
    assert nearest_signal("customers.csv", ["x.fin"]) is None
    assert nearest_signal("customers.csv", []) is None
