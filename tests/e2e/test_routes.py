"""Several client codes and drop directories in one service, each client code with a sandbox of its own."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.edges.store.ledger_file import owner_of
from pipeline.sandbox import Fault, FaultPlan, MistakeKind
from tests.tools.dropping import events
from tests.tools.faults.loading import check_left_over
from tests.tools.routing import Routes, routing
from tests.tools.support import SIX_ROWS, Process, ended, profiles_after, run_program, started, until, write_export

NEVER: dict[str, Any] = {"apply_min_s": 600.0, "apply_max_s": 600.0}


async def stopped(process: Process) -> Any:
    process.send_signal(signal.SIGTERM)
    done = await ended(process)
    assert (done.code, done.out) == (0, ""), done.said
    return done


class TestSideBySide:
    async def test_each_has_its_own_target_mapping_ledger_and_budget(self, tmp_path: Path) -> None:
        async with routing(tmp_path, "acme", "other", acme=NEVER) as at:
            mapping: dict[str, Any] = {"export__columns": {"tier": "level"}, "export__unlisted": "ignore"}
            eu, us = at.add("eu", "acme"), at.add("us", "other", target__calls_per_minute=50_000, **mapping)
            at.config()
            async with at.serving() as process:
                eu.put("a.csv", "e1,gold,1")
                await until(lambda: at.at["acme"].sandbox.calls["statuses"])
                # One waits for its Target, the other goes on meanwhile.
                us.put("a.csv", "u1,gold,1")
                await until(lambda: at.ends("other") == {"a.csv": "done"})
                assert at.ends("acme") == {}
                at.at["acme"].sandbox.apply_all()
                await until(lambda: at.ends("acme") == {"a.csv": "done"})
                done = await stopped(process)
            assert at.profiles("acme") == {"e1": {"tier": "gold", "ltv": "1"}}
            assert at.profiles("other") == {"u1": {"level": "gold"}}
            for code in ("acme", "other"):
                owner = owner_of(at.state(code) / "ledger.db")
                assert (owner and owner.client_code) == code
                assert {event["client_code"] for event in events(done, "load_started")} == {"acme", "other"}
            assert at.left() == []

    async def test_jobs_of_a_client_code_are_in_order_over_its_drop_directories(self, tmp_path: Path) -> None:
        async with routing(tmp_path, "acme", "other") as at:
            one, two, other = at.add("one", "acme"), at.add("two", "acme"), at.add("three", "other")
            at.config()
            for age, (route, name) in enumerate(((two, "a"), (one, "c"), (two, "b"), (other, "d"), (one, "e"))):
                route.put(f"{name}.csv", f"u,{name},")
                os.utime(route.directory / f"{name}.csv.ready", (1_000_000_000 + age, 1_000_000_000 + age))
            assert (await at.run("serve", "--drain")).code == 0
            assert list(at.ends("acme")) == ["a.csv", "c.csv", "b.csv", "e.csv"]
            assert at.profiles("acme")["u"]["tier"] == "e"
            for route, name, number in ((one, "x", 3), (two, "y", 1), (one, "z", 2)):
                route.put(f"{name}.csv", f"u,{name},", manifest=f"sequence={number}")
            assert (await at.run("serve", "--drain")).code == 0
            assert list(at.ends("acme"))[4:] == ["y.csv", "z.csv", "x.csv"]
            assert at.profiles("acme")["u"]["tier"] == "x"
            two.put("late.csv", "u,late,", manifest="sequence=2")
            assert (await at.run("serve", "--drain")).code == 65

    async def test_routes_of_one_client_code_have_each_their_own_mapping_limits_and_retention(
        self, tmp_path: Path
    ) -> None:
        faults = {"acme": FaultPlan(posts={1: Fault.FAIL_ROWS}, failing_rows=2)}
        async with routing(tmp_path, "acme", faults=faults) as at:
            mapping: dict[str, Any] = {"export__columns": {"tier": "level"}, "export__unlisted": "ignore"}
            one = at.add("one", "acme", batch__max_rows=6, settle__max_lost="100%")
            two = at.add("two", "acme", batch__max_rows=1, drop__keep_exports="always", **mapping)
            at.config()
            one.put("a.csv", *SIX_ROWS)
            assert (await at.run("serve", "--drain")).code == 0
            two.put("b.csv", "v1,gold,1", "v2,gold,1")
            assert (await at.run("serve", "--drain")).code == 0
            (first, second) = at.reports("acme")
            assert (first["rows"]["failed"], len(first["batches"]), len(second["batches"])) == (2, 1, 2)
            assert (second["columns_sent"], second["state"]) == (["level"], "done")
            kept = [file.relative_to(at.state("acme")).parts[1] for file in at.state("acme").glob("jobs/*/drop/*.csv")]
            assert kept == [second["job"]]
            # A retry is loaded as the route of its job says.
            assert (await at.run("retry", first["job"])).code == 0
            third = at.reports("acme")[-1]
            assert (third["rows"]["confirmed"], len(third["batches"])) == (2, 1)
            assert [job["route"] for job in (await at.status())["jobs"]] == ["one", "two", "one"]
            two.keys["drop.keep_reports_days"] = 0.0
            at.config()
            assert (await at.run("prune")).code == 0
            assert [report["job"] for report in at.reports("acme")] == [first["job"], third["job"]]
            assert at.profiles("acme") == profiles_after(*SIX_ROWS) | {"v1": {"level": "gold"}, "v2": {"level": "gold"}}

    async def test_dates_in_names_are_each_routes_own(self, tmp_path: Path) -> None:
        async with routing(tmp_path, "acme") as at:
            daily, weekly = (at.add(name, "acme", drop__as_of=r"_(\d{8})") for name in ("daily", "weekly"))
            at.config()
            daily.put("customers_20261122.csv", "u,daily,")
            assert (await at.run("serve", "--drain")).code == 0
            weekly.put("orders_20261115.csv", "u,weekly,")
            assert (await at.run("serve", "--drain")).code == 0
            daily.put("customers_20261115.csv", "u,old,")
            assert (await at.run("serve", "--drain")).code == 65
            assert at.profiles("acme")["u"]["tier"] == "weekly"

    async def test_a_signal_without_its_export_holds_up_the_other_drop_directory_too(self, tmp_path: Path) -> None:
        async with routing(tmp_path, "acme", "other") as at:
            one, two, three = (
                at.add("one", "acme", drop__signal_wait_s=600.0),
                at.add("two", "acme"),
                at.add("3", "other"),
            )
            at.config()
            async with at.serving() as process:
                (one.directory / "a.csv.ready").write_text("")
                assert process.stderr
                async with asyncio.timeout(20):
                    while b"signal_without_export" not in (line := await process.stderr.readline()):
                        pass
                assert orjson.loads(line)["route"] == "one"
                two.put("b.csv", "u,b,")
                three.put("c.csv", "u,c,")
                await until(lambda: at.ends("other") == {"c.csv": "done"})
                assert at.ends("acme") == {}
                one.put("a.csv", "u,a,", manifest=None)
                await until(lambda: at.ends("acme") == {"a.csv": "done", "b.csv": "done"})
                await stopped(process)
            assert list(at.ends("acme")) == ["a.csv", "b.csv"]
            assert at.profiles("acme")["u"]["tier"] == "b"

    async def test_draining_ends_with_the_worst_code_of_all(self, tmp_path: Path) -> None:
        faults = {"acme": FaultPlan(posts={1: Fault.FAIL_ROWS})}
        async with routing(tmp_path, "acme", "other", faults=faults) as at:
            eu, us = at.add("eu", "acme"), at.add("us", "other")
            at.config()
            eu.put("a.csv", "a,gold,1")
            us.put("b.csv", "b,gold,1", manifest="rows=9")
            us.put("c.csv", "c,gold,1")
            done = await at.run("serve", "--drain")
            assert done.code == 76, done.said
            assert (at.ends("acme"), at.ends("other")) == (
                {"a.csv": "incomplete"},
                {"b.csv": "failed", "c.csv": "done"},
            )


class TestWhatHoldsUpOne:
    async def test_a_refused_token_holds_up_no_other(self, tmp_path: Path) -> None:
        token = tmp_path / "token"
        token.write_text("wrong")
        async with routing(tmp_path, "acme", "other", other={"token": "right"}) as at:
            eu, us = at.add("eu", "acme"), at.add("us", "other", target__token_file=str(token))
            at.config()
            async with at.serving() as process:
                us.put("a.csv", *SIX_ROWS)
                await until(lambda: (at.state("other") / "service.json").exists())
                eu.put("b.csv", *SIX_ROWS)
                await until(lambda: at.ends("acme") == {"b.csv": "done"})
                acme, other = (await at.status())["client_codes"]
                assert (acme["client_code"], acme["paused_by_itself"]) == ("acme", None)
                assert (other["client_code"], other["paused_by_itself"]["exit_code"]) == ("other", 77)
                people = (await at.run("status")).out
                assert "Target refuses the token" in people.partition("other")[2]
                token.write_text("right")
                await until(lambda: at.ends("other") == {"a.csv": "done"})
                done = await stopped(process)
            (paused,) = events(done, "service_paused")
            assert paused["client_code"] == "other"
            at.at["other"].sandbox.apply_all()
            assert at.at["other"].sandbox.profiles() == profiles_after(*SIX_ROWS)
            assert {each.kind for each in at.at["other"].sandbox.mistakes} <= {MistakeKind.WRONG_TOKEN}

    async def test_a_drop_directory_that_is_away(self, tmp_path: Path) -> None:
        """The other one of the same client code is looked into all the same."""
        async with routing(tmp_path, "acme") as at:
            one, two = at.add("one", "acme"), at.add("two", "acme")
            at.config()
            async with at.serving() as process:
                one.directory.rename(tmp_path / "away")
                two.put("b.csv", "u,b,")
                await until(lambda: at.ends("acme") == {"b.csv": "done"})
                (tmp_path / "away").rename(one.directory)
                one.put("a.csv", "u,a,")
                await until(lambda: len(at.ends("acme")) == 2)
                done = await stopped(process)
            assert (
                f"cannot look into the drop directory {one.directory}"
                in events(done, "signals_not_looked_for")[0]["why"]
            )

    async def test_a_damaged_ledger_is_that_of_its_client_code_and_tried_again(self, tmp_path: Path) -> None:
        async with routing(tmp_path, "acme", "other") as at:
            eu, us = at.add("eu", "acme"), at.add("us", "other")
            at.config()
            assert (await at.run("serve", "--drain")).code == 0
            ledger = at.state("other") / "ledger.db"
            whole = ledger.read_bytes()
            ledger.write_bytes(b"x" * 10_000)
            eu.put("a.csv", *SIX_ROWS)
            us.put("b.csv", *SIX_ROWS)
            drained = await at.run("serve", "--drain")
            assert (drained.code, at.ends("acme"), at.ends("other")) == (74, {"a.csv": "done"}, {}), drained.said
            (event,) = events(drained, "client_code_not_served")
            assert (event["client_code"], event["exit_code"], event["again_in_s"]) == ("other", 74, None)
            assert "other/ledger.db cannot be used" in event["why"]
            async with started("serve", "--config", at.file) as process:
                eu.put("c.csv", *SIX_ROWS)
                await until(lambda: at.ends("acme").get("c.csv") == "done")
                health = await run_program("health", "--config", at.file)
                assert (health.code, "other/ledger.db cannot be used" in health.out) == (0, True), health.said
                # It is let go meanwhile, so that somebody can mend it.
                ledger.write_bytes(whole)
                await until(lambda: at.ends("other") == {"b.csv": "done"}, within_s=40.0)
                await stopped(process)

    async def test_where_no_ledger_can_be_used_the_process_ends(self, tmp_path: Path) -> None:
        async with routing(tmp_path, "acme", "other") as at:
            at.add("eu", "acme")
            at.add("us", "other")
            at.config()
            assert (await at.run("serve", "--drain")).code == 0
            for code in ("acme", "other"):
                (at.state(code) / "ledger.db").write_bytes(b"x" * 10_000)
            done = await at.run("serve")
            assert (done.code, "ledger.db cannot be used" in done.err) == (74, True), done.said


class TestStopping:
    async def test_running_posts_of_all_get_their_grace_and_no_other_is_begun(self, tmp_path: Path) -> None:
        codes = ("acme", "other")
        slow = {code: FaultPlan(posts={1: Fault.SLOW}, slow_bytes_s=40.0) for code in codes}
        async with routing(tmp_path, *codes, faults=slow) as at:
            for code in codes:
                at.add(f"of-{code}", code).put("a.csv", *SIX_ROWS)
            at.config(batch={"max_rows": 2}, upload={"concurrency": 1}, service={"grace_s": 20.0})
            async with at.serving() as process:
                await until(lambda: all(at.at[code].sandbox.calls["posts"] for code in codes))
                done = await stopped(process)
            assert sorted(event["client_code"] for event in events(done, "batch_accepted")) == list(codes)
            assert [at.at[code].sandbox.calls["posts"] for code in codes] == [1, 1]


class TestGoingOn:
    async def test_after_a_kill_with_both_under_way(self, tmp_path: Path) -> None:
        quick = {"apply_min_s": 0.2, "apply_max_s": 0.4}
        async with routing(tmp_path, "acme", "other", acme=quick, other=quick) as at:
            one, two, us = at.add("one", "acme"), at.add("two", "acme"), at.add("us", "other", batch__max_rows=1)
            at.config(batch={"max_rows": 2}, settle={"status_window": 1})
            repeated = (*SIX_ROWS, "u0,silver,", "u5,,99")
            for route in (one, us):
                route.put("a.csv", *repeated)
            two.put("b.csv", "u0,later,", "u6,gold,6")
            sandboxes = [at.at[code].sandbox for code in ("acme", "other")]
            for _ in range(3):
                calls = [sandbox.calls["posts"] for sandbox in sandboxes]
                async with at.serving() as process:
                    await until(
                        lambda calls=calls: all(  # type: ignore[misc]
                            sandbox.calls["posts"] > before for sandbox, before in zip(sandboxes, calls, strict=True)
                        )
                    )
                    process.kill()
                    assert (await ended(process)).code == -9
            done = await at.run("serve", "--drain")
            assert done.code == 0, done.said
            assert (list(at.ends("acme")), list(at.ends("other"))) == (["a.csv", "b.csv"], ["a.csv"])
            assert at.profiles("acme") == profiles_after(*repeated, "u0,later,", "u6,gold,6")
            assert at.profiles("other") == profiles_after(*repeated)
            for code in ("acme", "other"):
                check_left_over(at.state(code))
            (report,) = at.reports("other")
            assert {batch["rows"] for batch in report["batches"]} == {1}, "by the limits of its own route"
            assert at.left() == []

    async def test_with_a_job_of_a_route_that_was_removed(self, tmp_path: Path) -> None:
        async with routing(tmp_path, "acme", acme=NEVER) as at:
            kept, removed = at.add("kept", "acme"), at.add("removed", "acme", drop__keep_exports="always")
            at.config()
            async with at.serving() as process:
                removed.put("a.csv", *SIX_ROWS)
                await until(lambda: at.at["acme"].sandbox.calls["statuses"])
                await stopped(process)
            del at.routes["removed"]
            at.config()
            kept.put("b.csv", "u0,later,")
            at.at["acme"].sandbox.apply_all()
            async with at.serving() as process:

                def are_loaded() -> bool:
                    at.at["acme"].sandbox.apply_all()
                    return len(at.ends("acme")) == 2

                await until(are_loaded)
                removed.put("c.csv", "u0,never,")
                done = await stopped(process)
            assert list(at.ends("acme")) == ["a.csv", "b.csv"]
            assert [event["route"] for event in events(done, "job_of_a_removed_route")] == ["removed"]
            assert at.profiles("acme") == profiles_after(*SIX_ROWS, "u0,later,")
            assert not any((removed.directory / ".processing").glob("2*")), "what was taken is settled there too"

    async def test_with_a_job_of_a_drop_directory_that_is_another_client_codes_by_now(self, tmp_path: Path) -> None:
        async with routing(tmp_path, "acme", "other", acme=NEVER) as at:
            moved = at.add("moved", "acme")
            at.add("us", "other")
            at.config()
            async with at.serving() as process:
                moved.put("a.csv", *SIX_ROWS)
                await until(lambda: at.at["acme"].sandbox.calls["statuses"])
                await stopped(process)
            moved.client_code = "other"
            at.config()
            at.at["acme"].sandbox.apply_all()
            moved.put("b.csv", "u0,later,")
            done = await at.run("serve", "--drain")
            assert done.code == 0, done.said
            assert (list(at.ends("acme")), list(at.ends("other"))) == (["a.csv"], ["b.csv"])
            assert (at.profiles("acme"), at.profiles("other")) == (profiles_after(*SIX_ROWS), {"u0": {"tier": "later"}})
            assert at.left() == []

    async def test_with_jobs_of_a_client_code_that_has_no_route_any_more(self, tmp_path: Path) -> None:
        async with routing(tmp_path, "acme", "other", other=NEVER) as at:
            at.add("eu", "acme")
            us = at.add("us", "other")
            at.config()
            async with at.serving() as process:
                us.put("a.csv", *SIX_ROWS)
                await until(lambda: at.at["other"].sandbox.calls["statuses"])
                await stopped(process)
            del at.routes["us"]
            at.config()
            done = await at.run("serve", "--drain")
            (told,) = events(done, "client_code_without_route")
            assert (done.code, told["client_code"], told["unfinished_jobs"]) == (0, "other", 1), done.said
            assert "1 unfinished job of client code other" in (await at.run("status")).out
            (left,) = (await at.status())["without_route"]
            assert (left["client_code"], left["unfinished"]) == ("other", 1)
            at.routes["us"] = us
            at.config()
            at.at["other"].sandbox.apply_all()
            assert (await at.run("serve", "--drain")).code == 0
            assert at.profiles("other") == profiles_after(*SIX_ROWS)

    async def test_a_configuration_that_gets_routes_keeps_its_ledger(self, tmp_path: Path) -> None:
        async with routing(tmp_path, "acme", "other") as at:
            eu = at.add("eu", "acme")
            whole = at.config(drop={"directory": str(eu.directory)}).read_text().partition("[[routes]]")[0]
            at.file.write_text(whole)
            eu.put("a.csv", "u,first,")
            assert (await at.run("serve", "--drain")).code == 0
            at.add("us", "other")
            eu.put("b.csv", "u,second,")
            at.config()
            assert (await at.run("serve", "--drain")).code == 0
            assert list(at.ends("acme")) == ["a.csv", "b.csv"]

    @pytest.mark.parametrize("is_begun_by_routes", [True, False])
    async def test_a_ledger_is_not_begun_anew_elsewhere(self, tmp_path: Path, is_begun_by_routes: bool) -> None:
        async with routing(tmp_path, "acme") as at:
            eu = at.add("eu", "acme", export__id_column="id")
            with_top = at.config().read_text()
            without_top = with_top.replace('client_code = "acme"\n', "", 1)
            assert without_top.count('client_code = "acme"') == 1
            eu.put("a.csv", "u,first,")
            texts = (without_top, with_top) if is_begun_by_routes else (with_top, without_top)
            at.file.write_text(texts[0])
            assert (await at.run("serve", "--drain")).code == 0
            at.file.write_text(texts[1])
            for command in ("serve", "pause"):
                done = await at.run(command)
                assert (done.code, "the ledger of client code 'acme' is in" in done.err) == (78, True), done.said


class TestCommands:
    async def test_they_find_their_job_in_whichever_ledger_has_it(self, tmp_path: Path) -> None:
        faults = {"other": FaultPlan(posts={1: Fault.FAIL_ROWS}, failing_rows=3)}
        async with routing(tmp_path, "acme", "other", faults=faults, acme=NEVER) as at:
            eu, us = at.add("eu", "acme"), at.add("us", "other")
            at.config()
            async with at.serving() as process:
                eu.put("a.csv", *SIX_ROWS)
                us.put("b.csv", *SIX_ROWS)
                await until(lambda: at.ends("other") == {"b.csv": "incomplete"})
                await until(lambda: at.at["acme"].sandbox.calls["statuses"])
                (ours,) = (await at.status())["client_codes"][0]["jobs"]
                assert (ours["state"], ours["route"]) == ("unfinished", "eu")
                (theirs,) = at.reports("other")
                assert (await at.status(theirs["job"]))["client_code"] == "other"
                unknown = await at.run("retry", "nonsense")
                assert (unknown.code, "there is no job 'nonsense'" in unknown.err) == (64, True), unknown.said
                done = await at.run("pause")
                assert [line.partition(":")[0] for line in done.out.splitlines()] == ["acme", "other"]
                assert [each["is_paused"] for each in (await at.status())["client_codes"]] == [True, True]
                assert (await at.run("resume")).code == 0
                assert "3 rows of job" in (await at.run("retry", theirs["job"])).out
                await until(lambda: len(at.ends("other")) == 2)
                assert (await at.run("abandon", ours["job"])).code == 0
                at.at["acme"].sandbox.apply_all()
                await until(lambda: at.ends("acme") == {"a.csv": "done"})
                await stopped(process)
            at.config(drop={"keep_reports_days": 0.0})
            assert (await at.run("prune")).code == 0
            assert (at.reports("acme"), at.reports("other")) == ([], [])

    async def test_load(self, tmp_path: Path) -> None:
        async with routing(tmp_path, "acme", "other") as at:
            at.add("us", "other", export__columns={"tier": "level"}, export__unlisted="ignore")
            at.config(export={"unlisted": "send"})
            export = write_export(tmp_path / "a.csv", "u1,gold,1")
            assert (await at.run("load", str(export))).code == 0
            assert (await at.run("load", str(export), "--route", "us")).code == 0
            assert at.profiles("acme") == {"u1": {"tier": "gold", "ltv": "1"}}
            assert at.profiles("other") == {"u1": {"level": "gold"}}
            # The same content by another route of the same client code is not the same.
            at.add("eu", "acme", export__columns={"tier": "level"}, export__unlisted="ignore")
            at.config(export={"unlisted": "send"})
            for _ in range(2):
                assert (await at.run("load", str(export), "--route", "eu")).code == 0
            assert at.profiles("acme") == {"u1": {"tier": "gold", "ltv": "1", "level": "gold"}}
            assert len(at.reports("acme")) == 2
            unknown = await at.run("load", str(export), "--route", "uk")
            assert (unknown.code, "no route 'uk'; there are" in unknown.err) == (78, True), unknown.said
            tried = await run_program("load", export, "--sandbox", "--route", "us", "--config", at.file, "--json")
            assert (tried.code, tried.report["columns_sent"]) == (0, ["level"]), tried.said

    async def test_check(self, tmp_path: Path) -> None:
        async with routing(tmp_path, "acme", "other") as at:
            at.add("eu", "acme")
            us = at.add("us", "other", target__token_file=str(tmp_path / "missing"))
            at.config()
            us.directory.rmdir()
            done = await run_program("config", "check", "--config", at.file)
            assert done.code == 78, done.said
            lines = [line.strip() for line in done.out.splitlines()]
            assert any(line.startswith("problem  us: [target] token_file: ") for line in lines), done.out
            assert any(line.startswith("problem  us: [drop] directory: ") for line in lines), done.out
            assert any(line.startswith("ok  eu: [drop] directory: ") for line in lines), done.out
            assert sum("[target] base_url" in line for line in lines) == 2, "once for each client code"


class TestHangup:
    async def reloaded(self, process: Process) -> dict[str, Any]:
        """What the log says of the configuration that is there now."""
        process.send_signal(signal.SIGHUP)
        assert process.stderr
        async with asyncio.timeout(20):
            while True:
                line: dict[str, Any] = orjson.loads(await process.stderr.readline())
                if line["event"].startswith("configuration_"):
                    return line

    async def test_another_configuration_is_taken_for_what_comes(self, tmp_path: Path) -> None:
        async with routing(tmp_path, "acme", "other") as at:
            eu, us = at.add("eu", "acme"), at.add("us", "other")
            at.config()
            async with at.serving() as process:
                us.put("a.csv", "u1,gold,1")
                await until(lambda: at.ends("other") == {"a.csv": "done"})
                us.keys = {"export.columns": {"tier": "level"}, "export.unlisted": "ignore", "batch.max_rows": 1}
                at.config(service={"grace_s": 3.0})
                told = await self.reloaded(process)
                assert told["event"] == "configuration_taken", told
                named = ["[export] columns", "[export] unlisted", "[batch] max_rows"]
                assert set(told["changed"]) == {f"{key} of route us" for key in named} | {"[service] grace_s"}
                us.put("b.csv", "u2,gold,1", "u3,gold,1")
                eu.put("b.csv", "u2,gold,1", "u3,gold,1")
                await until(lambda: len(at.ends("other")) == 2 and len(at.ends("acme")) == 1)
                await stopped(process)
            assert at.profiles("other") == {
                "u1": {"tier": "gold", "ltv": "1"},
                "u2": {"level": "gold"},
                "u3": {"level": "gold"},
            }
            assert at.profiles("acme") == profiles_after("u2,gold,1", "u3,gold,1")
            assert len(at.reports("other")[1]["batches"]) == 2

    async def test_a_bad_one_is_refused_and_the_one_before_kept(self, tmp_path: Path) -> None:
        async with routing(tmp_path, "acme") as at:
            eu = at.add("eu", "acme")
            good = at.config().read_text()
            async with at.serving() as process:
                for text, why in (
                    (good + "batch.max_rows = 0\n", "[[routes]] eu: [batch] max_rows = 0"),
                    (good + "bath.max_rows = 1\n", "unknown section; did you mean [batch]?"),
                    (good + "[[", "is not valid TOML"),
                    (f"{good}drop.as_of = '(a){{99999999999}}'\n", "[drop] as_of"),
                    (f"{good}drop.extra = {'[' * 100_000}\n", "is not valid TOML"),
                ):
                    # What is good in it is not taken either.
                    at.file.write_text(text.replace('unlisted = "send"', 'unlisted = "stop"'))
                    told = await self.reloaded(process)
                    assert (told["event"], why in told["why"]) == ("configuration_refused", True), told
                eu.put("a.csv", "u1,gold,1")
                await until(lambda: at.ends("acme") == {"a.csv": "done"})
                await stopped(process)

    async def test_what_cannot_change_while_it_runs_is_named(self, tmp_path: Path) -> None:
        async with routing(tmp_path, "acme") as at:
            eu = at.add("eu", "acme")
            good = at.config().read_text()
            (tmp_path / "elsewhere").mkdir()
            moved = good.replace(str(eu.directory), str(tmp_path / "elsewhere"))
            added = f'{good}[[routes]]\nname = "us"\ndrop.directory = "{tmp_path / "elsewhere"}"\n'
            async with at.serving() as process:
                for text, why in (
                    (moved, "[drop] directory of route eu"),
                    (good.replace('name = "eu"', 'name = "uk"'), "route uk is new; route eu is gone"),
                    (added, "route us is new"),
                    (good.replace("min_free_bytes = 0", "min_free_bytes = 1"), "[state] min_free_bytes"),
                    (
                        good.replace(f'directory = "{tmp_path / "state"}"', f'directory = "{tmp_path / "s2"}"'),
                        "[state] dire",
                    ),
                    (good.replace('client_code = "acme"', 'client_code = "b"'), "[target] client_code of route eu"),
                ):
                    at.file.write_text(text.replace('unlisted = "send"', 'unlisted = "stop"'))
                    told = await self.reloaded(process)
                    assert (told["event"], why in told["why"]) == ("configuration_refused", True), told
                eu.put("a.csv", "u1,gold,1")
                await until(lambda: at.ends("acme") == {"a.csv": "done"})
                await stopped(process)

    async def test_another_token_file_ends_the_wait_for_one(self, tmp_path: Path) -> None:
        for name in ("wrong", "right"):
            (tmp_path / name).write_text(name)
        async with routing(tmp_path, "acme", acme={"token": "right"}) as at:
            eu = at.add("eu", "acme", target__token_file=str(tmp_path / "wrong"))
            at.config(target={"token_file": str(tmp_path / "wrong"), "base_url": at.at["acme"].base_url})
            async with at.serving() as process:
                eu.put("a.csv", *SIX_ROWS)
                await until(lambda: (at.state("acme") / "service.json").exists())
                eu.keys["target.token_file"] = str(tmp_path / "right")
                at.config(target={"token_file": str(tmp_path / "right"), "base_url": at.at["acme"].base_url})
                assert (await self.reloaded(process))["event"] == "configuration_taken"
                await until(lambda: at.ends("acme") == {"a.csv": "done"})
                await stopped(process)


def test_the_helper_names_where_ledgers_are(tmp_path: Path) -> None:
    routes = Routes(tmp_path, {"acme": None, "other": None})  # type: ignore[dict-item]
    assert routes.state("acme") == tmp_path / "state"
    assert routes.state("other") == tmp_path / "state" / "clients" / "other"
