"""The mailbox: requests to the process that holds a state directory, and its answers; small files in `STATE/requests`.

A request is `ID.request` (JSON), put in place whole, behind `ID.given` if a file goes with it. The holder renames it to
`ID.taken`, carries it out once, and writes `ID.answer`. So a command works while another process holds the directory,
even from another container that shares it, and without a port.
"""

import pwd
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from pipeline.core.errors import ExitCode
from pipeline.edges.durable import disk_error, make_directory, read_file, write_durably

#: Bytes; requests and answers have some hundred.
_MAX_BYTES = 65_536
#: Characters of the name of who asks; a user's name has 32 at most.
_MOST_OF_A_NAME = 100


@dataclass(frozen=True, slots=True)
class Request:
    """A request of a command.

    `job`: the id of the job that it is about, or None.
    `given`: a file that came with it, or None; it goes with the answer.
    `by`: who asks, as the command that asked could tell; empty if not known.
    """

    request_id: str
    command: str
    job: str | None
    given: Path | None = None
    by: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request.

    `told`: in words, what was done, or why nothing was.
    `exit_code`: the exit code for the command that asked, or None if the request was carried out.
    """

    told: str
    exit_code: ExitCode | None = None

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Answer":
        """Rebuild an answer from the values of `as_json`."""
        return cls(values["told"], None if values["ok"] else ExitCode(values["exit_code"]))

    def as_json(self) -> dict[str, Any]:
        """This answer as plain values, for its file."""
        if self.exit_code is None:
            return {"ok": True, "told": self.told}
        return {"ok": False, "told": self.told, "exit_code": int(self.exit_code)}


def named_user(uid: int) -> str:
    """A user of this machine by login name and number, as `anna (uid 1000)`; by the number alone without a name."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        # As in a container that runs as any number.
        return f"uid {uid}"


class Mailbox:
    """The requests of a state directory. All methods block."""

    def __init__(self, state: Path) -> None:
        self._directory = state / "requests"
        make_directory(self._directory)

    def ask(self, command: str, job: str | None, given: Iterable[bytes] | None = None, *, by: str = "") -> str:
        """Leave a request; return its id. `given`: the content of a file that goes with it. `by`: who asks."""
        # File systems note times in steps of milliseconds, in which two requests may come: their ids are in order too.
        request_id = f"{time.time_ns():020}-{secrets.token_hex(4)}"
        if given is not None:
            write_durably(self._file(request_id, "given"), given)
        write_durably(self._file(request_id, "request"), [orjson.dumps({"command": command, "job": job, "by": by})])
        return request_id

    def requests(self) -> list[Request]:
        """The requests that nobody has taken yet, oldest first. Files that are no requests are left alone."""
        found = sorted(self._directory.glob("*.request"), key=lambda file: (_age(file), file.name))
        return [request for file in found if (request := _read(file))]

    def taken(self) -> list[Request]:
        """The requests that were taken and not answered.

        If the caller has just begun to answer, nobody is working on these any more.
        """
        return [request for file in self._directory.glob("*.taken") if (request := _read(file))]

    def take_on(self, request: Request) -> bool:
        """Take a request, so that it is carried out once and cannot be withdrawn; False if it is gone."""
        try:
            self._file(request.request_id, "request").rename(self._file(request.request_id, "taken"))
        except FileNotFoundError:
            return False
        return True

    def answer(self, request: Request, answer: Answer) -> None:
        """Answer a request."""
        write_durably(self._file(request.request_id, "answer"), [orjson.dumps(answer.as_json())])
        for kind in ("request", "taken", "given"):
            self._file(request.request_id, kind).unlink(missing_ok=True)

    def is_answered(self, request_id: str) -> bool:
        """True if there is an answer."""
        return self._file(request_id, "answer").exists()

    def take_answer(self, request_id: str) -> Answer | None:
        """Take the answer to a request out of the mailbox; None while there is none."""
        file = self._file(request_id, "answer")
        if not self.is_answered(request_id):
            return None
        try:
            answer = Answer.from_json(orjson.loads(read_file(file, max_bytes=_MAX_BYTES)))
            file.unlink()
        except OSError as error:
            raise disk_error(error, f"cannot take the answer {file}") from error
        return answer

    def withdraw(self, request_id: str) -> bool:
        """Withdraw a request that nobody has taken; False if it is gone."""
        try:
            self._file(request_id, "request").unlink()
        except FileNotFoundError:
            return False
        self._file(request_id, "given").unlink(missing_ok=True)
        return True

    def forget(self, request_id: str) -> None:
        """Remove a taken request that nobody will answer."""
        for kind in ("taken", "given"):
            self._file(request_id, kind).unlink(missing_ok=True)

    def remove_answers(self, *, before_s: float) -> None:
        """Remove the answers written before `before_s`, in seconds since 1970."""
        for file in self._directory.glob("*.answer"):
            if _age(file) < before_s * 1e9:
                with suppress(OSError):
                    file.unlink()

    def _file(self, request_id: str, kind: str) -> Path:
        return self._directory / f"{request_id}.{kind}"


def _age(file: Path) -> int:
    try:
        return file.lstat().st_mtime_ns
    except FileNotFoundError:
        # The request was withdrawn meanwhile.
        return 0


def _read(file: Path) -> Request | None:
    try:
        content = orjson.loads(read_file(file, max_bytes=_MAX_BYTES))
        job = content["job"]
        given = file.with_suffix(".given")
        return Request(
            file.stem,
            str(content["command"]),
            None if job is None else str(job),
            given if given.exists() else None,
            # Of an earlier version, or of somebody who asks by hand, nothing is known.
            str(content.get("by", ""))[:_MOST_OF_A_NAME],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
