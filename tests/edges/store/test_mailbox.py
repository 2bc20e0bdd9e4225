"""Requests to the process that holds the state directory: whole files, each answered once."""

import os
import pwd
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.core.errors import ExitCode, FatalError
from pipeline.edges.store.mailbox import Answer, Mailbox, Request, named_user
from tests.tools.support import names_in

DONE = Answer("done")


def put_by_hand(state: Path, name: str, content: bytes) -> Path:
    file = state / "requests" / name
    file.write_bytes(content)
    return file


def age(state: Path, request_id: str, seconds: int) -> None:
    os.utime(state / "requests" / f"{request_id}.request", (seconds, seconds))


def test_a_request_is_answered_across_two_mailboxes(tmp_path: Path) -> None:
    asker, holder = Mailbox(tmp_path), Mailbox(tmp_path)
    request_id = asker.ask("abandon", "j1")
    assert asker.take_answer(request_id) is None
    (request,) = holder.requests()
    assert request == Request(request_id, "abandon", "j1")
    holder.answer(request, Answer("é"))
    assert holder.requests() == []
    assert asker.take_answer(request_id) == Answer("é")
    assert asker.take_answer(request_id) is None
    assert names_in(tmp_path / "requests") == []


@pytest.mark.parametrize(
    ("answer", "written"),
    [
        (Answer("done"), {"ok": True, "told": "done"}),
        (Answer("no", ExitCode.USAGE), {"ok": False, "told": "no", "exit_code": 64}),
    ],
)
def test_an_answer_as_other_versions_read_it(tmp_path: Path, answer: Answer, written: dict[str, Any]) -> None:
    mailbox = Mailbox(tmp_path)
    request_id = mailbox.ask("pause", None)
    mailbox.answer(mailbox.requests()[0], answer)
    assert orjson.loads((tmp_path / "requests" / f"{request_id}.answer").read_bytes()) == written
    assert mailbox.take_answer(request_id) == answer


