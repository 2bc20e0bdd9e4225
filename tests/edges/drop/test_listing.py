"""What is seen in a drop directory, with real files of all kinds."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pipeline.edges.drop.listing import Found, Listing, look
from tests.tools.support import as_nobody

SUFFIXES = (".ready", ".fin")


def put(directory: Path, *names: str, content: str = "id\n") -> None:
    for name in names:
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(content)


def seen(directory: Path) -> Listing:
    return look(directory, SUFFIXES)


def only(directory: Path) -> Found:
    (found,) = seen(directory).found
    return found


def exports(found: Found) -> list[str]:
    return [file.path for file in found.files]


class TestSignals:
    @pytest.mark.parametrize("signal", ["a.csv.ready", "a.ready", "a.csv.fin", "a.fin"])
    def test_of_one_export(self, tmp_path: Path, signal: str) -> None:
        put(tmp_path, "a.csv", "b.csv")
        put(tmp_path, signal, content="")
        found = only(tmp_path)
        assert (exports(found), found.missing, found.problem) == (["a.csv"], (), None)
        info = (tmp_path / "a.csv").stat()
        assert found.files[0].identity.size_bytes == info.st_size
        assert found.files[0].identity.mtime_ns == info.st_mtime_ns
        assert [each.path for each in seen(tmp_path).unsignalled] == ["b.csv"]

    def test_nothing_without_a_signal(self, tmp_path: Path) -> None:
        put(tmp_path, "a.csv", "sub/b.csv")
        assert seen(tmp_path).found == ()
        assert [each.path for each in seen(tmp_path).unsignalled] == ["a.csv", "sub/b.csv"]

    def test_without_its_export(self, tmp_path: Path) -> None:
        put(tmp_path, "a.csv.ready", content="")
        put(tmp_path, "a.csv.part", ".a.csv", "a.csv.tmp", "a.csv.bak")
        found = only(tmp_path)
        assert (exports(found), found.missing, found.problem) == ([], ("a.csv",), None)
        assert [each.path for each in seen(tmp_path).unsignalled] == ["a.csv.bak"]

    def test_that_is_still_written(self, tmp_path: Path) -> None:
        put(tmp_path, "a.csv")
        put(tmp_path, "a.csv.ready.tmp", ".a.csv.ready", "a.csv.ready.part", content="")
        assert seen(tmp_path).found == ()

    def test_that_may_mean_several(self, tmp_path: Path) -> None:
        put(tmp_path, "a.csv", "a.txt")
        put(tmp_path, "a.ready", content="")
        assert only(tmp_path).problem == (
            "it may mean a.csv and a.txt: name the signal after the whole name of the export."
        )

    def test_two_of_one_export(self, tmp_path: Path) -> None:
        put(tmp_path, "a.csv")
        put(tmp_path, "a.csv.ready", "a.fin", content="")
        problems = {found.problem for found in seen(tmp_path).found}
        assert problems == {"a.csv has several signals: a.csv.ready and a.fin. Leave one of them."}
        assert [exports(found) for found in seen(tmp_path).found] == [[], []]

    def test_with_a_manifest(self, tmp_path: Path) -> None:
        put(tmp_path, "a.csv", "b.csv")
        put(tmp_path, "nightly.ready", content="files=b.csv,a.csv\nrows=7\n")
        found = only(tmp_path)
        assert (exports(found), found.manifest.rows) == (["b.csv", "a.csv"], 7)
        put(tmp_path, "nightly.ready", content="files=b.csv,c.csv")
        assert only(tmp_path).missing == ("c.csv",)

    def test_with_nonsense(self, tmp_path: Path) -> None:
        put(tmp_path, "a.csv")
        put(tmp_path, "a.csv.ready", content="rows=many")
        wanted = "the manifest in a.csv.ready cannot be used: rows must be a whole number from 0 on."
        assert only(tmp_path).problem == wanted


class TestSubdirectories:
    def test_all_parts_in_name_order(self, tmp_path: Path) -> None:
        put(tmp_path, "day/part-1.csv", "day/part-0.csv", "day/_metadata", "day/.part-0.csv.crc", "day/x.tmp")
        assert seen(tmp_path).found == ()
        put(tmp_path, "day/_SUCCESS", content="")
        found = only(tmp_path)
        assert (exports(found), found.problem) == (["day/part-0.csv", "day/part-1.csv"], None)
        assert seen(tmp_path).unsignalled == ()

    def test_without_parts(self, tmp_path: Path) -> None:
        put(tmp_path, "day/_SUCCESS", content="")
        assert (only(tmp_path).missing, only(tmp_path).problem) == (("day/*",), None)

    def test_with_a_manifest(self, tmp_path: Path) -> None:
        put(tmp_path, "day/a", "day/b")
        put(tmp_path, "day/_SUCCESS", content="files=b,a")
        assert exports(only(tmp_path)) == ["day/b", "day/a"]
        put(tmp_path, "day/_SUCCESS", content="files=b")
        assert only(tmp_path).problem == "its manifest does not name a, which is there."
        put(tmp_path, "day/_SUCCESS", content="files=b,a,c")
        assert only(tmp_path).missing == ("day/c",)

    def test_a_bad_part_fails_all(self, tmp_path: Path) -> None:
        put(tmp_path, "day/a", "day/_SUCCESS", content="")
        (tmp_path / "day" / "b").symlink_to("a")
        found = only(tmp_path)
        assert (exports(found), found.problem) == ([], "day/b is a symbolic link: refused.")

    @pytest.mark.parametrize("name", [".hidden", "day.tmp", "a\nb"])
    def test_names_that_are_not_looked_into(self, tmp_path: Path, name: str) -> None:
        put(tmp_path, f"{name}/a", f"{name}/_SUCCESS", content="")
        assert seen(tmp_path).found == ()

    def test_a_link_to_a_directory_is_not_followed(self, tmp_path: Path) -> None:
        drop = tmp_path / "drop"
        drop.mkdir()
        put(tmp_path, "outside/a", "outside/_SUCCESS", content="")
        (drop / "day").symlink_to(tmp_path / "outside")
        assert seen(drop).found == ()
        assert [(each.path, each.problem) for each in seen(drop).refused] == [("day", "is a symbolic link")]


UNLOADED = {"0000_part_00": 3, "0001_part_00": 3}


def unload_list(files: dict[str, int]) -> str:
    entries = [
        {"url": f"s3://bucket/day/{name}", "mandatory": True, "meta": {"content_length": size}}
        for name, size in files.items()
    ]
    return json.dumps({"entries": entries, "schema": {"elements": []}})


class TestDirectoriesBesideASignal:
    @pytest.mark.parametrize("signal", ["customers.fin", "CUSTOMERS.FIN", "customers.ready"])
    def test_all_files_are_parts(self, tmp_path: Path, signal: str) -> None:
        put(tmp_path, "customers/b.csv.gz", "customers/a.csv.gz", "customers/_metadata", "customers/.a.csv.gz.crc")
        assert [each.path for each in seen(tmp_path).unsignalled] == ["customers/a.csv.gz", "customers/b.csv.gz"]
        put(tmp_path, signal, content="")
        found = only(tmp_path)
        assert (exports(found), found.problem) == (["customers/a.csv.gz", "customers/b.csv.gz"], None)
        assert (found.parts_of, found.directory) == ("customers/customers", "customers/")
        assert seen(tmp_path).unsignalled == ()

    def test_a_manifest_names_files_in_it(self, tmp_path: Path) -> None:
        put(tmp_path, "customers/a", "customers/b")
        put(tmp_path, "customers.fin", content="files=b,a")
        assert exports(only(tmp_path)) == ["customers/b", "customers/a"]
        # Files beside the signal come first: the directory may be another's.
        put(tmp_path, "b")
        found = only(tmp_path)
        assert (exports(found), found.parts_of, found.missing) == (["b"], "customers", ("a",))

    def test_a_signal_in_it_too_is_one_too_many(self, tmp_path: Path) -> None:
        put(tmp_path, "customers/a", "customers/_SUCCESS", "customers.fin", content="")
        problem = "customers/a has several signals: customers.fin and customers/_SUCCESS. Leave one of them."
        assert {found.problem for found in seen(tmp_path).found} == {problem}

    def test_a_file_of_the_signals_own_name_is_refused(self, tmp_path: Path) -> None:
        put(tmp_path, "customers/a", "customers/customers.fin", "customers.fin", content="")
        assert "customers holds a file of the signal's own name" in str(only(tmp_path).problem)


class TestListsOfWarehouses:
    @pytest.mark.parametrize("name", ["manifest", "customers_manifest", "x.manifest", "MANIFEST"])
    def test_of_an_unload(self, tmp_path: Path, name: str) -> None:
        put(tmp_path, *(f"day/{part}" for part in UNLOADED), "day/0000_part_00_of_before", "day/_SUCCESS")
        put(tmp_path, f"day/{name}", content=unload_list(dict(reversed(UNLOADED.items()))))
        put(tmp_path, "day/_SUCCESS", content="")
        found = only(tmp_path)
        assert exports(found) == ["day/0001_part_00", "day/0000_part_00"], "in the order of the list"
        assert (found.beside, found.unlisted, found.missing) == ((name,), ("day/0000_part_00_of_before",), ())

    def test_as_the_content_of_a_signal(self, tmp_path: Path) -> None:
        put(tmp_path, *UNLOADED, "other.csv")
        put(tmp_path, "day.fin", content=unload_list(UNLOADED))
        found = only(tmp_path)
        assert (exports(found), found.parts_of, found.missing) == (list(UNLOADED), "day", ())
        put(tmp_path, "day/0000_part_00", "day/0001_part_00", "day/left_over")
        for name in UNLOADED:
            (tmp_path / name).unlink()
        found = only(tmp_path)
        assert exports(found) == [f"day/{name}" for name in UNLOADED]
        assert (found.unlisted, found.problem) == (("day/left_over",), None)

    def test_what_is_missing_or_of_another_size_is_waited_for(self, tmp_path: Path) -> None:
        put(tmp_path, "day/0000_part_00", "day/_SUCCESS")
        put(tmp_path, "day/manifest", content=unload_list(UNLOADED | {"0000_part_00": 5956875}))
        put(tmp_path, "day/_SUCCESS", content="")
        assert only(tmp_path).missing == ("day/0000_part_00 of 5,956,875 bytes", "day/0001_part_00")

    @pytest.mark.parametrize("content", ['{"entries": [{"url": "s3://b/0000_part_00"', '{"entries": []}'])
    def test_half_a_list_is_waited_for(self, tmp_path: Path, content: str) -> None:
        put(tmp_path, "day/0000_part_00", "day/manifest", "day/_SUCCESS", content="")
        put(tmp_path, "day/manifest", content=content)
        found = only(tmp_path)
        assert (exports(found), found.missing, found.problem) == ([], ("a whole day/manifest",), None)

    @pytest.mark.parametrize("content", ["id,tier\n", '{"id": 1}\n{"id": 2}\n', ""])
    def test_an_export_with_such_a_name_is_a_part(self, tmp_path: Path, content: str) -> None:
        put(tmp_path, "day/shipping_manifest", content=content)
        put(tmp_path, "day/_SUCCESS", content="")
        assert exports(only(tmp_path)) == ["day/shipping_manifest"]

    def test_of_commits(self, tmp_path: Path) -> None:
        parts = [f"day/part-0000{number}-tid-1.csv" for number in range(5)]
        put(tmp_path, *parts, "day/_started_1", "day/_started_2", "day/_committed_vacuum9", content="")
        put(tmp_path, "day/_SUCCESS", content="")
        # Of a task that failed is part 4; the second write replaced part 1.
        names = [part.removeprefix("day/") for part in parts]
        put(tmp_path, "day/_committed_1", content=json.dumps({"added": names[1:3], "removed": []}))
        put(tmp_path, "day/_committed_2", content=json.dumps({"added": [names[0], names[3]], "removed": [names[1]]}))
        found = only(tmp_path)
        assert exports(found) == [parts[0], parts[2], parts[3]]
        assert (found.unlisted, found.missing, found.problem) == ((parts[1], parts[4]), (), None)
        assert found.beside == ("_committed_1", "_committed_2", "_started_1", "_started_2")
        (tmp_path / parts[3]).unlink()
        assert only(tmp_path).missing == (parts[3],)

    def test_a_commit_that_has_begun_is_waited_for(self, tmp_path: Path) -> None:
        put(tmp_path, "day/part-0", "day/_started_7", "day/_SUCCESS", content="")
        assert (exports(only(tmp_path)), only(tmp_path).missing) == ([], ("a whole day/_committed_7",))
        put(tmp_path, "day/_committed_7", content='{"added": ["part-0"')
        assert (exports(only(tmp_path)), only(tmp_path).missing) == ([], ("a whole day/_committed_7",))
        put(tmp_path, "day/_committed_7", content='{"added": ["part-0"]}')
        assert exports(only(tmp_path)) == ["day/part-0"]

    def test_names_of_other_warehouses_are_parts(self, tmp_path: Path) -> None:
        names = ["day/000000_0", "day/data_0_0_0.csv.gz", "day/data_0_1_0.csv.gz", "day/part-m-00000"]
        put(tmp_path, *reversed(names), "day/.part-m-00000.crc", "day/_SUCCESS", content="")
        assert exports(only(tmp_path)) == names


def symbolic_link(file: Path) -> None:
    (file.parent / ".secret").write_text("id\n")
    file.symlink_to(".secret")


def hard_link(file: Path) -> None:
    (file.parent / ".other-name").write_text("id\n")
    file.hardlink_to(file.parent / ".other-name")


def listening_socket(file: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        # Its path may be longer than a socket's address can be.
        before = Path.cwd()
        os.chdir(file.parent)
        try:
            listener.bind(file.name)
        finally:
            os.chdir(before)


HOSTILE: dict[str, Callable[[Path], None]] = {
    "is a symbolic link": symbolic_link,
    "is a hard link: it has another name, under which it may change": hard_link,
    "is a FIFO": os.mkfifo,
    "is a socket": listening_socket,
}


class TestHostile:
    @pytest.mark.parametrize("problem", HOSTILE)
    def test_exports(self, tmp_path: Path, problem: str) -> None:
        HOSTILE[problem](tmp_path / "a.csv")
        put(tmp_path, "a.csv.ready", content="")
        found = only(tmp_path)
        assert (exports(found), found.missing, found.problem) == ([], (), f"a.csv {problem}: refused.")
        assert [(each.path, each.problem) for each in seen(tmp_path).refused] == [("a.csv", problem)]

    @pytest.mark.parametrize("problem", HOSTILE)
    def test_signals(self, tmp_path: Path, problem: str) -> None:
        put(tmp_path, "a.csv")
        HOSTILE[problem](tmp_path / "a.csv.ready")
        assert seen(tmp_path).found == ()
        assert [(each.path, each.problem) for each in seen(tmp_path).refused] == [("a.csv.ready", problem)]

    @pytest.mark.parametrize("problem", HOSTILE)
    def test_signals_of_subdirectories(self, tmp_path: Path, problem: str) -> None:
        put(tmp_path, "day/a")
        HOSTILE[problem](tmp_path / "day" / "_SUCCESS")
        assert only(tmp_path).problem == f"day/_SUCCESS {problem}."
        assert exports(only(tmp_path)) == []

    def test_a_directory_as_export(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").mkdir()
        put(tmp_path, "a.csv.ready", content="")
        assert only(tmp_path).missing == ("a.csv/*",)
        put(tmp_path, "both.csv")
        put(tmp_path, "both.ready", content="")
        (tmp_path / "both").mkdir()
        (both,) = [found for found in seen(tmp_path).found if found.signal.path == "both.ready"]
        assert (exports(both), both.problem) == (["both.csv"], None), "a file is meant, if there is one"
        (tmp_path / "both.ready").unlink()
        (tmp_path / "b.csv.ready").mkdir()
        assert len(seen(tmp_path).found) == 1, "a directory is no signal"

    @pytest.mark.parametrize("name", ["a\nb.csv", "a..csv", "\udcff.csv", "\x1b[2J.csv"])
    def test_names(self, tmp_path: Path, name: str) -> None:
        put(tmp_path, name)
        put(tmp_path, f"{name}.ready", content="")
        assert seen(tmp_path).found == ()
        assert [each.path for each in seen(tmp_path).refused] == [name, f"{name}.ready"]
        assert seen(tmp_path).unsignalled == ()

    def test_a_signal_that_cannot_be_read(self) -> None:
        # Not below pytest's own directory, which only its owner may enter.
        with TemporaryDirectory() as place:
            drop = Path(place)
            put(drop, "a.csv", "a.csv.ready", content="")
            drop.chmod(0o755)
            (drop / "a.csv.ready").chmod(0)
            with as_nobody():
                assert only(drop).problem == "it cannot be read: Permission denied."

    def test_a_huge_signal(self, tmp_path: Path) -> None:
        put(tmp_path, "a.csv")
        with (tmp_path / "a.csv.ready").open("wb") as file:
            file.truncate(2**40)
        assert "more than 65,536 bytes" in str(only(tmp_path).problem)


class TestTemporaryNames:
    """Names under which programs write are never exports, wherever they turn up."""

    def test_none_of_them_is_seen(self, tmp_path: Path) -> None:
        put(
            tmp_path,
            "a.csv.filepart",
            "a.csv~",
            "~$a.xlsx",
            "#a.csv#",
            "a.csv.lock",
            "b.bak",
            "day/c.csv.part",
            "c.BAK",
        )
        listing = look(tmp_path, SUFFIXES, ("*.bak",))
        assert (listing.found, listing.unsignalled) == ((), ())

    def test_a_signal_for_one_fails_at_once(self, tmp_path: Path) -> None:
        put(tmp_path, "a.part", "b.bak")
        put(tmp_path, "a.part.ready", "b.bak.ready", content="")
        problems = [found.problem for found in look(tmp_path, SUFFIXES, ("*.bak",)).found]
        assert problems == [
            f"it stands for {name}: it is hidden, temporary, or named by [drop] ignore, and never taken."
            for name in ("a.part", "b.bak")
        ]

    def test_a_manifest_that_names_one_fails_at_once(self, tmp_path: Path) -> None:
        put(tmp_path, "a.csv", "b.bak")
        put(tmp_path, "x.ready", content="files=a.csv,b.bak")
        put(tmp_path, "y.ready", content="files=a.csv,b.csv.part")
        first, second = (found.problem for found in look(tmp_path, SUFFIXES, ("*.bak",)).found)
        assert "its manifest names b.bak: it is hidden, temporary" in (first or "")
        assert "'b.csv.part' is hidden or a temporary name" in (second or "")

    def test_those_in_a_subdirectory_are_named(self, tmp_path: Path) -> None:
        put(tmp_path, "day/b.csv.part", "day/a.csv", "day/.a.csv.crc", "day/a.csv.filepart")
        put(tmp_path, "day/_SUCCESS", content="")
        found = only(tmp_path)
        assert (exports(found), found.left_out) == (["day/a.csv"], ("day/a.csv.filepart", "day/b.csv.part"))


class TestDirectoriesNamedAsSignals:
    """Somebody made a directory where a signal was meant."""

    def test_they_are_refused(self, tmp_path: Path) -> None:
        for name in ("a.csv.ready", "b.fin", "_SUCCESS", "day", ".c.ready"):
            (tmp_path / name).mkdir()
        listing = seen(tmp_path)
        problem = "is a directory with the name of a signal; a signal is a file"
        assert [(each.path, each.problem) for each in listing.refused] == [
            (name, problem) for name in ("_SUCCESS", "a.csv.ready", "b.fin")
        ]

    def test_but_one_with_a_signal_in_it_is_a_drop(self, tmp_path: Path) -> None:
        put(tmp_path, "day.ready/a.csv", "day.ready/_SUCCESS", content="")
        assert exports(only(tmp_path)) == ["day.ready/a.csv"]
        assert seen(tmp_path).refused == ()


@pytest.mark.parametrize(
    ("content", "may_be_cut"),
    [
        ("", False),
        (" \n", False),
        ("rows=1", True),
        ("rows=1\n", True),
        ('{"rows": 1}', False),
        ('\ufeff {"rows": 1}\n', False),
        ('{"rows": 1', True),
        ("rows", True),
    ],
)
def test_a_signal_that_may_be_the_beginning_of_a_longer_one(tmp_path: Path, content: str, may_be_cut: bool) -> None:
    put(tmp_path, "a.csv")
    put(tmp_path, "a.csv.ready", content=content)
    assert only(tmp_path).may_be_cut == may_be_cut
