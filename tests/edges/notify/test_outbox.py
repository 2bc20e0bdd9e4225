"""The outbox: what waits survives the process, twice is once, what is none of it is left alone, and it is bounded."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.notifications.notification import Notification
from pipeline.edges.notify.outbox import MOST_WAITING, GivenUp, NotTakenYet, Outbox, OutboxNotice
from pipeline.edges.notify.told_file import ExpectedSince, Told, ToldOf, read_told, write_told
from tests.tools.support import fill, names_in, small_disk


def made(name: str, at: str = "2026-11-30T03:00:00+00:00") -> Notification:
    return Notification(name, "done", at, "acme", "default", "acme: done.", {"job": {"rows": {"read": 3}}}, "job")


def test_what_waits_is_there_for_another_process_the_oldest_first(tmp_path: Path) -> None:
    later, sooner = made("a", "2026-11-30T05:00:00+00:00"), made("b", "2026-11-30T04:00:00+00:00")
    for each in (later, sooner):
        Outbox(tmp_path).enter(each)
    assert Outbox(tmp_path).waiting() == [sooner, later]
    Outbox(tmp_path).remove(sooner)
    assert Outbox(tmp_path).waiting() == [later]


def test_entered_twice_it_is_one(tmp_path: Path) -> None:
    for _ in range(2):
        Outbox(tmp_path).enter(made("a"))
    assert Outbox(tmp_path).waiting() == [made("a")]
    assert oct((tmp_path / "outbox" / "a.json").stat().st_mode & 0o777) == "0o600"


def test_one_that_comes_again_is_told_once(tmp_path: Path) -> None:
    """A job in quarantine is met anew at each start; whatever else is entered again is told again."""
    outbox = Outbox(tmp_path)
    for event, waits in (("quarantined", 0), ("overdue", 1)):
        notification = replace(made(f"job-{event}"), event=event)
        for _ in range(2):
            outbox.enter(notification)
            assert outbox.waiting() == [notification]
        outbox.remove(notification)
        assert outbox.waiting() == []
        Outbox(tmp_path).enter(notification)
        assert len(outbox.waiting()) == waits


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"id": "x"}', b"\xff", b"x" * 2_000_000])
def test_what_is_no_notification_is_left_alone(tmp_path: Path, content: bytes) -> None:
    outbox = Outbox(tmp_path)
    outbox.enter(made("a"))
    (tmp_path / "outbox" / "x.json").write_bytes(content)
    (tmp_path / "outbox" / ".b.json.tmp").write_bytes(b"cut off")
    assert outbox.waiting() == [made("a")]


def test_one_under_the_name_of_another_is_none(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.enter(made("a"))
    (tmp_path / "outbox" / "a.json").rename(tmp_path / "outbox" / "b.json")
    assert outbox.waiting() == []


def test_the_oldest_goes_for_one_more(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.enter(made("first"))
    os.utime(tmp_path / "outbox" / "first.json", (1, 1))
    for number in range(MOST_WAITING - 1):
        (tmp_path / "outbox" / f"{number}.json").touch()
    outbox.enter(made("last"))
    names = names_in(tmp_path / "outbox")
    assert len(names) == MOST_WAITING
    assert "last.json" in names
    assert "first.json" not in names


def test_nothing_is_made_where_the_state_directory_is_away(tmp_path: Path) -> None:
    with pytest.raises(FatalError) as caught:
        Outbox(tmp_path / "away").enter(made("a"))
    assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
    assert not (tmp_path / "away").exists()
    assert Outbox(tmp_path / "away").waiting() == []


def test_the_notice(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    assert outbox.notice() == OutboxNotice()
    given_up = GivenUp("a", "failed", "eu", "2026-11-30T03:00:00+00:00", "no answer")
    notice = OutboxNotice({"eu webhook": NotTakenYet("2026-11-30T03:00:00+00:00", "no answer")}, (given_up,))
    outbox.put_up(notice)
    assert Outbox(tmp_path).notice() == notice
    outbox.put_up(OutboxNotice())
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"[]", b'{"failing": []}', b'{"failing": {"a": 1}, "given_up": []}'])
def test_what_is_no_notice(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "outbox.json").write_bytes(content)
    (tmp_path / "told.json").write_bytes(content)
    assert Outbox(tmp_path).notice() == OutboxNotice()
    assert read_told(tmp_path) == Told()


def test_what_was_told(tmp_path: Path) -> None:
    at = "2026-11-30T03:00:00+00:00"
    told = Told({"overdue eu": ToldOf("2026-11-30", at, "eu")}, {"eu": ExpectedSince("05:00 UTC mon", at)})
    assert write_told(tmp_path, told)
    assert read_told(tmp_path) == told
    assert not write_told(tmp_path / "away", told)


def test_a_full_disk(tmp_path: Path) -> None:
    with small_disk(65_536) as disk:
        outbox = Outbox(disk)
        outbox.enter(made("a"))
        fill(disk / "ballast")
        with pytest.raises(FatalError, match="disk is full"):
            outbox.enter(made("b"))
        outbox.put_up(OutboxNotice({"eu webhook": NotTakenYet("", "why")}))
        assert outbox.waiting() == [made("a")]
