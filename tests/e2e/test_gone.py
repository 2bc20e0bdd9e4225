"""Ids that a snapshot no longer has are sent what [export] gone says: once, and with what else is remembered."""

from pathlib import Path
from typing import Any

from pipeline.sandbox import Fault, FaultPlan
from tests.tools.support import Bench, Ended, assert_reported, bench, run_program, write_export

SNAPSHOT: dict[str, Any] = {"kind": "snapshot", "gone": {"tier": "none"}, "unlisted": "send", "max_gone": "60%"}
MEMORY = {"remember": "values", "send": "changes"}
#: Each export goes behind the one before it: their batches are released by then.
NO_HOLD = {"ambiguous_hold_s": 0.05}


async def load(at: Bench, day: int, *lines: str, header: str = "id,tier,ltv", **export: Any) -> Ended:
    config = at.config(export={**SNAPSHOT, **export}, memory=MEMORY, settle=NO_HOLD)
    file = write_export(at.directory / f"day{day}.csv", *lines, header=header)
    done = await run_program("load", file, "--config", config, "--json")
    assert_reported(done, at.state)
    return done


async def test_a_week_of_snapshots(tmp_path: Path) -> None:
    async with bench(tmp_path, override="replace") as at:
        assert (await load(at, 1, "u1,gold,1", "u2,silver,2", "u3,bronze,3")).report["rows"]["confirmed"] == 3

        # u2 is gone; u3's row is rejected, so it is here; u4 is new.
        done = await load(at, 2, "u1,gold,1", "u3,bronze", "u4,new,4", max_rejects=5)
        assert done.report["warnings"].get("ids_gone") is None
        assert done.report["warnings"]["gone_unsure"] == 1, "nobody can tell whose a row of too few cells is"

        done = await load(at, 3, "u1,gold,1", "u3,,", "u4,new,4")
        rows = done.report["rows"]
        assert done.report["warnings"]["ids_gone"] == 1, done.report
        assert (rows["read"], rows["confirmed"], rows["unchanged"], rows["empty"]) == (4, 1, 2, 1)
        at.sandbox.apply_all()
        assert at.sandbox.profiles()["u2"] == {"tier": "none", "ltv": "2"}

        # Once only.
        done = await load(at, 4, "u1,gold,1", "u3,bronze,3", "u4,new,4")
        assert (done.report["rows"]["read"], done.report["rows"]["unchanged"]) == (3, 3), done.report

        # Back again, with a row that it had: sent as any change; and gone again.
        done = await load(at, 5, "u1,gold,1", "u2,,2", "u3,bronze,3", "u4,new,4")
        assert (done.report["rows"]["confirmed"], done.report["rows"]["unchanged"]) == (1, 3)
        done = await load(at, 6, "u1,gold,1", "u3,bronze,3", "u4,new,4")
        assert done.report["warnings"]["ids_gone"] == 1

        # More than may be: nothing is sent, and with a higher limit it is.
        done = await load(at, 7, "u1,gold,9", max_gone="50%")
        assert (done.code, done.report["batches"]) == (65, [])
        assert "2 of the 3 ids" in done.report["error"]
        done = await load(at, 7, "u1,gold,9", max_gone=2)
        assert done.report["warnings"]["ids_gone"] == 2
        at.sandbox.apply_all()
        assert at.sandbox.profiles() == {
            "u1": {"tier": "gold", "ltv": "9"},
            "u2": {"tier": "none", "ltv": "2"},
            "u3": {"tier": "none", "ltv": "3"},
            "u4": {"tier": "none", "ltv": "4"},
        }


async def test_what_came_by_a_delta_is_found_once_a_snapshot_had_it(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await load(at, 1, "u1,gold,1", "u2,silver,2", kind="delta", gone={})
        done = await load(at, 2, "u1,gold,1", "u3,x,1")
        # Of u2 nobody knows that it ever was in a snapshot; u1 says nothing new, and is sent to note that it is.
        assert done.report["warnings"].get("ids_gone") is None
        assert done.report["rows"]["confirmed"] == 2
        done = await load(at, 3, "u3,x,1")
        assert done.report["warnings"]["ids_gone"] == 1


async def test_a_column_that_the_export_has_not(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await load(at, 1, "u1,1", "u2,2", header="id,ltv")
        done = await load(at, 2, "u1,1", header="id,ltv")
        assert done.report["warnings"]["ids_gone"] == 1
        at.sandbox.apply_all()
        assert at.sandbox.profiles()["u2"] == {"tier": "none", "ltv": "2"}


async def test_an_id_whose_row_is_not_sent_is_not_gone(tmp_path: Path) -> None:
    (tmp_path / "salt").write_text("a salt")
    mapping = {
        "salt_file": str(tmp_path / "salt"),
        "id": {"case": "lower", "hash": "sha256"},
        "exclude": {"ltv": ["left out"]},
    }
    async with bench(tmp_path) as at:
        for day, lines in enumerate(
            (["U1,gold,1", "U2,x,2", "U3,x,3", "U4,x,4"], ["u1,gold,1", "u2,x,left out", ",,1"])
        ):
            config = at.config(export={**SNAPSHOT, "max_rejects": 5}, memory=MEMORY, settle=NO_HOLD, mapping=mapping)
            file = write_export(tmp_path / f"{day}.csv", *lines)
            done = await run_program("load", file, "--config", config, "--json")
        rows = done.report["rows"]
        assert (done.code, done.report["warnings"]["ids_gone"]) == (0, 2), done.said
        assert (rows["read"], rows["confirmed"], rows["unchanged"], rows["excluded"], rows["rejected"]) == (
            5,
            2,
            1,
            1,
            1,
        )


async def test_an_id_whose_row_failed_is_still_to_be_told(tmp_path: Path) -> None:
    faults = FaultPlan(posts={2: Fault.FAIL_ROWS}, failing_ids=frozenset(["u2"]))
    async with bench(tmp_path, faults=faults) as at:
        await load(at, 1, "u1,gold,1", "u2,silver,2")
        done = await load(at, 2, "u1,gold,1")
        assert (done.report["warnings"]["ids_gone"], done.report["rows"]["failed"]) == (1, 1)
        done = await load(at, 3, "u1,gold,1", "")
        assert (done.report["warnings"]["ids_gone"], done.report["rows"]["confirmed"]) == (1, 1)
        done = await load(at, 4, "u1,gold,1", "", "")
        assert done.report["warnings"].get("ids_gone") is None
