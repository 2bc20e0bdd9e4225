"""Trials in the sandbox say that nothing went to Target, judge as in earnest, and leave nothing that nobody needs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from aiohttp import web

from tests.tools.support import Ended, bench, names_in, run_program, write_export

SAID = "Sent to the sandbox, not to Target."


async def tried(directory: Path, export: Path, *options: str, id_column: str = "id") -> Ended:
    env = {"TMPDIR": str(directory / "tmp"), "COLUMNS": "500"}
    (directory / "tmp").mkdir(exist_ok=True)
    return await run_program("load", export, "--sandbox", "--id-column", id_column, *options, env=env)


class TestLabel:
    async def test_of_a_trial(self, tmp_path: Path) -> None:
        export = write_export(tmp_path / "e.csv", "u1,gold,1")
        table, told = await tried(tmp_path, export), await tried(tmp_path, export, "--json")
        assert (table.code, told.code) == (0, 0)
        assert SAID in table.out
        assert told.report["target"] == "sandbox"
        events = [orjson.loads(line) for line in told.err.splitlines()]
        assert [event["target"] for event in events if event["event"] == "load_finished"] == ["sandbox"]
        assert any(event["event"] == "sent_to_sandbox_not_to_target" for event in events)

    async def test_of_a_configuration_whose_base_url_is_a_sandbox(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            export, config = at.export("u1,gold,1"), at.config()
            told = await run_program("load", export, "--config", config, "--json")
            table = await run_program("load", export, "--again", "--config", config)
        assert told.report["target"] == "sandbox"
        assert SAID in table.out
        page = (at.state / "jobs" / told.report["job"] / "report.html").read_text()
        assert SAID in page
        assert "Adobe Target" not in page
        assert (
            orjson.loads((at.state / "jobs" / told.report["job"] / "report.json").read_bytes())["target"] == "sandbox"
        )

    async def test_of_an_export_that_was_loaded_into_it_already(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            export, config = at.export("u1,gold,1"), at.config()
            await run_program("load", export, "--config", config)
            told = await run_program("load", export, export, "--config", config, "--json")
            table = await run_program("load", export, "--config", config)
            gone = await run_program("load", tmp_path / "gone.csv", "--config", config, "--json")
        assert [orjson.loads(line)["target"] for line in told.out.splitlines()] == ["sandbox"] * 2
        assert "It was sent to the sandbox, not to Target." in table.out
        assert gone.report["target"] == at.base_url

    async def test_of_the_same_export_twice(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            export = at.export("u1,gold,1")
            told = await run_program("load", export, export, "--config", at.config(), "--json")
        reports = [orjson.loads(line) for line in told.out.splitlines()]
        assert [(report["state"], report["target"]) for report in reports] == [
            ("done", "sandbox"),
            ("skipped", "sandbox"),
        ]

    async def test_of_a_job_whose_last_run_hears_nothing(self, tmp_path: Path) -> None:
        async with bench(tmp_path, apply_min_s=600.0, apply_max_s=600.0) as at:
            command = ("load", at.export("u1,gold,1"), "--config", at.config(), "--json", "--wait")
            first = await run_program(*command, "1.5")
        # The sandbox has ended.
        second = await run_program(*command, "0.3")
        assert [done.report["state"] for done in (first, second)] == ["unfinished"] * 2
        assert [done.report["target"] for done in (first, second)] == ["sandbox"] * 2

    @pytest.mark.parametrize("name", [None, "nginx", "profile-pipeline"])
    async def test_not_of_another_server_on_loopback(self, tmp_path: Path, name: str | None) -> None:
        """A tunnel to Target is on loopback too."""
        async with bench(tmp_path) as at, disguised(at.base_url, name) as url:
            config = at.config(target={"base_url": url})
            done = await run_program("load", at.export("u1,gold,1"), "--config", config, "--json")
            table = await run_program("load", at.export("u2,gold,1"), "--config", config)
        assert done.report["target"] == url
        assert SAID not in table.out
        assert SAID not in (at.state / "jobs" / done.report["job"] / "report.html").read_text()


@asynccontextmanager
async def disguised(base_url: str, name: str | None) -> AsyncIterator[str]:
    """A server that passes calls on, and answers under a name of its own."""
    import aiohttp

    async with aiohttp.ClientSession() as session:

        async def pass_on(request: web.Request) -> web.Response:
            async with session.request(
                request.method,
                base_url + request.path_qs,
                data=await request.read(),
                headers={"Content-Type": request.headers.get("Content-Type", "")},
            ) as answer:
                # The status is asked for at the same place.
                text = (await answer.text()).replace(base_url, str(request.url.origin()))
                return web.Response(text=text, status=answer.status, headers={"Server": name} if name else {})

        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", pass_on)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


class TestWhatIsLeft:
    async def test_nothing_where_all_is_well(self, tmp_path: Path) -> None:
        table = await tried(tmp_path, write_export(tmp_path / "e.csv", "u1,gold,1"))
        assert names_in(tmp_path / "tmp") == []
        assert "Folder" not in table.out

    @pytest.mark.parametrize("options", [(), ("--json",)])
    async def test_rejects_are_left_and_it_is_said_where(self, tmp_path: Path, options: tuple[str, ...]) -> None:
        rows = [f"u{number},gold,1" for number in range(200)]
        done = await tried(tmp_path, write_export(tmp_path / "e.csv", *rows, "u/1,gold,1"), *options)
        assert done.code == 0
        (left,) = (tmp_path / "tmp").iterdir()
        assert names_in(left) == ["jobs"], "no ledger, no spool"
        (folder,) = (left / "jobs").iterdir()
        assert "rejects.jsonl" in names_in(folder)
        assert str(folder) in (done.err if options else done.out)

    async def test_nothing_among_real_outcomes(self, tmp_path: Path) -> None:
        """Nor is the token of the real Target asked for."""
        async with bench(tmp_path) as at:
            outcomes, export = tmp_path / "outcomes", at.export("u1,gold,1", "u/2,gold,1")
            config = at.config(
                drop={"outcome_directory": str(outcomes)}, target={"token_file": "none"}, export={"max_rejects": 5}
            )
            (tmp_path / "tmp").mkdir()
            env = {"TMPDIR": str(tmp_path / "tmp")}
            done = await run_program("load", export, "--sandbox", "--config", config, "--json", env=env)
        assert (done.code, done.report["target"]) == (0, "sandbox")
        assert not outcomes.exists()
        assert not at.state.exists()


class TestIdColumn:
    async def test_rejects_are_judged_as_in_earnest(self, tmp_path: Path) -> None:
        done = await tried(tmp_path, write_export(tmp_path / "e.csv", "u1,gold,1", "u/2,gold,1"), "--json")
        assert done.code == 65
        assert "[export] max_rejects = 1%" in done.report["error"]

    @pytest.mark.parametrize(
        ("typed", "hint"),
        [
            ("customer id", "Did you mean 'Customer Id'?"),
            ("Customer-Id", "Did you mean 'Customer Id'?"),
            ("CustomerId ", "Did you mean 'Customer Id'?"),
            ("email", "Is the first line of the file its header?"),
        ],
    )
    async def test_a_wrong_one(self, tmp_path: Path, typed: str, hint: str) -> None:
        export = write_export(tmp_path / "e.csv", "u1,gold", header="Customer Id,Tier")
        done = await tried(tmp_path, export, id_column=typed)
        told = await tried(tmp_path, export, "--json", id_column=typed)
        assert done.code == told.code == 65
        assert f"--id-column {typed!r} is not one of the 2 columns in the header of e.csv. {hint}" in done.err
        assert "[export]" not in done.err
        assert told.report["state"] == "failed"
        assert names_in(tmp_path / "tmp") == []

    async def test_a_first_line_that_is_no_header_is_not_shown(self, tmp_path: Path) -> None:
        export = write_export(tmp_path / "e.csv", "MARK2,gold", header="MARK1,MARKVALUE")
        done = await tried(tmp_path, export, id_column="id")
        assert done.code == 65
        assert "MARK" not in done.said

    async def test_the_exports_behind_it_are_tried(self, tmp_path: Path) -> None:
        wrong = write_export(tmp_path / "wrong.csv", "u1,gold", header="key,tier")
        right = write_export(tmp_path / "right.csv", "u1,gold,1")
        env = {"TMPDIR": str(tmp_path)}
        done = await run_program("load", wrong, right, "--sandbox", "--id-column", "id", "--json", env=env)
        first, second = map(orjson.loads, done.out.splitlines())
        assert (first["state"], second["state"], done.code) == ("failed", "done", 65)

    async def test_every_column_is_sent(self, tmp_path: Path) -> None:
        header = "id,tier,Loyalty tier,profile.x,mbox,1st"
        done = await tried(tmp_path, write_export(tmp_path / "e.csv", "u1,1,2,3,4,5", header=header), "--json")
        assert done.code == 0, done.said
        assert len(done.report["columns_sent"]) == 5

    async def test_columns_that_cannot_be_sent_are_said(self, tmp_path: Path) -> None:
        """By their places: a name that is there twice, or none, says nothing of which is meant."""
        export = write_export(tmp_path / "e.csv", "u1,1,2,3,4,5", header="id,tier,,x,x, ")
        done = await tried(tmp_path, export, "--json")
        assert (done.code, done.report["columns_sent"]) == (0, ["tier"]), done.said
        (event,) = [event for line in done.err.splitlines() if (event := orjson.loads(line))["level"] == "warning"]
        assert (event["event"], event["fields"]) == ("columns_not_sent", [3, 4, 5, 6])
