"""A soak of seconds: two processes, one of them killed; `make soak` does minutes, and looks for slopes then."""

from tests.tools.faults.soak import soak_for


async def test_seconds_of_exports_faults_and_restarts() -> None:
    soak = await soak_for(6.0, lives=2, seed=3, max_rows=400)
    assert [life.ended_by for life in soak.lives] == ["SIGTERM", "SIGKILL"]
    for life in soak.lives:
        assert min(*life.memory, *life.files, *life.tasks) > 0
        assert len(life.memory) == len(life.files) == len(life.tasks) >= 4
    rows = soak.rows
    assert rows["read"] == soak.writer.rows == sum(soak.made.values())
    assert rows["read"] == sum(count for name, count in rows.items() if name != "read")
    assert (rows["unsent"], len(soak.writer.names) > 3, soak.met.total() > 0) == (0, True, True)
