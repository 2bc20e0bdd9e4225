"""What a job keeps of its [mapping] while it is interrupted, and when an export counts as loaded already."""

import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import FatalError
from pipeline.jobs.job import Job
from tests.simulation.staged import Stage, staged
from tests.simulation.virtually import virtually

ROWS = [f"U{number},gold,{number}" for number in range(60)]
SMALL: dict[str, Any] = {"batch": {"max_rows": 2}}
SALT, OTHER_SALT = b"a salt that is long enough", b"another salt, long enough too"


def has_begun(job: Job) -> bool:
    return len(job.progress.book.settled) > 2


def salted(directory: Path, salt: bytes = SALT) -> dict[str, Any]:
    file = directory / "salt"
    file.write_bytes(salt)
    return {"salt_file": str(file), "id": {"hash": "sha256"}}


def is_skipped(report: dict[str, Any]) -> bool:
    return bool(report["state"] == "skipped")


@virtually
async def test_a_job_keeps_its_mapping(tmp_path: Path) -> None:
    """Another one in the configuration is that of the next job."""
    upper, lower = ({"tier": {"case": case}, "exclude": {"ltv": ["59"]}} for case in ("upper", "lower"))
    async with staged(tmp_path) as stage:
        await stage.load(*ROWS, stop_when=has_begun, mapping=upper, **SMALL)
        done = await stage.load(mapping=lower, **SMALL)
        assert {profile["tier"] for profile in stage.sandbox.profiles().values()} == {"GOLD"}
    assert (done["state"], done["rows"]["confirmed"], done["excluded"]) == ("done", 59, {"ltv": 1})


@virtually
async def test_a_job_goes_on_with_its_salt_wherever_that_lies(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.load(*ROWS, stop_when=has_begun, mapping=salted(tmp_path), **SMALL)
        done = await stage.load(mapping=salted(tmp_path), **SMALL)
        assert {*stage.sandbox.profiles()} == {sha256(SALT + f"U{n}".encode()).hexdigest() for n in range(60)}
    assert done["rows"]["confirmed"] == 60


@virtually
async def test_with_another_salt_a_job_fails_and_sends_nothing_more(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.load(*ROWS, stop_when=has_begun, mapping=salted(tmp_path), **SMALL)
        mapping = salted(tmp_path, OTHER_SALT)
        failed = await stage.load(mapping=mapping, may_fail=True, **SMALL)
        known = {sha256(SALT + f"U{number}".encode()).hexdigest() for number in range(60)}
        assert {*stage.sandbox.profiles()} < known
        assert failed["state"] == "failed"
        assert "is not the one that this job began with" in failed["error"]
        assert OTHER_SALT.decode() not in str(failed)
        again = await stage.load(mapping=mapping)
        assert (again["state"], again["rows"]["confirmed"]) == ("done", 60)


@virtually
@pytest.mark.parametrize("content", [None, b"\n", b"x" * 2_000])
async def test_a_salt_that_cannot_be_used(tmp_path: Path, content: bytes | None) -> None:
    mapping = salted(tmp_path, content or b"")
    if content is None:
        (tmp_path / "salt").unlink()
    async with staged(tmp_path) as stage:
        with pytest.raises(FatalError, match="salt") as caught:
            await stage.load("u1,gold,1", mapping=mapping)
        assert caught.value.exit_code == 78
        assert not stage.posts


async def loaded_twice(stage: Stage, first: Path, second: Path, *mappings: dict[str, Any]) -> bool:
    """True if the second load sent nothing."""
    reports = [await stage.load_all(path, mapping=each) for path, each in zip((first, second), mappings, strict=True)]
    return is_skipped(reports[1][0])


@virtually
async def test_loaded_already_is_the_same_name_or_date_only_where_they_are_sent(tmp_path: Path) -> None:
    day_s = 86_400
    async with staged(tmp_path) as stage:
        first, copy = stage.export("a.csv", *ROWS[:2]), stage.export("b.csv", *ROWS[:2])
        for path in (first, copy):
            os.utime(path, (10 * day_s, 10 * day_s))
        named, dated = {"from_export": {"source": "name"}}, {"from_export": {"as_of": "date"}}
        constant = {"constants": {"source": "crm"}}
        assert not await loaded_twice(stage, first, copy, named, named)
        assert await loaded_twice(stage, first, copy, dated, dated)
        assert await loaded_twice(stage, first, copy, constant, constant)
        os.utime(copy, (12 * day_s, 12 * day_s))
        assert not await loaded_twice(stage, first, copy, dated, dated)
        assert stage.sandbox.profiles()["U0"]["as_of"] == "1970-01-13"
        assert not await loaded_twice(stage, first, copy, constant, {"constants": {"source": "shop"}})
        for salt, is_known in ((SALT, False), (SALT, True), (OTHER_SALT, False)):
            (report,) = await stage.load_all(first, mapping=salted(tmp_path, salt))
            assert is_skipped(report) == is_known


@virtually
async def test_all_kinds_of_exports(tmp_path: Path) -> None:
    """JSON Lines by path, an export without a header by position, and parts."""
    mapping: dict[str, Any] = {"id": {"case": "lower"}, "a.tier": {"case": "upper"}, "exclude": {"ok": ["false", ""]}}
    async with staged(tmp_path) as stage:
        export = tmp_path / "e.jsonl"
        export.write_text('{"id":"U1","a":{"tier":"gold"},"ok":true}\n{"id":"U2","ok":false}\n{"id":"U3"}\n')
        columns = {"columns": {"a.tier": "tier"}, "unlisted": "ignore"}
        (report,) = await stage.load_all(export, export=columns, mapping=mapping)
        assert report["rows"]["excluded"] == 2
        bare = tmp_path / "bare.csv"
        bare.write_text("X1,gold,J\nX2,gold,N\n")
        by_place = {"id_column": "1", "columns": {"2": "tier"}, "unlisted": "ignore", "header": False}
        mapping = {"1": {"case": "lower"}, "2": {"case": "upper"}, "exclude_unless": {"3": ["J"]}}
        await stage.load_all(bare, export=by_place, mapping=mapping)
        (tmp_path / "day").mkdir()
        for number in (1, 2):
            (tmp_path / "day" / f"{number}.csv").write_text(f"id,tier\nP{number},gold\nQ,gold\n")
        mapping = {"id": {"case": "lower"}, "exclude": {"id": ["Q"]}, "from_export": {"source": "name"}}
        (report,) = await stage.load_all(tmp_path / "day", mapping=mapping)
        assert (report["rows"]["excluded"], report["excluded"]) == (2, {"id": 2})
        assert stage.sandbox.profiles() == {
            "u1": {"tier": "GOLD"},
            "x1": {"tier": "GOLD"},
            **{f"p{number}": {"tier": "gold", "source": "day"} for number in (1, 2)},
        }


@virtually
async def test_a_column_that_the_export_does_not_have(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        failed = await stage.load("u1,gold,1", may_fail=True, mapping={"exclude": {"teir": ["gold"]}})
    assert failed["state"] == "failed"
    assert "did you mean 'tier'" in failed["error"]
