"""A plan with a memory equals what a load of the same export comes to, and changes nothing of the memory."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import ConfigurationError
from pipeline.jobs.survey.planning import plan_export
from tests.simulation.loop import run_virtually
from tests.simulation.staged import staged

FIRST = ["u1,gold,Ulm", "u2,tin,", "u3,iron,Rome", "u2,,Kiel", "u4,gold,Bari"]
SECOND = ["u1,gold,", "u2,tin,Kiel", "u3,iron,Turin", "u5,new,Oslo", "u3,,Rome", "u4,gold,Bari", ",x,y"]
OTHER = ["u1,7", "u9,8", "u1,7"]


@pytest.mark.parametrize(
    ("remember", "send", "unchanged"),
    [("digests", "changes", 3), ("values", "changes", 4), ("values", "all", 0), ("digests", "all", 0)],
)
def test_a_plan_equals_a_load(tmp_path: Path, remember: str, send: str, unchanged: int) -> None:
    memory = {"remember": remember, "send": send}
    files = {"first": ["id,tier,city", *FIRST], "second": ["id,tier,city", *SECOND], "other": ["id,zip", *OTHER]}
    exports = []
    for name, lines in files.items():
        exports.append(tmp_path / f"{name}.csv")
        exports[-1].write_text("\n".join(lines) + "\n")

    async def plan_and_load() -> list[tuple[dict[str, Any], dict[str, Any]]]:
        found = []
        async with staged(tmp_path) as stage:
            for export in exports:
                sections: dict[str, Any] = {"memory": memory, "export": {"max_rejects": "50%"}}
                before = _files_of(stage.state)
                plan = await plan_export(export, stage.settings(**sections), stage.host)
                assert _files_of(stage.state) == before
                (report,) = await stage.load_all(export, **sections)
                found.append((plan.as_json(), report))
        return found

    found = run_virtually(plan_and_load())
    for plan, report in found:
        assert plan["rows"] == {name: count for name, count in report["rows"].items() if name in plan["rows"]}
        assert plan["batches"] == len(report["batches"])
        assert plan["spool_bytes"] == sum(batch["bytes"] + 20 * batch["rows"] for batch in report["batches"])
    assert found[1][1]["rows"]["unchanged"] == unchanged


def test_a_memory_that_a_load_would_refuse_a_plan_refuses_too(tmp_path: Path) -> None:
    export = tmp_path / "first.csv"
    export.write_text("\n".join(["id,tier,city", *FIRST]) + "\n")

    async def plan_for_another_target() -> None:
        async with staged(tmp_path) as stage:
            await stage.load_all(export, memory={"remember": "values"})
            sections: dict[str, Any] = {"memory": {"remember": "digests"}}
            with pytest.raises(ConfigurationError, match=r'made with .*remember = "values"'):
                await plan_export(export, stage.settings(**sections), stage.host)
            sections = {"memory": {"remember": "values"}, "target": {"base_url": "http://127.0.0.1:9"}}
            with pytest.raises(ConfigurationError, match=r"names http://127\.0\.0\.1:9 now"):
                await plan_export(export, stage.settings(**sections), stage.host)

    run_virtually(plan_for_another_target())


def _files_of(state: Path) -> dict[str, bytes]:
    directory = state / "memory"
    return {file.name: file.read_bytes() for file in directory.iterdir()} if directory.is_dir() else {}
