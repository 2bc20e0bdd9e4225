"""What is signalled and not whole: when it is taken, what waits behind it, and what is said of it."""

import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from pipeline.edges.drop.taking import Taking
from pipeline.edges.drop.writers import is_local
from pipeline.edges.store.notices import read_drops
from tests.service.test_intake import Place, place
from tests.tools.writing import writing


class Silent(Taking):
    """A drop directory on a file system that tells nothing of writers."""

    def writers(self, sources: object) -> dict[str, bool | None]:
        return {}


@pytest.fixture
def tells(tmp_path: Path) -> None:
    if not is_local(tmp_path):
        pytest.skip("the file system of the tests tells nothing of writers")


def grow(at: Place, name: str, *, mtime_s: float | None = None) -> None:
    """Write more; the time of the change may be another one, as programs that keep it set it."""
    file = at.drop / name
    before = file.stat().st_mtime
    with file.open("a") as growing:
        growing.write("more\n")
    os.utime(file, (mtime_s or before, mtime_s or before))


@pytest.mark.parametrize("kind", [Taking, Silent])
async def test_an_export_that_was_still_before_its_signal_is_taken_at_the_first_look(
    tmp_path: Path, kind: type[Taking]
) -> None:
    async with place(tmp_path, kind) as at:
        at.put("a.csv", "a.csv.ready")
        os.utime(at.drop / "a.csv", (999_999_998.0, 999_999_998.0))
        at.put("day/part-0", "day/part-1", age_s=11.0)
        at.put("day/_SUCCESS", age_s=8.0)
        now = 1_000_000_000 - 8.0
        os.utime(at.drop / "day", (now, now + 0.5))
        assert len(await at.look()) == 2
        assert (at.intake.waiting, at.intake.look_in_s) == ([], math.inf)
        assert read_drops(at.state.directory).drops_waiting == ()


@pytest.mark.parametrize("kind", [Taking, Silent])
@pytest.mark.parametrize("age_s", [0.0, 0.001, 1.9])
async def test_one_that_changed_just_before_its_signal_is_looked_at_once_more(
    tmp_path: Path, kind: type[Taking], age_s: float
) -> None:
    """Its writer may only pause, with the file open or closed."""
    async with place(tmp_path, kind) as at:
        with capture_logs() as logs:
            at.put("a.csv", "a.csv.ready", "b.csv", "b.csv.ready")
            os.utime(at.drop / "a.csv", (1_000_000_000 - age_s, 1_000_000_000 - age_s))
            assert await at.look() == []
            assert at.intake.look_in_s == pytest.approx(2.0)
            assert at.intake.waiting == ["a.csv.ready"]
            assert read_drops(at.state.directory).drops_waiting == (), "that is usual"
            at.seconds[0] = 1.5
            grow(at, "a.csv")
            assert await at.look() == []
            at.seconds[0] = 3.4
            assert await at.look() == []
            at.seconds[0] = 3.5
            assert await at.look() == ["a.csv", "b.csv"]
        assert not [event for event in logs if event["event"] == "export_not_whole" and "just" in event["why"]]


async def test_a_long_wait_behind_a_change_just_before_the_signal_is_told(tmp_path: Path) -> None:
    async with place(tmp_path, settle_s=600.0) as at:
        at.put("a.csv", "a.csv.ready")
        with capture_logs() as logs:
            assert await at.look() == []
        assert [event["why"] for event in logs] == ["a.csv changed just before its signal"]
        (told,) = read_drops(at.state.directory).drops_waiting
        assert told.why == "a.csv changed just before its signal"


@pytest.mark.parametrize("kind", [Taking, Silent])
async def test_an_export_that_never_is_still_does_not_hold_up_others_for_ever(
    tmp_path: Path, kind: type[Taking]
) -> None:
    async with place(tmp_path, kind) as at:
        at.put("a.csv", age_s=-1.0)
        at.put("a.csv.ready", "b.csv", "b.csv.ready", age_s=0.0)
        os.utime(at.drop / "b.csv", (999_999_990.0, 999_999_990.0))
        for second in range(960):
            at.seconds[0] = second
            if second % 30 == 0:
                assert await at.look() == [], second
            grow(at, "a.csv")
        at.seconds[0] = 960
        assert await at.look() == ["(a.csv)", "b.csv"]
        claim = at.state.ledger.jobs()[0].claim
        assert claim is not None
        assert "has changed again and again for 960 s after its signal: nothing was sent" in str(claim.error)