def test_a_request_about_no_job(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    request_id = mailbox.ask("pause", None)
    assert mailbox.requests() == [Request(request_id, "pause", None)]


def test_a_request_stays_until_it_is_answered(tmp_path: Path) -> None:
    Mailbox(tmp_path).ask("pause", None)
    assert len(Mailbox(tmp_path).requests()) == len(Mailbox(tmp_path).requests()) == 1


def test_requests_of_one_tick_of_the_file_system_keep_their_order(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    asked = [mailbox.ask(command, None) for command in ("pause", "resume") * 10]
    for file in (tmp_path / "requests").iterdir():
        os.utime(file, (1_000_000_000, 1_000_000_000))
    assert [request.request_id for request in mailbox.requests()] == asked


def test_the_oldest_comes_first(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    asked = [mailbox.ask("retry", f"j{number}") for number in range(6)]
    assert len(set(asked)) == 6
    ages = {request_id: (number * 5) % 6 for number, request_id in enumerate(asked)}
    for request_id, seconds in ages.items():
        age(tmp_path, request_id, 1_000 + seconds)
    assert [request.request_id for request in mailbox.requests()] == sorted(asked, key=lambda each: ages[each])


def test_answers_go_to_who_asked(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    first, second = mailbox.ask("retry", "j1"), mailbox.ask("retry", "j2")
    for request in mailbox.requests():
        if request.job == "j2":
            mailbox.answer(request, Answer("no", ExitCode.USAGE))
    assert mailbox.take_answer(first) is None
    assert mailbox.take_answer(second) == Answer("no", ExitCode.USAGE)
    assert [request.job for request in mailbox.requests()] == ["j1"]


def test_a_request_can_be_withdrawn_until_it_is_answered(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    request_id = mailbox.ask("pause", None)
    assert mailbox.withdraw(request_id)
    assert mailbox.requests() == []
    assert not mailbox.withdraw(request_id)
    answered = mailbox.ask("pause", None)
    mailbox.answer(mailbox.requests()[0], DONE)
    assert not mailbox.withdraw(answered)
    assert mailbox.take_answer(answered) == DONE


def test_a_request_withdrawn_meanwhile_may_be_answered_all_the_same(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    request_id = mailbox.ask("pause", None)
    (request,) = mailbox.requests()
    mailbox.withdraw(request_id)
    mailbox.answer(request, DONE)
    assert mailbox.take_answer(request_id) == DONE


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b"7", b'"pause"', b"{}", b'{"command": "pause"}', b'{"job": "j1"}', b"\xff\xfe"],
)
def test_files_that_are_no_requests_are_left_alone(tmp_path: Path, content: bytes) -> None:
    mailbox = Mailbox(tmp_path)
    file = put_by_hand(tmp_path, "strange.request", content)
    request_id = mailbox.ask("pause", None)
    assert [request.request_id for request in mailbox.requests()] == [request_id]
    assert file.read_bytes() == content


def test_a_job_that_is_no_text_is_some_job(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    put_by_hand(tmp_path, "strange.request", b'{"command": "abandon", "job": {"id": 7}}')
    assert [request.job for request in mailbox.requests()] == ["{'id': 7}"]


def test_other_files_and_unfinished_ones_are_no_requests(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    content = orjson.dumps({"command": "pause", "job": None})
    for name in ("a.answer", "a.request.tmp", ".a.request.tmp", "request", "a.txt"):
        put_by_hand(tmp_path, name, content)
    (tmp_path / "requests" / "folder.request").mkdir()
    assert mailbox.requests() == []
    put_by_hand(tmp_path, "by-hand.request", content)
    assert mailbox.requests() == [Request("by-hand", "pause", None)]


def test_a_request_that_is_withdrawn_while_they_are_listed(tmp_path: Path) -> None:
    """A link to nothing: it is listed, and then it is not there."""
    mailbox = Mailbox(tmp_path)
    request_id = mailbox.ask("pause", None)
    (tmp_path / "requests" / "gone.request").symlink_to("nowhere")
    assert [request.request_id for request in mailbox.requests()] == [request_id]


def test_everything_is_for_the_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        mailbox = Mailbox(tmp_path / "state")
        mailbox.ask("pause", None)
        answered = mailbox.ask("resume", None)
        mailbox.answer(Request(answered, "resume", None), DONE)
    finally:
        os.umask(before)
    directory = tmp_path / "state" / "requests"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {oct(file.stat().st_mode & 0o777) for file in directory.iterdir()} == {"0o600"}
    assert sorted(file.suffix for file in directory.iterdir()) == [".answer", ".request"]


@pytest.mark.parametrize("kind", ["request", "taken", "answer"])
def test_what_is_no_file_is_neither_waited_for_nor_followed(tmp_path: Path, kind: str) -> None:
    mailbox = Mailbox(tmp_path)
    pipe, link, device, folder, loop, long = (tmp_path / "requests" / f"{n}.{kind}" for n in range(6))
    os.mkfifo(pipe)
    (tmp_path / "elsewhere").write_bytes(b'{"command": "pause", "job": null}')
    link.symlink_to(tmp_path / "elsewhere")
    device.symlink_to("/dev/zero")
    folder.mkdir()
    loop.symlink_to(loop)
    with long.open("wb") as file:
        file.truncate(1 << 40)
    request_id = mailbox.ask("resume", None)
    assert mailbox.requests() == [Request(request_id, "resume", None)]
    assert mailbox.taken() == []
    if kind == "answer":
        for number in (0, 1, 2, 3, 5):
            with pytest.raises(FatalError, match="cannot take the answer") as failure:
                mailbox.take_answer(str(number))
            assert failure.value.exit_code is ExitCode.DISK_OR_LEDGER
        mailbox.remove_answers(before_s=4e9)
        assert folder.exists()
        assert (tmp_path / "elsewhere").exists()


def test_who_asks_is_told(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    mailbox.ask("approve", "j1", by="anna (uid 7)")
    (request,) = mailbox.requests()
    assert (request.command, request.job, request.by) == ("approve", "j1", "anna (uid 7)")
    # As an earlier version, or somebody by hand, writes it; and as nobody does.
    (tmp_path / "requests" / "0.request").write_text('{"command": "pause", "job": null}')
    (tmp_path / "requests" / "1.request").write_bytes(
        orjson.dumps({"command": "pause", "job": None, "by": "x" * 9_999})
    )
    said = {request.request_id: request.by for request in mailbox.requests()}
    assert (said["0"], said["1"]) == ("", "x" * 100)


def test_a_user_is_named_where_there_is_a_name() -> None:
    assert named_user(os.getuid()) == f"{pwd.getpwuid(os.getuid()).pw_name} (uid {os.getuid()})"
    assert named_user(4_242_424) == "uid 4242424"
