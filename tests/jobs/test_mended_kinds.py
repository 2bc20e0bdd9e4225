"""Rows of each kind of export, rejected, mended as a person does it, and loaded again; in virtual time."""

import csv
import io
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import pytest

from pipeline.core.errors import InputError
from pipeline.edges.store.state import open_state
from pipeline.jobs.one_shot import load_exports
from pipeline.jobs.retries.mended_rows import begin_mended
from pipeline.sandbox import Fault, FaultPlan
from pipeline.settings.tenants import Tenant
from tests.simulation.staged import Stage, staged
from tests.simulation.virtually import virtually

SETTLE = {"poll_first_s": 0.05, "poll_max_s": 0.2, "ambiguous_hold_s": 2.0}
EXPORT: dict[str, Any] = {"max_rejects": "100%"}
BOM = b"\xef\xbb\xbf"
PLAIN = "id,tier,ltv\nu1,Gr\xfcn,1\n,Wei\xdf,2\nu3,x\n"


def rows_of(content: bytes) -> list[list[str]]:
    """The rows of a table, with whatever delimiter its header has."""
    text = content.removeprefix(BOM).decode()
    return [*csv.reader(io.StringIO(text, newline=""), delimiter=text.removeprefix("_line")[0])]


def fixed(rows: list[list[str]]) -> list[list[str]]:
    """The table with ids and missing cells filled in: `u2` on the first row, `x` and 3 on the second."""
    header, empty, short = rows
    return [header, [*empty[:2], "u2", *empty[3:]], [*short[:2], "u3", "x", "3"]]


def saved(
    rows: list[list[str]], *, delimiter: str = ",", encoding: str = "utf-8-sig", all_quoted: bool = False
) -> bytes:
    """The table as a program saves it."""
    out = io.StringIO(newline="")
    quoting: Literal[0, 1] = csv.QUOTE_ALL if all_quoted else csv.QUOTE_MINIMAL
    csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator="\r\n").writerows(rows)
    return out.getvalue().encode(encoding)


async def load(stage: Stage, content: bytes, name: str = "export.csv", **sections: Any) -> tuple[dict[str, Any], bytes]:
    """Load an export; its report, and the table of its rejected rows."""
    export = stage.directory / name
    export.write_bytes(content)
    (report,) = await stage.load_all(export, settle=SETTLE, **sections)
    return report, (stage.state / "jobs" / report["job"] / "rejects.csv").read_bytes()


async def bring_back(stage: Stage, job: str, content: bytes, **sections: Any) -> tuple[str, list[dict[str, Any]]]:
    """Have a mended table loaded: the answer, and the report if anything was."""
    given = stage.directory / "fixed.csv"
    given.write_bytes(content)
    async with open_state(stage.state, "demo", stage.host, min_free_bytes=0) as state:
        answer = await begin_mended(state, job, given)
    tenant = Tenant.of_one(stage.settings(settle=SETTLE, **sections))
    loading = load_exports([], tenant, host=stage.host, only_retries=True)
    return answer.told, [] if answer.job is None else [report.as_json() async for report in loading]


def profiles(stage: Stage) -> dict[str, dict[str, str]]:
    stage.sandbox.apply_all()
    return stage.sandbox.profiles()


#: By kind: the export, the keys of [export] that it needs.
KINDS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "plain": (PLAIN.encode(), {}),
    "semicolons": (PLAIN.replace(",", ";").encode(), {}),
    "sep": (b"sep=;\n" + PLAIN.replace(",", ";").encode(), {}),
    "carets": (PLAIN.replace(",", "^").encode(), {"delimiter": "^"}),
    "trailer": (f"{PLAIN}TRL|3\n".encode(), {"trailer": "TRL|{rows}"}),
    "lines around": (f"made by crm\n{PLAIN}3 rows\n".encode(), {"skip_first": 1, "skip_last": 1}),
    "no header": (
        PLAIN.partition("\n")[2].encode(),
        {"header": False, "id_column": "1", "columns": {"2": "tier", "3": "ltv"}, "unlisted": "stop"},
    ),
    "escape": (
        PLAIN.replace("Wei", "W\\,ei").encode(),
        {"escape": "\\", "on_delimiter": "replace", "replacement": ""},
    ),
    "no quote": (PLAIN.encode(), {"quote": ""}),
    "windows-1252": (PLAIN.encode("windows-1252"), {"encoding": "windows-1252"}),
    "utf-16": (PLAIN.encode("utf-16"), {"encoding": "utf-16"}),
    "json lines": (
        '{"id":"u1","tier":"Gr\xfcn","ltv":1}\n{"id":"","tier":"Wei\xdf","ltv":2}\n{"id":{},"tier":"x","ltv":3}\n'.encode(),
        {},
    ),
}


