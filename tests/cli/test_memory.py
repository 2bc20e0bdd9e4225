"""What the commands say of the memory, and do about it."""

from pathlib import Path

from tests.tools.support import bench, run_program

CHANGES = {"remember": "digests", "send": "changes"}


async def test_of_a_memory_that_is_looked_at_damaged_and_rebuilt(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        config = at.config(memory=CHANGES)

        async def told(*command: str) -> str:
            done = await run_program(*command, "--config", config)
            return f"{done.code} {done.out}{done.err}"

        assert '"memory":null' in await told("status", "--json")
        assert (await at.load("u1,gold,1", "u2,gold,2", memory=CHANGES)).report["rows"]["confirmed"] == 2
        assert "Remembered (digests): 2 ids, 0.0 MB, the oldest since 20" in await told("status")
        assert '"memory":{"remember":"digests","ids":2,"bytes":' in await told("status", "--json")
        assert (await at.load("u1,gold,1", "u2,gold,2", memory=CHANGES)).report["rows"]["unchanged"] == 2
        assert '"forgotten":0' in await told("prune", "--json")

        (file,) = (at.state / "memory").iterdir()
        file.write_bytes(file.read_bytes()[:-1])
        for command in ("status", "prune", "memory rebuild"):
            said = await told(*command.split())
            assert said[0] == ("7" if command == "prune" else "0"), said
            assert ("damaged" in said) == (command != "memory rebuild"), said
        assert (await at.load("u1,gold,1", "u2,gold,2", memory=CHANGES)).report["rows"]["confirmed"] == 2

        # Another kind, and what it does not know.
        values = at.config(memory={"remember": "values"})
        assert (await run_program("load", at.export("u3,gold,1"), "--config", values)).code == 78
        assert (await at.load("u3,gold,1")).code == 0
        at.config(memory=CHANGES)
        assert "The memory is behind: rows were sent that it does not know." in await told("status")
        assert "lacks what was sent" in await told("load", str(tmp_path / "export.csv"))
        assert '"request":"memory_rebuild"' in await told("memory", "rebuild", "--json")
        assert "no id yet" not in await told("status"), "an empty memory says nothing"
        assert (await at.load("u3,gold,1", memory=CHANGES)).code == 0
