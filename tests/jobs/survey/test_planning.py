"""A plan equals what a load of the same export comes to, and what cannot be loaded ends as a load does."""

import asyncio
import io
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rich.console import Console

from pipeline.core.survey.plan import Plan
from pipeline.edges.host import Host
from pipeline.edges.views.plan_screen import print_plan
from pipeline.jobs.survey.planning import plan_export
from tests.simulation.loop import run_virtually
from tests.simulation.staged import staged
from tests.tools.strategies import Export, exports
from tests.tools.support import CLOSED, settings_for, write_export

#: The sandbox takes longer than it takes to read all (seconds), and reads what is encoded as it is meant.
SLOW: dict[str, Any] = {"apply_min_s": 600.0, "apply_max_s": 601.0, "decode": "after"}


def planned(path: Path, /, **sections: Any) -> Plan:
    state = path.parent / "state"
    plan = asyncio.run(plan_export(path, settings_for(CLOSED, state, **sections), Host()))
    assert not state.exists()
    return plan


def both(directory: Path, data: bytes, **sections: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The plan of an export, and the report of its load."""
    directory.mkdir(exist_ok=True)
    export = directory / "export.csv"
    export.write_bytes(data)

    async def plan_and_load() -> tuple[dict[str, Any], dict[str, Any]]:
        async with staged(directory, **SLOW) as stage:
            sections.setdefault("settle", {})["deadline_s"] = 5_000.0
            plan = await plan_export(export, stage.settings(**sections), stage.host)
            (report,) = await stage.load_all(export, **sections)
            return plan.as_json(), report

    return run_virtually(plan_and_load())


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=5,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(exports(), st.sampled_from([2, 3, 500_000]))
def test_it_equals_a_load(tmp_path_factory: pytest.TempPathFactory, export: Export, max_rows: int) -> None:
    of_export = {key: value for key, value in export.options.items() if key != "max_bytes"}
    of_export |= {key: list(value) for key, value in of_export.items() if isinstance(value, tuple)}
    batch = {"max_bytes": max(export.options["max_bytes"], 1_024), "max_rows": max_rows}
    plan, report = both(
        tmp_path_factory.mktemp("export"),
        export.data,
        export=of_export | {"max_rejects": "100%"},
        batch=batch,
    )
    assert plan["error"] == report["error"]
    assert plan["exit_code"] == report["exit_code"]
    if plan["error"]:
        return
    assert plan["rows"] == report["rows"]
    assert plan["rejects"]["by_reason"] == report["rejects"]["by_reason"]
    assert plan["warnings"] == report["warnings"]
    assert plan["export"]["sha256"] == report["export"]["sha256"]
    if plan["rows"]["confirmed"] == plan["ids"]["distinct"]:
        assert plan["batches"] == len(report["batches"])
        assert plan["batch_bytes"] == sum(each["bytes"] for each in report["batches"])
    else:
        # Rows that are freed together share a batch; the plan has them freed one batch after the other.
        assert plan["batches"] >= len(report["batches"])


def test_rows_that_wait_make_batches_that_wait(tmp_path: Path) -> None:
    lines = [f"u{number % 4},gold,{number}" for number in range(12)]
    quick = planned(write_export(tmp_path / "e.csv", *lines), batch={"max_rows": 100})
    slow = planned(tmp_path / "e.csv", batch={"max_rows": 3})
    assert (quick.batches, quick.rows.superseded, quick.minutes["60"]) == (1, 8, 60.0)
    # u0 to u2, and u3; what comes again of them is held, and merges.
    assert (slow.rows.confirmed, slow.rows.superseded) == (7, 5)
    assert slow.minutes["60"] >= 120.0
    mistakes = {each.name: each.count for each in slow.mistakes}
    assert mistakes["id_in_later_batch"] == 3
    assert (slow.ids.distinct, slow.ids.repeated, slow.ids.most_rows) == (4, 4, 3)


def test_no_more_is_in_the_spool_than_may_be_under_way(tmp_path: Path) -> None:
    export = write_export(tmp_path / "e.csv", *(f"u{number},gold,{number}" for number in range(100)))
    plan = planned(export, batch={"max_rows": 1}, settle={"status_window": 10}, upload={"concurrency": 4})
    assert plan.batches == 100
    assert 14 * plan.batch_bytes / 100 < plan.spool_bytes < 16 * (plan.batch_bytes / 100 + 20)
    assert plan.calls == 200


def test_held_rows_at_their_cap_wait_for_a_batch(tmp_path: Path) -> None:
    lines = [f"u{number % 20},gold,{number}" for number in range(60)]
    capped = {"batch": {"max_rows": 10}, "tracker": {"held_max_rows": 5}, "export": {"columns": {"tier": "tier"}}}
    data = "".join(f"{line}\n" for line in ["id,tier,ltv", *lines])
    plan, report = both(tmp_path / "x", data.encode(), **capped)
    assert plan["rows"] == report["rows"]
    assert plan["rows"]["superseded"] > 0


#: A mapping that changes cells, leaves rows out and rejects some.
MAPPED: dict[str, Any] = {
    "id": {"case": "lower", "hash": "sha256_unsalted"},
    "tier": {"trim": True, "case": "upper", "values": {"G": "gold", "S": ""}, "other": "empty", "empty": "none"},
    "ltv": {"decimal": ",", "max_length": 6},
    "constants": {"source": "crm"},
    "from_export": {"loaded_from": "name"},
    "exclude": {"consent": ["N", ""]},
}


def test_it_equals_a_load_with_a_mapping(tmp_path: Path) -> None:
    rows = ["a+1, g ,1,J", "A+1,x,2,J", "b,s,,N", "c,,z,J", "d,G,1.234,J", ",,,", "e,s,3,", "f,q,5,J", "e,,12345678,J"]
    plan, report = both(
        tmp_path / "x",
        "".join(f"{line}\n" for line in ["id;tier;ltv;consent", *(row.replace(",", ";") for row in rows)]).encode(),
        export={"columns": {"tier": "tier", "ltv": "ltv"}, "unlisted": "ignore", "max_rejects": 5},
        mapping=MAPPED,
    )
    for key in ("rows", "warnings"):
        assert plan[key] == report[key]
    assert plan["rejects"]["by_reason"] == report["rejects"]["by_reason"]
    assert plan["batch_bytes"] == sum(each["bytes"] for each in report["batches"])
    assert (plan["rows"]["excluded"], plan["rows"]["superseded"], plan["rows"]["rejected"]) == (2, 1, 2)
    assert [(column["sent_as"], column["fill_rate"]) for column in plan["columns"]] == [
        *[("thirdPartyId", 1.0), ("tier", 1.0), ("ltv", 1.0), (None, 0.875)],
    ]


#: A directory of Windows ends the third row: everywhere, the escape takes the line break behind it.
SPARK = b'id,note,path\nu1,"say \\"hi\\"",C:\\temp\nu2,x,\\\\\\\\server\nu3,y,C:\\\nu4,z,\\N\nu5,"a\\\\,","\\"q\\""\n'


class TestEscapes:
    @pytest.mark.parametrize(("escape_in", "rows", "first"), [("quotes", 2, 3), ("all", 2, 3)])
    def test_rows_that_the_other_reading_cuts_otherwise(
        self, tmp_path: Path, escape_in: str, rows: int, first: int
    ) -> None:
        told = {"escape": "\\", "escape_in": escape_in, "unlisted": "send", "columns": {}, "max_rejects": "100%"}
        plan, report = both(tmp_path / "x", SPARK, export=told)
        export = plan["export"]
        assert (export["escape_in"], export["read_otherwise"], export["first_read_otherwise"]) == (
            *(escape_in, rows, first),
        )
        assert plan["rows"] == report["rows"]
        assert plan["rows"]["confirmed"] == (5 if escape_in == "quotes" else 3)

    @pytest.mark.parametrize("data", [b'id,note\nu1,"say \\"hi\\""\nu2,C:\\temp\nu3,\\N\n', b"id,note\nu1,plain\n"])
    @pytest.mark.parametrize("escape", ["\\", ""])
    def test_nothing_is_said_where_both_mean_the_same(self, tmp_path: Path, data: bytes, escape: str) -> None:
        (export := tmp_path / "e.csv").write_bytes(data)
        plan = planned(export, export={"escape": escape, "unlisted": "send", "columns": {}, "max_rejects": "100%"})
        assert (plan.export.read_otherwise, plan.export.first_read_otherwise) == (0, None)
        assert plan.export.escape_in == ("all" if escape else "")


class TestSamples:
    MADE_UP = ("Nightingale", "florence@nightingale.example", "gold", "true", "28.11.1980")

    def sampled(self, tmp_path: Path, *lines: str) -> list[dict[str, Any]]:
        mapping: dict[str, Any] = {
            "id": {"hash": "sha256_unsalted"},
            "tier": {"values": {"Nightingale": "gold"}, "empty": "true"},
            "born": {"date": "%d.%m.%Y"},
            "constants": {"source": "CRM 7"},
            "exclude": {"id": ["n"]},
        }
        export = write_export(tmp_path / "e.csv", *lines, header="id,tier,born")
        of_export = {"columns": {"tier": "tier", "born": "born"}, "max_rejects": 9}
        return list(planned(export, export=of_export, mapping=mapping).as_json()["samples"])

    def test_one_of_each_fate(self, tmp_path: Path) -> None:
        sent = [f"u{number},," for number in range(5)]
        found = self.sampled(tmp_path, *sent, "n,,", *sent, "u6,,31.02.2020", *sent)
        assert [(row["line"], row["fate"], row["reason"], row["excluded_by"]) for row in found] == [
            *[(2, "sent", None, None), (7, "excluded", None, "id"), (13, "rejected", "local.mapping_date", None)],
        ]
        assert [row["line"] for row in self.sampled(tmp_path, *sent)] == [2, 3, 4]

    def test_masked_before_and_after(self, tmp_path: Path) -> None:
        name, mail, _, _, born = self.MADE_UP
        found = self.sampled(tmp_path, f"{mail},{name},{born}", f"u1,,{born}")
        after = {cell["sent_as"]: (cell["before"], cell["after"]) for cell in found[0]["cells"]}
        assert after == {
            "thirdPartyId": ("xxxxxxxx@xxxxxxxxxxx...", "(hash)"),
            "tier": ("Xxxxxxxxxxx", "xxxx"),
            "born": ("99.99.9999", "9999-99-99"),
            "source": (None, "CRM 7"),
        }
        for text in (*self.MADE_UP, sha256(mail.encode()).hexdigest()[:8]):
            assert text not in str(found).replace("True", "")

    def test_there_are_none_without_a_mapping(self, tmp_path: Path) -> None:
        assert planned(write_export(tmp_path / "e.csv", "u1,gold,1")).as_json()["samples"] == []


class TestWhatCannotBeLoaded:
    def test_too_many_rejects(self, tmp_path: Path) -> None:
        plan = planned(write_export(tmp_path / "e.csv", "u1,gold,1", ",gold,2", "a+b,gold,3"))
        assert plan.exit_code == 65
        assert plan.error
        assert "2 of the first 3 rows are rejected" in plan.error
        assert plan.as_json()["rejects"]["first_lines"] == {"local.empty_id": [3], "local.id_character": [4]}
        assert plan.rows.confirmed == 1

    def test_too_many_of_the_first_rows(self, tmp_path: Path) -> None:
        """A load gives up there, though all rows together hold few enough."""
        lines = [",gold,1"] * 300 + [f"u{number},gold,1" for number in range(59_700)]
        plan, report = both(tmp_path / "x", ("id,tier,ltv\n" + "\n".join(lines) + "\n").encode())
        assert (plan["exit_code"], report["exit_code"]) == (65, 65)
        assert plan["rows"]["read"] == 60_000

    @pytest.mark.parametrize(
        ("data", "code", "said"),
        [
            (b"name,tier\nx,gold\n", 65, "id"),
            (b"", 65, "empty"),
            (b"%PDF-1.7 x", 65, "PDF"),
            (b"id,tier\r,,\r", 65, "no row was read"),
            (None, 66, "cannot read"),
        ],
    )
    def test_no_export(self, tmp_path: Path, data: bytes | None, code: int, said: str) -> None:
        export = tmp_path / "e.csv"
        if data is not None:
            export.write_bytes(data)
        plan = planned(export)
        assert plan.exit_code == code
        assert plan.error
        assert said in plan.error
        assert plan.columns == ()


class TestColumns:
    def test_fill_rates_samples_and_what_is_sent(self, tmp_path: Path) -> None:
        export = write_export(
            tmp_path / "e.csv", "u1,gold,a@example.com", "u2,,b@example.com", "u3,\\N,", header="id,tier,contact"
        )
        plan = planned(export, export={"columns": {"tier": "loyalty"}, "unlisted": "ignore"})
        of_id, tier, contact = plan.columns
        assert (of_id.sent_as, of_id.fill_rate, of_id.samples) == ("thirdPartyId", 1.0, ("x9",))
        assert (tier.sent_as, tier.fill_rate, tier.samples) == ("loyalty", 0.3333, ("xxxx",))
        assert (contact.sent_as, contact.fill_rate, contact.personal) == (None, 0.6667, "e-mail address")
        assert not any(column.is_sampled for column in plan.columns)

    def test_beyond_the_sample_all_rows_count_where_they_are_sent(self, tmp_path: Path) -> None:
        lines = [f"u{number},{'gold' if number < 10_000 else ''},x" for number in range(20_000)]
        plan = planned(
            write_export(tmp_path / "e.csv", *lines), export={"columns": {"tier": "tier"}, "unlisted": "ignore"}
        )
        _, tier, ltv = plan.columns
        assert (tier.fill_rate, tier.is_sampled) == (0.5, False)
        assert (ltv.fill_rate, ltv.is_sampled) == (1.0, True)


class TestWhatItIs:
    def test_how_it_is_written(self, tmp_path: Path) -> None:
        export = tmp_path / "e.csv"
        export.write_bytes(b"\xef\xbb\xbfsep=;\r\nid;tier\r\nu1;gold\r\n")
        told = planned(export).export
        assert (told.delimiter, told.delimiter_from, told.line_ends, told.header_line) == (";", "sep=", "CR LF", 2)
        assert (told.encoding, told.has_mark, told.packing, told.kind) == ("utf-8", True, "", "csv")

    def test_in_another_encoding(self, tmp_path: Path) -> None:
        export = tmp_path / "e.csv"
        export.write_text("id,tier\nu1,gold\n", encoding="utf-16")
        told = planned(export)
        assert told.export.encoding.startswith("utf-16")
        assert "not_utf8" in {each.name for each in told.mistakes}

    def test_json_lines(self, tmp_path: Path) -> None:
        export = tmp_path / "e.jsonl"
        export.write_text('{"id": "u1", "address": {"city": "Köln"}}\n')
        told = planned(export, export={"columns": {"address.city": "city"}, "unlisted": "ignore"})
        assert (told.export.kind, told.export.delimiter) == ("jsonl", "")
        assert [column.sent_as for column in told.columns] == ["thirdPartyId", "city"]

    @pytest.mark.parametrize(("rare", "told"), [(200, 3), (20, 20)])
    def test_keys_that_are_data_are_counted_and_not_listed(self, tmp_path: Path, rare: int, told: int) -> None:
        export = tmp_path / "e.jsonl"
        lines = [{"id": f"u{n}", **({f"k{n}@example.com": 1} if n < rare else {}), "tier": "gold"} for n in range(200)]
        export.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        plan = planned(export, export={"columns": {"tier": "tier"}, "unlisted": "send"})
        assert len(plan.columns) == 2 + rare
        said = io.StringIO()
        print_plan(plan, Console(file=said, width=200))
        table = said.getvalue().split("rows read")[0]
        assert table.count("@example.com") == told
        assert "tier" in table, "whatever stands before it"
        assert ("and 197 keys more, each with a value in less than 2% of the rows" in table) is (rare > told)

    @pytest.mark.parametrize(("rows", "error"), [(1, None), (2, "the manifest in day/_SUCCESS says rows = 2, but")])
    def test_a_directory_with_lists(self, tmp_path: Path, rows: int, error: str | None) -> None:
        (directory := tmp_path / "day").mkdir()
        write_export(directory / "a.csv", "u1,gold,1")
        write_export(directory / "b.csv", "u2,gold,2")
        (directory / "_committed_1").write_text('{"added": ["a.csv"]}')
        (directory / "_SUCCESS").write_text(f"rows={rows}")
        plan = planned(directory)
        told = plan.as_json()["export"]
        assert (told["lists"], told["left_out"]) == (("_committed_1",), ("b.csv",))
        assert (plan.rows.read, plan.exit_code) == (1, 65 if error else 0)
        assert (plan.error or "").startswith(error or "")
        said = io.StringIO()
        print_plan(plan, Console(file=said, width=200))
        assert "Left out: 1 file that _committed_1 does not name: b.csv" in said.getvalue()

    def test_a_directory_of_parts(self, tmp_path: Path) -> None:
        directory = tmp_path / "customers"
        directory.mkdir()
        write_export(directory / "part-0.csv", "u1,gold,1", "u2,gold,2")
        write_export(directory / "part-1.csv", ",gold,1", "u1,a & b,3")
        told = planned(directory, export={"max_rejects": "100%"}).as_json()
        assert [(part["name"], part["rows"]) for part in told["export"]["parts"]] == [
            ("part-0.csv", 2),
            ("part-1.csv", 2),
        ]
        assert (told["rows"]["confirmed"], told["rows"]["superseded"], told["batches"]) == (2, 1, 1)
        assert told["rejects"]["first_lines"] == {"local.empty_id": [2]}
        assert told["rejects"]["first_parts"] == {"local.empty_id": ["part-1.csv"]}
        cut = next(each for each in told["naive_sender"] if each["name"] == "rows_cut_off")
        assert (cut["first_line"], cut["first_part"]) == (3, "part-1.csv")

    def test_a_columnar_file(self, tmp_path: Path) -> None:
        parquet = pytest.importorskip("pyarrow.parquet")
        table = pytest.importorskip("pyarrow").table({"id": ["u1", "u2"], "ltv": [1.5, None]})
        parquet.write_table(table, tmp_path / "e.parquet")
        told = planned(tmp_path / "e.parquet")
        assert (told.export.kind, told.export.encoding, told.export.delimiter) == ("Parquet file", "", "")
        assert [(column.name, column.fill_rate) for column in told.columns] == [("id", 1.0), ("ltv", 0.5)]
        assert (told.rows.confirmed, told.rows.empty, told.mistakes) == (1, 1, ())


class TestNaiveSender:
    def test_what_it_would_do_wrong(self, tmp_path: Path) -> None:
        export = write_export(
            tmp_path / "e.csv",
            "u1,gold,1",
            "u2,a & b & c,2",
            '"u3","x, y",100%',
            " u4,+1,a=b",
            "3.91E16,gold,1",
            "null,gold,1",
            "id,tier,ltv",
        )
        plan = planned(export, export={"max_rejects": "100%"})
        assert {each.name: (each.count, each.first_line) for each in plan.mistakes} == {
            "rows_cut_off": (3, 3),
            "raw_ampersand": (2, 3),
            "raw_percent": (1, 4),
            "raw_plus": (1, 5),
            "raw_equals": (1, 5),
            "value_with_delimiter": (1, 4),
            "ids_trimmed": (1, 5),
            "id_as_number": (1, 6),
            "id_of_nobody": (1, 7),
            "header_again": (1, 8),
        }

    def test_of_a_plain_export_nothing(self, tmp_path: Path) -> None:
        assert planned(write_export(tmp_path / "e.csv", "u1,gold,1", "u2,silver,2")).mistakes == ()