@virtually
@pytest.mark.parametrize("kind", KINDS)
async def test_rows_of_this_kind_come_back(tmp_path: Path, kind: str) -> None:
    content, keys = KINDS[kind]
    async with staged(tmp_path) as stage:
        report, table = await load(stage, content, export=EXPORT | keys)
        assert (report["state"], report["rows"]["rejected"], report["rows"]["confirmed"]) == ("done", 2, 1)
        rows = rows_of(table)
        assert rows[0] == ["_line", "_reason", *(("1", "2", "3") if kind == "no header" else ("id", "tier", "ltv"))]
        assert rows[1][2:] == ["", "W,ei\xdf" if kind == "escape" else "Wei\xdf", "2"]
        _, (again,) = await bring_back(stage, report["job"], saved(fixed(rows)), export=EXPORT | keys)
        assert (again["rows"]["read"], again["rows"]["confirmed"], again["retry_of"]) == (2, 2, report["job"])
        assert profiles(stage) == {
            "u1": {"tier": "Gr\xfcn", "ltv": "1"},
            "u2": {"tier": "Wei\xdf", "ltv": "2"},
            "u3": {"tier": "x", "ltv": "3"},
        }


@virtually
@pytest.mark.parametrize(
    "save",
    [
        lambda rows: saved(rows, delimiter=";"),
        lambda rows: saved(rows, delimiter="\t", encoding="utf-8"),
        lambda rows: saved(rows, all_quoted=True),
        lambda rows: saved(rows, encoding="utf-8").replace(b"\r\n", b"\n"),
        lambda rows: saved([rows[0], *reversed(rows[1:])]),
        lambda rows: saved([row[::-1] for row in rows]),
        lambda rows: saved([[*row, "", ""] for row in rows]),
        lambda rows: saved([*rows, [""] * 5]).removesuffix(b"\r\n"),
        # Saved by a spreadsheet as mere CSV; all that is in it is ASCII.
        lambda rows: saved([[cell.replace("\xdf", "ss") for cell in row] for row in rows], encoding="windows-1252"),
    ],
)
async def test_a_table_is_read_as_programs_save_it(tmp_path: Path, save: Callable[[list[list[str]]], bytes]) -> None:
    async with staged(tmp_path) as stage:
        report, table = await load(stage, PLAIN.encode(), export=EXPORT)
        _, (again,) = await bring_back(stage, report["job"], save(fixed(rows_of(table))), export=EXPORT)
        assert (again["rows"]["read"], again["rows"]["confirmed"]) == (2, 2)
        assert profiles(stage)["u2"]["tier"] in ("Wei\xdf", "Weiss")
        assert profiles(stage)["u3"] == {"tier": "x", "ltv": "3"}


@virtually
@pytest.mark.parametrize("encoding", ["windows-1252", "utf-16"])
async def test_a_table_in_another_encoding_is_refused_in_words(tmp_path: Path, encoding: str) -> None:
    async with staged(tmp_path) as stage:
        report, table = await load(stage, PLAIN.encode(), export=EXPORT)
        with pytest.raises(InputError, match="CSV UTF-8"):
            await bring_back(stage, report["job"], saved(fixed(rows_of(table)), encoding=encoding), export=EXPORT)
        assert len([*(stage.state / "jobs").iterdir()]) == 1


def mapped(directory: Path, **steps: Any) -> dict[str, Any]:
    """A [mapping] that hashes ids and says from which export a row is."""
    salt = directory / "salt"
    if not salt.exists():
        salt.write_bytes(b"a salt that is long enough")
    tier = {"case": "lower", "values": {"g": "gold", "gold": "twice"}}
    keys = {"salt_file": str(salt), "from_export": {"source": "name"}, "id": {"hash": "sha256"}, "tier": tier}
    return {**keys, **steps}


def hashed(profile_id: str) -> str:
    return sha256(f"a salt that is long enough{profile_id}".encode()).hexdigest()