@pytest.mark.parametrize("kind", [Taking, Silent])
@pytest.mark.parametrize("newer_s", [0.001, 5.0, 10**9])
async def test_an_export_that_is_newer_than_its_signal_waits_until_it_is_still(
    tmp_path: Path, kind: type[Taking], newer_s: float
) -> None:
    """However far its time is from the clock of this machine: a share may have another."""
    async with place(tmp_path, kind) as at:
        at.put("a.csv", age_s=-newer_s)
        at.put("a.csv.ready", age_s=0.0)
        assert await at.look() == []
        assert at.intake.waiting == ["a.csv.ready"]
        assert at.intake.look_in_s == pytest.approx(2.0)
        at.seconds[0] = 1.9
        assert await at.look() == []
        grow(at, "a.csv")
        assert await at.look() == [], "it begins anew"
        at.seconds[0] = 3.8
        assert await at.look() == []
        at.seconds[0] = 4.0
        assert await at.look() == ["a.csv"]
        assert read_drops(at.state.directory).drops_waiting == ()


async def test_an_export_that_grows_and_keeps_its_time_waits_where_nobody_tells_of_writers(tmp_path: Path) -> None:
    async with place(tmp_path, Silent) as at:
        at.put("a.csv", age_s=1_000.0)
        await at.look()
        grow(at, "a.csv")
        at.put("a.csv.ready")
        at.seconds[0] = 1.0
        assert await at.look() == []
        at.seconds[0] = 2.9
        grow(at, "a.csv")
        assert await at.look() == []
        at.seconds[0] = 4.9
        assert await at.look() == ["a.csv"]


@pytest.mark.usefixtures("tells")
async def test_what_grew_while_it_was_looked_at_is_taken_at_once_where_its_writer_is_seen_to_be_gone(
    tmp_path: Path,
) -> None:
    """A large export is written over several looks; its signal comes at once behind it."""
    async with place(tmp_path) as at:
        at.put("a.csv", age_s=9.0)
        await at.look()
        grow(at, "a.csv")
        at.put("a.csv.ready")
        assert await at.look() == ["a.csv"]


