"""Exports as people have them, loaded by the real program into a sandbox: what is sent, or what is said instead."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_IMODE
from typing import Any

import orjson
import pytest

from pipeline.sandbox import Fault, FaultPlan
from tests.tools.support import Bench, Ended, assert_reported, bench, run_program

Profiles = Mapping[str, Mapping[str, str]]

#: In every cell that must not be told to anybody.
MARK = "MARK"
GOLD_AND_IRON = {"u-1": {"tier": "gold", "city": "Paris"}, "u-2": {"tier": "iron", "city": "Ulm"}}
BOM = b"\xef\xbb\xbf"


async def load(at: Bench, content: bytes, **export: Any) -> Ended:
    """Load these bytes; every column is sent unless `export` says otherwise."""
    file = at.directory / "export.csv"
    file.write_bytes(content)
    config = at.config(export={"id_column": "customer_id", "columns": {}, "unlisted": "send", **export})
    done = await run_program("load", file, "--config", config, "--json")
    assert_reported(done, at.state)
    return done


@dataclass(frozen=True, slots=True)
class Case:
    """An export with the keys of [export] it is loaded with, and the profiles that there are then.

    `says`: what is said of an export that fails, with exit code 65.
    """

    content: bytes
    profiles: Profiles = field(default_factory=dict)
    says: tuple[str, ...] = ()
    export: Mapping[str, Any] = field(default_factory=dict)


ROWS = b"customer_id,tier,city\nu-1,gold,Paris\nu-2,iron,Ulm\n"
TIER = {"unlisted": "ignore", "columns": {"tier": "tier"}}
NO_HEADER: Mapping[str, Any] = {
    "header": False,
    "id_column": "1",
    "columns": {"2": "tier", "3": "city"},
    "unlisted": "ignore",
}
ESCAPE = {"escape": "\\"}


class TestDialects:
    """Line ends, delimiters, quotes and escapes; lines before the header, none at all, and lines behind the rows."""

    READ: Mapping[str, Case] = {
        "CR alone": Case(ROWS.replace(b"\n", b"\r"), GOLD_AND_IRON),
        "CR alone, without a last one": Case(ROWS.replace(b"\n", b"\r").removesuffix(b"\r"), GOLD_AND_IRON),
        "CR alone, a mark and blank lines": Case(BOM + b"\r\r" + ROWS.replace(b"\n", b"\r\r"), GOLD_AND_IRON),
        "CR alone, columns ignored": Case(
            ROWS.replace(b"\n", b"\r"), {"u-1": {"tier": "gold"}, "u-2": {"tier": "iron"}}, export=TIER
        ),
        "CR alone, and in quotes": Case(
            b'customer_id,note\r"u-1","a\rb"\r"u-2",""\ru-3,"c\r\rd"\r',
            {"u-1": {"note": "a b"}, "u-3": {"note": "c  d"}},
            export={"on_delimiter": "replace"},
        ),
        "CR LF first, and a CR is data then": Case(
            b'customer_id,note\r\nu-1,"a\rb"\r\n',
            {"u-1": {"note": "a_b"}},
            export={"on_delimiter": "replace", "replacement": "_"},
        ),
        "sep=": Case(
            b"sep=;\r\ncustomer_id;tier\r\nu-1;a,b\r\n", {"u-1": {"tier": "a b"}}, export={"on_delimiter": "replace"}
        ),
        "sep= in quotes, with a mark": Case(BOM + b'"sep=;"\ncustomer_id;tier\nu-1;gold\n', {"u-1": {"tier": "gold"}}),
        "sep= a tab": Case(b"SEP=\t\ncustomer_id\ttier\nu-1\tgold\n", {"u-1": {"tier": "gold"}}),
        "sep= a tab in words": Case(b"sep=\\t\ncustomer_id\ttier\nu-1\tgold\n", {"u-1": {"tier": "gold"}}),
        "sep= as a row": Case(b"sep=,,\ncustomer_id,tier,x\nu-1,gold,y\n", {"u-1": {"tier": "gold", "x": "y"}}),
        "sep= in a file of CRs": Case(b"sep=|\rcustomer_id|tier\ru-1|gold\r", {"u-1": {"tier": "gold"}}),
        "sep= and a delimiter, which is right": Case(
            b"sep=;\ncustomer_id,tier\nu-1,gold;\n", {"u-1": {"tier": "gold;"}}, export={"delimiter": ","}
        ),
        "the id column tells the delimiter": Case(
            b"customer_id;a,b,c,d;tier\nu-1;1;gold\n",
            {"u-1": {"tier": "gold"}},
            export=TIER,
        ),
        "sep= as people write it": Case(
            b'\n Sep = ";" ;;\n;;\ncustomer_id;tier\nu-1;gold\n', {"u-1": {"tier": "gold"}}
        ),
        "empty records before the header": Case(
            b' \n,,\n"",""\n' + BOM + BOM + b'"customer_id","tier"\n"u-1","gold"\n', {"u-1": {"tier": "gold"}}
        ),
        "spaces before a header with semicolons": Case(
            "\u00a0\r\n\t\r\ncustomer_id;tier\r\nu-1;gold\r\n".encode(), {"u-1": {"tier": "gold"}}
        ),
        "two marks": Case(BOM + BOM + ROWS, GOLD_AND_IRON),
        "no header, spaces first": Case(b"  \n\nu-1|gold|Paris\nu-2|iron|Ulm\n", GOLD_AND_IRON, export=NO_HEADER),
        "only a header, and the end of a file of DOS": Case(b"customer_id,tier\r\n \r\n\x1a", {}),
        "unnamed columns of what is not seen": Case(
            "customer_id,tier,\ufeff,\u200b\nu-1,gold,,\n".encode(), {"u-1": {"tier": "gold"}}
        ),
        "Spark": Case(
            b'customer_id,note\nu-1,"say \\"hi\\", friend \\\\"\nu-2,plain\\n\nu-null,\\N\n',
            {"u-1": {"note": 'say "hi"  friend \\'}, "u-2": {"note": "plain\\n"}},
            export={**ESCAPE, "on_delimiter": "replace"},
        ),
        "Redshift": Case(
            b'customer_id|note\nu-1|a\\|b\\\\c\\\nd\nu-2|\\"x\\"\n',
            {"u-1": {"note": "a|b\\c d"}, "u-2": {"note": '"x"'}},
            export={**ESCAPE, "on_delimiter": "replace"},
        ),
        "single quotes": Case(
            b"customer_id,note\n'u-1','it''s 5\" wide; a,b'\n",
            {"u-1": {"note": "it's 5\" wide; a b"}},
            export={"quote": "'", "on_delimiter": "replace"},
        ),
        "quotes are data": Case(
            b'customer_id,note\nu-1,"5" wide"\n', {"u-1": {"note": '"5" wide"'}}, export={"quote": ""}
        ),
        "no header": Case(b"u-1|gold|Paris\nu-2|iron|Ulm\n", GOLD_AND_IRON, export=NO_HEADER),
        "no header, the id last": Case(
            b"gold,u-1\n", {"u-1": {"tier": "gold"}}, export={**NO_HEADER, "id_column": "2", "columns": {"1": "tier"}}
        ),
        "no header, CR alone": Case(b"u-1,gold,Paris\ru-2,iron,Ulm", GOLD_AND_IRON, export=NO_HEADER),
        "lines before": Case(b'Report "May\n\n' + ROWS, GOLD_AND_IRON, export={"skip_first": 2}),
        "lines before, and a mark behind them": Case(b"Report\n" + BOM + ROWS, GOLD_AND_IRON, export={"skip_first": 1}),
        "lines before, of which one is sep=": Case(b"sep=,\nReport\n" + ROWS, GOLD_AND_IRON, export={"skip_first": 2}),
        "a trailer": Case(ROWS + b"TOTAL;2", GOLD_AND_IRON, export={"skip_last": 1}),
        "a trailer of two lines": Case(ROWS + b"TRAILER 2\r\n\r\n", GOLD_AND_IRON, export={"skip_last": 2}),
        "nothing but a trailer": Case(b"customer_id,tier\nTRAILER 0\n", {}, export={"skip_last": 1}),
        "only a header": Case(BOM + b"customer_id,tier\r\n\r\n", {}),
        "only a header, of CR": Case(b"customer_id,tier\r", {}),
        "only a header, without an end": Case(b"customer_id,tier", {}),
        "nothing where there is no header": Case(b"", {}, export=NO_HEADER),
        "unnamed columns are ignored": Case(
            b"customer_id,tier,,\r\nu-1,gold,,\r\n", {"u-1": {"tier": "gold"}}, export=TIER
        ),
        "repeated columns are ignored": Case(
            b"customer_id,tier,x,x\nu-1,gold,1,2\n", {"u-1": {"tier": "gold"}}, export=TIER
        ),
    }

    async def test_read(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            for number, (name, case) in enumerate(self.READ.items()):
                # Each case has ids of its own.
                prefix = f"c{number}-"
                done = await load(at, case.content.replace(b"u-", prefix.encode()), **case.export)
                assert (done.code, done.report["state"]) == (0, "done"), (name, done.said)
                assert done.report["rows"]["rejected"] == 0, (name, done.said)
                at.sandbox.apply_all()
                found = {each: cells for each, cells in at.sandbox.profiles().items() if each.startswith(prefix)}
                expected = {each.replace("u-", prefix): cells for each, cells in case.profiles.items()}
                found.pop(f"{prefix}null", None)
                assert found == expected, name

    async def test_a_file_longer_than_what_its_line_ends_are_told_by(self, tmp_path: Path) -> None:
        """Every CR ends a line, and LF and CR LF far behind do too; lines have the numbers that an editor shows."""
        rows = b"".join(b"u-%d,gold,Paris\r" % number for number in range(40_000))
        content = b"customer_id,tier,city\r" + rows + b'u-a,gold\nu-b,gold,Ulm\r\nu-c,"a\rb",Ulm\ru-d,gold'
        async with bench(tmp_path) as at:
            done = await load(at, content, max_rejects=2, on_delimiter="replace")
            assert done.code == 0, done.said
            assert (done.report["rows"]["confirmed"], done.report["rows"]["rejected"]) == (40_002, 2)
            lines = (at.state / "jobs" / done.report["job"] / "rejects.jsonl").read_text().splitlines()
            assert [(each["line"], each["raw"]) for each in map(orjson.loads, lines)] == [
                (40_002, "u-a,gold"),
                (40_006, "u-d,gold"),
            ]

    async def test_unnamed_columns_are_counted_where_all_are_sent(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            done = await load(at, b"customer_id,tier,,\nu-1,gold,x,\n")
            assert done.code == 0, done.said
            assert done.report["warnings"]["unnamed_columns"] == 2
            assert done.report["columns_sent"] == ["tier"]

    async def test_lost_rows_of_any_dialect_are_sent_again(self, tmp_path: Path) -> None:
        """The export of a retry is written in the default dialect, whatever that of the job was."""
        content = b"title\n'u-1'|gold\\|\\\\|Par\"is\nu-2|iron|Ulm\nTRAILER\n"
        keys = {**NO_HEADER, **ESCAPE, "quote": "'", "delimiter": "|", "skip_first": 1, "skip_last": 1}
        async with bench(tmp_path, faults=FaultPlan(posts={1: Fault.FAIL_ROWS}, failing_rows=2)) as at:
            first = await load(at, content, **keys)
            assert first.code == 76, first.said
            done = await run_program("retry", first.report["job"], "--config", tmp_path / "config.toml")
            assert done.code == 0, done.said
            at.sandbox.apply_all()
            assert at.sandbox.profiles() == {
                "u-1": {"tier": "gold|\\", "city": 'Par"is'},
                "u-2": {"tier": "iron", "city": "Ulm"},
            }

    async def test_a_manifest_counts_the_rows_of_any_dialect(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            drop = tmp_path / "drop"
            drop.mkdir()
            (drop / "a.csv").write_bytes(b"u-1,gold,Paris\ru-2,iron,Ulm\rTRAILER 2\r")
            (drop / "a.csv.ready").write_text("rows=2\ncolumns=id,tier,city")
            config = at.config(
                export={**NO_HEADER, "skip_last": 1}, drop={"directory": str(drop), "poll_s": 0.05, "settle_s": 0.05}
            )
            done = await run_program("serve", "--drain", "--config", config)
            assert done.code == 0, done.said
            at.sandbox.apply_all()
            assert at.sandbox.profiles() == GOLD_AND_IRON


class TestHeaders:
    """An export whose header cannot be used fails: nothing is sent, and nobody is told a cell."""

    M = MARK.encode()
    REFUSED: Mapping[str, Case] = {
        "CR, then an LF": Case(b"customer_id,tier\r" + M + b",gold\n", says=("column 2 of the 3", "(CR)")),
        "CR CR LF": Case(b"customer_id,tier\r\r\n" + M + b",gold\r\r\n", says=("column 2 of the 2", "(CR)")),
        "NEL": Case("customer_id,tier\x85MARK,gold\x85".encode(), says=("U+0085",), export=TIER),
        "line separators": Case("customer_id,tier\u2028MARK,gold".encode(), says=("U+2028",)),
        "record separators": Case(b"customer_id,tier\x1e" + M + b",gold\x1e", says=("(RS)",)),
        "CR, and an LF in quotes": Case(
            b'customer_id,tier\ru-1,"' + M + b'\ngold"\ru-2,iron\r', says=("holds a CR, as the end of a line perhaps",)
        ),
        "a line too long for a header": Case(
            b"customer_id,tier," + M * 300_000 + b"\nu-1,gold,x\n", says=("more than 1,048,576 bytes",), export=TIER
        ),
        "a row with the name of a column": Case(
            b"customer_7" + M + b",tier,x\n", says=("'customer_id'", "has 3 columns"), export=TIER
        ),
        "another encoding": Case(
            b"customer_id,t\xefer\n" + M + b",gold\n" * 9,
            says=('windows-1252 (its header reads "tïer") or ISO-8859-15', 'encoding = "windows-1252"'),
            export={"max_rejects": 9},
        ),
        "form feeds": Case(b"customer_id,tier\f" + M + b",gold", says=("FF",)),
        "a quote that swallows the file": Case(
            b'customer_id,tier,"note\n' + M + b',gold,x"\nu-2,"', says=("holds a line break (LF)",)
        ),
        "a quote that does not close": Case(
            b'customer_id,"tier\n' + M + b",gold\n", says=("the header line is broken",)
        ),
        "a quoted line break": Case(
            b'customer_id,"tier\n' + M + b',gold"\nu-1,"x"\n', says=("holds a line break (LF)",)
        ),
        "only a mark": Case(BOM, says=("is empty",)),
        "only blank lines": Case(b"\r\n\r\n", says=("is empty",)),
        "only lines that are skipped": Case(b"a\nb\n", says=("is empty behind the 3 lines",), export={"skip_first": 3}),
        "a row": Case(
            M + b"-1,gold," + M + b"\nu-2,iron,Ulm\n",
            says=("'customer_id' ([export] id_column)", "has 3 columns", "header = false"),
        ),
        "a row of words": Case(M + b"\n" + M, says=("[export] delimiter",)),
        "a row, and columns": Case(
            M + b",gold\n", says=("'customer_id' ([export] id_column) and 'tier' ([export] columns)",), export=TIER
        ),
        "two wrong columns": Case(
            b"Customer ID,tiers,city\nu-1,gold,MARK\n",
            says=("'customer_id'", "'tier'", "did you mean column 1 for 'customer_id', column 2 for 'tier'?"),
            export={**TIER, "columns": {"tier": "tier", "city": "city"}},
        ),
        "a system name": Case(
            b"customer_id,browserTime\nu-1,5\n", says=("browserTime", 'browserTime = "crm_browserTime"')
        ),
        "system names": Case(
            b"customer_id,mobileDevice,user,geolocationCity\nu-1,5,5,5\n", says=("mobileDevice", "user", "geolocation")
        ),
        "a repeated column": Case(b"customer_id,tier,city,tier\nu-1,gold,Paris,x\n", says=("tier", "columns 2, 4")),
        "a repeated id column": Case(b"customer_id,tier,customer_id\nu-1,gold,u-2\n", says=("columns 1, 3",)),
        "a delimiter that there is not": Case(b"sep=!\ncustomer_id!tier\nu-1!x\n", says=("sep=",)),
        "sep= and another delimiter": Case(
            b"sep=;\ncustomer_id;tier\nu-1;gold\n",
            says=("has 1 column", "[export] delimiter"),
            export={"delimiter": ","},
        ),
        "positions too high": Case(
            b"u-1,gold,MARK\n",
            says=("'7' ([export] columns) is not in the first row, which has 3 columns",),
            export={**NO_HEADER, "columns": {"2": "tier", "7": "city"}},
        ),
        "a header and a row with CR, then LF": Case(b"customer_id,tier\rMARK,gold,1\nu-1,b\n", says=("(CR)",)),
    }

    async def test_refused(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            for name, case in self.REFUSED.items():
                done = await load(at, case.content, **case.export)
                assert (done.code, done.report["state"]) == (65, "failed"), (name, done.said)
                for words in case.says:
                    assert words in done.report["error"], name
                assert MARK not in done.said, name
                status = await run_program("status", done.report["job"], "--config", tmp_path / "config.toml")
                folder = at.state / "jobs" / done.report["job"]
                assert MARK not in status.said + (folder / "report.html").read_text(), name
                assert done.report["rows"]["read"] in (0, 1), name
            assert not at.sandbox.profiles()

    @pytest.mark.parametrize("rows", [b",\n,\n", b"\r\n,\r\n"])
    async def test_an_export_that_holds_more_than_its_header_and_no_row_fails(
        self, tmp_path: Path, rows: bytes
    ) -> None:
        async with bench(tmp_path) as at:
            done = await load(at, b"customer_id,tier\n" + rows)
            assert (done.code, done.report["state"]) == (65, "failed"), done.said

    @pytest.mark.parametrize(
        "again", [b"tier,customer_id,city\n", b"customer_id,city,tier\n", b"city,tier,customer_id\n"]
    )
    async def test_the_header_again_in_another_order_fails(self, tmp_path: Path, again: bytes) -> None:
        """Whatever stands behind it would be read into the wrong columns."""
        async with bench(tmp_path) as at:
            done = await load(at, ROWS + again + b"MARK,u-3,MARK\n", max_rejects="90%")
            assert (done.code, done.report["state"]) == (65, "failed"), done.said
            assert "line 4 is the header again, with its columns in another order" in done.report["error"]
            assert MARK not in done.said
            at.sandbox.apply_all()
            assert not at.sandbox.profiles().keys() - {"u-1", "u-2"}

    async def test_many_columns_take_no_time(self, tmp_path: Path) -> None:
        names = b",".join(b"c%d" % number for number in range(30_000))
        async with bench(tmp_path) as at:
            async with asyncio.timeout(5):
                done = await load(at, b"customer_id," + names + b"\n", max_columns=30_001)
            assert done.code == 0, done.said

    async def test_the_header_is_kept_as_it_was_read(self, tmp_path: Path) -> None:
        content = BOM + b"MARK-1;gold;MARK\r\nu-2;iron;Ulm\r\n"
        async with bench(tmp_path) as at:
            done = await load(at, content)
            kept = at.state / "jobs" / done.report["job"] / "header.txt"
            assert f"The header as it was read is in {kept}." in done.report["error"]
            assert kept.read_bytes() == b"MARK-1;gold;MARK\n"
            assert S_IMODE(kept.stat().st_mode) == 0o600

    @pytest.mark.parametrize(
        ("export", "words"),
        [
            ({"header": False}, "must name those, not 'customer_id'"),
            ({**NO_HEADER, "columns": {"tier": "tier", "0": "city"}}, "not 'tier', '0'"),
            ({**NO_HEADER, "unlisted": "send"}, "no names to send columns under"),
            (
                {"columns": {"tier": "browserTime"}},
                "'browserTime' cannot be a parameter name: it is a name that Target",
            ),
            ({"quote": ";", "delimiter": ";"}, "must differ from delimiter"),
            ({"escape": "|", "delimiter": "|"}, "must differ from delimiter"),
        ],
    )
    async def test_a_configuration_that_no_export_fits(
        self, tmp_path: Path, export: Mapping[str, Any], words: str
    ) -> None:
        async with bench(tmp_path) as at:
            file = at.export("u-1,gold,1")
            config = at.config(export={"id_column": "customer_id", **export})
            done = await run_program("load", file, "--config", config)
            assert done.code == 78
            assert words in done.said


class TestIdsAndCells:
    """Ids that nobody meant, markers for no value, and lines that are no rows."""

    async def _load(
        self, directory: Path, data: str, *, as_json: bool = True, **export: Any
    ) -> tuple[Ended, dict[str, dict[str, str]]]:
        """How the load of these bytes ended, and the profiles it left."""
        async with bench(directory) as at:
            file = directory / "export.csv"
            file.write_bytes(data.encode())
            settings = {"id_column": "customer_id", "unlisted": "send", "max_rejects": "1%", **export}
            arguments = ["--json"] if as_json else []
            done = await run_program("load", file, "--config", at.config(export=settings), *arguments)
            assert at.sandbox.mistakes == []
            return done, at.sandbox.profiles()

    @pytest.mark.parametrize(
        "padded",
        [
            "{}          ",
            " {}",
            "\t{}\t",
            "{}\u00a0",
            "\ufeff{}",
            "\u200b{}\u2060",
            '"{}\n"',
            "{}\x1a",
            "\u00ad{}",
            "\u061c{}",
            "{}\u2800",
            "\u3164{}",
        ],
    )
    async def test_two_spellings_of_an_id_are_one_profile(self, tmp_path: Path, padded: str) -> None:
        rows = [f"{padded.format('C-1')},gold", "C-2,iron", "C-1,silver", f"{padded.format('C-2')},tin"]
        done, profiles = await self._load(tmp_path, "customer_id,tier\n" + "\n".join(rows) + "\n")
        assert done.code == 0
        assert profiles == {"C-1": {"tier": "silver"}, "C-2": {"tier": "tin"}}
        assert done.report["rows"]["superseded"] == 2
        assert done.report["warnings"]["ids_trimmed"] == 2
        assert done.report["warnings"]["first_lines"]["ids_trimmed"] == 2

    async def test_what_was_trimmed_is_told(self, tmp_path: Path) -> None:
        rows = "".join(f"C-{number}  ,gold\n" for number in range(1_204))
        done, _ = await self._load(tmp_path, "customer_id,tier\n" + rows, as_json=False)
        assert "1,204 ids were trimmed" in done.out
        assert "first on line 2" in done.out
        assert "C-1" not in done.said

    @pytest.mark.parametrize("number", ["3.91E16", "3.91E+16", "3,91E+16", "3.91e16", "1.2345678E7", "-1.2E10"])
    async def test_numbers_of_a_spreadsheet_are_nobodys(self, tmp_path: Path, number: str) -> None:
        rows = f'customer_id,tier\n"{number}",gold\nC-1,gold\n"{number}",iron\n12E5,tin\n'
        done, profiles = await self._load(tmp_path, rows, max_rejects="90%")
        assert done.code == 0
        assert profiles == {"C-1": {"tier": "gold"}, "12E5": {"tier": "tin"}}
        assert done.report["rejects"]["by_reason"] == {"local.id_number": 2}

    async def test_numbers_may_be_sent(self, tmp_path: Path) -> None:
        done, profiles = await self._load(tmp_path, "customer_id,tier\n3.91E16,gold\n", number_ids="send")
        assert (done.code, profiles) == (0, {"3.91E16": {"tier": "gold"}})

    @pytest.mark.parametrize(
        "nobody",
        [
            "'null'",
            "<none>",
            "(NULL)",
            "[undefined]",
            "\u201cNULL\u201d",
            "#NAME?",
            "#DIV/0!",
            "(blank)",
            "true",
            "NULL",
            "null ",
            "None",
            "N/A",
            "#REF!",
            "undefined",
            "-",
            "\u2014",
            "???",
            "#N/A",
        ],
    )
    async def test_placeholders_are_nobodys(self, tmp_path: Path, nobody: str) -> None:
        rows = f"customer_id,tier\n{nobody},gold\nC-1,gold\n{nobody},iron\n"
        done, profiles = await self._load(tmp_path, rows, max_rejects="90%")
        assert (done.code, profiles) == (0, {"C-1": {"tier": "gold"}})
        assert done.report["rejects"]["by_reason"] == {"local.id_placeholder": 2}

    async def test_markers_for_no_value(self, tmp_path: Path) -> None:
        rows = 'customer_id,tier,city\nC-1,gold,\\N\nC-1,"\\N",Ulm\nC-2,\\N,Rome\nC-3,\\N,\\N\n'
        done, profiles = await self._load(tmp_path, rows)
        assert done.code == 0
        assert profiles == {"C-1": {"tier": "gold", "city": "Ulm"}, "C-2": {"city": "Rome"}}
        assert done.report["rows"]["empty"] == 1
        assert done.report["warnings"]["null_cells"] == 3

    @pytest.mark.parametrize(
        "again",
        ["CUSTOMER_ID,Tier", "customer_id,tier", '"customer_id","tier"', "\ufeffcustomer_id,tier", "customer_id, tier"],
    )
    async def test_the_header_again_costs_nothing(self, tmp_path: Path, again: str) -> None:
        rows = f"customer_id,tier\nC-1,gold\n{again}\nC-3,gold\n{again}\n"
        done, profiles = await self._load(tmp_path, rows, max_rejects=0)
        assert (done.code, profiles) == (0, {"C-1": {"tier": "gold"}, "C-3": {"tier": "gold"}})
        assert done.report["rejects"]["by_reason"] == {"local.header_again": 2}

    @pytest.mark.parametrize("blank", [",,", " , ,", '"","",""', "\u00a0,,", ",", "  ", "\x1a"])
    async def test_blank_records_are_no_rows(self, tmp_path: Path, blank: str) -> None:
        rows = "".join(f"C-{number},gold,Ulm\n{blank}\n{blank}\n" for number in range(300))
        done, profiles = await self._load(tmp_path, "customer_id,tier,city\n" + rows, max_rejects=0)
        assert done.code == 0
        assert len(profiles) == 300
        assert {name: done.report["rows"][name] for name in ("read", "confirmed", "rejected")} == {
            "read": 300,
            "confirmed": 300,
            "rejected": 0,
        }
        assert done.report["warnings"]["blank_records"] == 600
        assert done.report["warnings"]["first_lines"]["blank_records"] == 3

    async def test_commas_and_line_breaks_are_replaced(self, tmp_path: Path) -> None:
        rows = 'customer_id,note\nC-1,"a,b\r\nc\nd"\n"C,2",x\n'
        done, profiles = await self._load(tmp_path, rows, max_rejects="90%")
        assert profiles == {"C-1": {"note": "a b c d"}}
        assert done.report["rejects"]["by_reason"] == {"local.delimiter": 1}
        assert done.report["warnings"]["value_with_delimiter"] == 1

    async def test_one_id_on_very_many_rows(self, tmp_path: Path) -> None:
        rows = "".join(f"C-{number},gold\n0,gold\n" for number in range(400))
        done, _ = await self._load(tmp_path, "customer_id,tier\n" + rows)
        assert done.report["warnings"]["rows_of_one_id"] == 400
        assert done.report["warnings"]["first_lines"]["rows_of_one_id"] == 3

    async def test_a_manifest_counts_rows_as_a_load_does(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            drop = tmp_path / "drop"
            drop.mkdir()
            (drop / "export.csv").write_text("id,tier,ltv\nu1,gold,1\n,,\nu2,gold,2\n , ,\n")
            (drop / "export.ready").write_text('{"rows": 2}')
            done = await run_program("serve", "--drain", "--config", at.config(drop={"directory": str(drop)}))
            assert done.code == 0, done.err
            assert set(at.sandbox.profiles()) == {"u1", "u2"}