@virtually
async def test_mended_rows_are_mapped_once_and_are_no_newer_than_the_hash_of_their_id(tmp_path: Path) -> None:
    sections: dict[str, Any] = {"export": EXPORT, "mapping": mapped(tmp_path)}
    async with staged(tmp_path) as stage:
        report, table = await load(stage, b"id,tier,ltv\nu1,G,1\n,G,2\nu3,G\nu2,new,9\n", **sections)
        rows = rows_of(table)
        told, (again,) = await bring_back(stage, report["job"], saved(fixed(rows)), **sections)
        # Line 3 is u2, which line 5 has overtaken: both are compared as they are sent.
        assert "1 row left out because a later row of the same id was sent: line 3" in told
        assert (again["rows"]["read"], again["rows"]["confirmed"]) == (1, 1)
        assert profiles(stage) == {
            hashed("u1"): {"tier": "gold", "ltv": "1", "source": "export.csv"},
            hashed("u2"): {"tier": "new", "ltv": "9", "source": "export.csv"},
            hashed("u3"): {"tier": "x", "ltv": "3", "source": "export.csv"},
        }
        # A row that the mapping made of the salt of now would be another person.
        (tmp_path / "salt").write_bytes(b"another salt that is long enough")
        with pytest.raises(InputError, match="is not the one"):
            await bring_back(stage, report["job"], saved([*rows[:2]]).replace(b",G,", b"u9,G,"), **sections)


@virtually
async def test_a_row_that_target_refused_as_it_was_mapped_is_not_shown_as_one_of_the_export(tmp_path: Path) -> None:
    sections: dict[str, Any] = {"export": EXPORT, "mapping": mapped(tmp_path)}
    async with staged(tmp_path, faults=FaultPlan(posts={1: Fault.REFUSE, 3: Fault.REFUSE})) as stage:
        report, table = await load(stage, b"id,tier,ltv\nu1,G,1\nu2,G,2\n", **sections)
        header, (line, reason, *cells) = rows_of(table)
        assert cells == []
        assert "rejects.jsonl only" in reason
        profile_id = f"u{int(line) - 1}"
        told, reports = await bring_back(stage, report["job"], saved([header, [line, reason]]), **sections)
        assert "no mended row" in told
        assert reports == []
        mended = saved([header, [line, reason, profile_id, "g", "5"]])
        _, (again,) = await bring_back(stage, report["job"], mended, **sections)
        assert again["rows"]["confirmed"] == 1
        assert profiles(stage)[hashed(profile_id)] == {"tier": "gold", "ltv": "5", "source": "export.csv"}


@virtually
async def test_rows_of_parts_come_back_by_part_and_line(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "part-0.csv").write_text("id,tier,ltv\nu1,gold,1\n,silver,2\n")
    (parts / "part-1.csv").write_text("id,tier,ltv\nu3,x\nu4,new,4\n,bronze,5\n,iron,6\n")
    async with staged(tmp_path) as stage:
        (report,) = await stage.load_all(parts, settle=SETTLE, export=EXPORT)
        table = rows_of((stage.state / "jobs" / report["job"] / "rejects.csv").read_bytes())
        assert [row[:3] for row in table[1:]] == [
            ["3", "no id", "part-0.csv"],
            ["2", "another number of fields than the header", "part-1.csv"],
            ["4", "no id", "part-1.csv"],
            ["5", "no id", "part-1.csv"],
        ]
        for row, profile_id in zip(table[1:], ("u4", "u3", "u4", "u1"), strict=True):
            row[3] = profile_id
        told, (again,) = await bring_back(stage, report["job"], saved(table), export=EXPORT)
        # u4 on line 3 of the first part is older than on line 3 of the second, on line 4 it is newer.
        assert "1 row left out because a later row of the same id was sent: line 3 of part-0.csv" in told
        assert "1 row is as it was" in told
        assert (again["rows"]["confirmed"], again["rows"]["rejected"]) == (2, 1)
        assert profiles(stage)["u4"] == {"tier": "bronze", "ltv": "5"}
        assert profiles(stage)["u1"] == {"tier": "iron", "ltv": "6"}
        (_, left) = rows_of((stage.state / "jobs" / again["job"] / "rejects.csv").read_bytes())
        assert left[:4] == ["2", "another number of fields than the header", "part-1.csv", "u3"]