@pytest.mark.usefixtures("tells")
async def test_a_writer_that_pauses_is_waited_for_and_keeps_its_place(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        with writing(at.drop / "a.csv") as writer, capture_logs() as logs:
            writer.write("id\n1\n")
            at.put("a.csv.ready", "b.csv", "b.csv.ready")
            os.utime(at.drop / "a.csv", (999_999_990.0, 999_999_990.0))
            for second in (0, 1, 50):
                at.seconds[0] = second
                assert await at.look() == [], "nothing overtakes it"
            assert at.intake.waiting == ["a.csv.ready"]
            (said,) = [event for event in logs if event["event"] == "export_not_whole"]
            assert said["why"] == "a.csv is open for writing in another process"
            assert (said["wait_s"], said["others_in_the_drop_directory"]) == (60.0, 1)
            (told,) = read_drops(at.state.directory).drops_waiting
            assert (told.name, told.why) == ("a.csv.ready", said["why"])
            assert told.since < told.until
            writer.write("2\n")
            at.seconds[0] = 55
            assert await at.look() == []
            at.seconds[0] = 114
            assert await at.look() == [], "it has grown: it may take as long again"
            writer.close()
            at.seconds[0] = 115
            os.utime(at.drop / "a.csv", (999_999_990.0, 999_999_990.0))
            assert await at.look() == ["a.csv", "b.csv"]
            assert (tmp_path / "drop" / ".processing").exists()
        assert read_drops(at.state.directory).drops_waiting == ()


@pytest.mark.usefixtures("tells")
async def test_a_writer_that_never_closes_its_file_fails_the_drop(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        with writing(at.drop / "a.csv") as writer:
            writer.write("id\n1\n")
            at.put("a.csv.ready", "b.csv", "b.csv.ready")
            assert await at.look() == []
            at.seconds[0] = 60
            assert await at.look() == ["(a.csv)", "b.csv"]
            job = at.state.ledger.jobs()[0]
            assert job.claim is not None
            assert "is still open for writing in another process" in str(job.claim.error)
            assert "60 s" in str(job.claim.error)
            assert job.export.read_text() == "id\n1\n", "it is kept"


@pytest.mark.usefixtures("tells")
@pytest.mark.parametrize("rest", ["", "0"])
async def test_a_signal_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path, rest: str) -> None:
    async with place(tmp_path) as at:
        at.put("a.csv", age_s=9.0)
        with writing(at.drop / "a.csv.ready") as writer:
            writer.write("rows=1")
            assert await at.look() == []
            writer.write(rest)
            at.seconds[0] = 5.0
            assert await at.look() == []
            writer.close()
            assert await at.look() == ["a.csv"]
        (job,) = at.state.ledger.jobs()
        assert job.claim is not None
        assert job.claim.manifest.rows == int("1" + rest)


@pytest.mark.parametrize("kind", [Taking, Silent])
@pytest.mark.parametrize("beginning", ['{"rows": ', "rows"])
async def test_a_manifest_that_is_cut_off_may_become_whole(tmp_path: Path, kind: type[Taking], beginning: str) -> None:
    async with place(tmp_path, kind) as at:
        at.put("a.csv", age_s=9.0)
        signal = at.drop / "a.csv.ready"
        signal.write_text(beginning)
        assert await at.look() == []
        assert at.intake.waiting == ["a.csv.ready"]
        at.seconds[0] = 1.0
        signal.write_text(beginning + (" 2}" if "{" in beginning else "=2"))
        await at.look()
        at.seconds[0] = 3.0
        assert await at.look() == ["a.csv"]
        (job,) = at.state.ledger.jobs()
        assert job.claim is not None
        assert job.claim.manifest.rows == 2


async def test_a_manifest_that_stays_cut_off_fails_the_drop(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        at.put("a.csv", age_s=9.0)
        (at.drop / "a.csv.ready").write_text('{"rows": ')
        assert await at.look() == []
        at.seconds[0] = 2.0
        assert await at.look() == ["(a.csv.ready)"]


async def test_lines_are_not_trusted_at_once_where_nobody_tells_of_writers(tmp_path: Path) -> None:
    """The beginning of lines may be whole lines."""
    async with place(tmp_path, Silent) as at:
        for name, manifest in (("a", "rows=1\n"), ("b", '{"rows": 1}'), ("c", " \n")):
            at.put(f"{name}.csv", age_s=10**9)
            (at.drop / f"{name}.csv.ready").write_text(manifest)
        (at.drop / "a.csv.ready").touch()
        for name in ("b", "c"):
            os.utime(at.drop / f"{name}.csv.ready", (9.0, 9.0))
        assert await at.look() == ["b.csv", "c.csv"]
        at.seconds[0] = 2.0
        assert await at.look() == ["b.csv", "c.csv", "a.csv"]


def _one_more_part(at: Place) -> None:
    at.put("day/part-1", age_s=10.0)


def _a_part_grows(at: Place) -> None:
    grow(at, "day/part-0", mtime_s=1_000_000_500.0)


@pytest.mark.parametrize("change", [_one_more_part, _a_part_grows])
async def test_a_subdirectory_into_which_files_come_after_its_signal_waits(
    tmp_path: Path, change: Callable[[Place], None]
) -> None:
    """A copy of a directory brings `_SUCCESS` before the parts, as its name is first."""
    async with place(tmp_path) as at:
        at.put("day/part-0", "day/_SUCCESS", age_s=10.0)
        assert await at.look() == []
        at.seconds[0] = 1.0
        change(at)
        assert await at.look() == []
        at.seconds[0] = 2.0
        assert await at.look() == []
        at.seconds[0] = 3.0
        assert await at.look() == ["day"]
        assert len(at.state.ledger.jobs()[0].parts) == (2 if change is _one_more_part else 1)


async def test_the_part_of_a_drop_that_is_not_whole_holds_all_of_them(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        at.put("a.csv", age_s=9.0)
        at.put("b.csv", age_s=-9.0)
        (at.drop / "both.ready").write_text('{"files": ["a.csv", "b.csv"]}')
        os.utime(at.drop / "both.ready", (1_000_000_000, 1_000_000_000))
        assert await at.look() == []
        (told,) = read_drops(at.state.directory).drops_waiting
        assert told.why == "b.csv is newer than its signal"
        at.seconds[0] = 2.0
        assert await at.look() == ["both"]


async def test_without_a_time_to_settle_only_writers_are_waited_for(tmp_path: Path) -> None:
    async with place(tmp_path, settle_s=0.0) as at:
        at.put("a.csv", age_s=-9.0)
        at.put("a.csv.ready")
        assert await at.look() == ["a.csv"]


async def test_the_reason_is_logged_once_until_it_is_another(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        with capture_logs() as logs:
            at.put("a.csv.ready")
            await at.look()
            at.put("a.csv", age_s=-9.0)
            for second in range(4):
                at.seconds[0] = second / 4
                await at.look()
                grow(at, "a.csv")
        assert [event["event"] for event in logs] == ["signal_without_export", "export_not_whole"]
        assert at.intake.waiting == ["a.csv.ready"]


async def test_what_waits_is_told_with_its_time(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        at.put("a.csv.ready")
        await at.look()
        (told,) = read_drops(at.state.directory).drops_waiting
        assert (told.name, told.why) == ("a.csv.ready", "without a.csv")
        (at.drop / "a.csv.ready").unlink()
        await at.look()
        assert read_drops(at.state.directory).drops_waiting == ()


async def test_a_notice_that_the_disk_refused_is_for_the_heartbeat_and_is_written_later(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        at.put("a.csv.ready")
        # No file can take the place of a directory.
        in_the_way = at.state.directory / "drops.json"
        in_the_way.mkdir()
        await at.look()
        untold = at.intake.untold
        assert untold is not None
        assert [each.name for each in untold.drops_waiting] == ["a.csv.ready"]
        in_the_way.rmdir()
        await at.look()
        assert at.intake.untold is None
        assert read_drops(at.state.directory) == untold
