"""The outbox: notifications that are to be sent, a small file each in the state directory, until they are.

* `outbox/ID.json`: a notification. It is there before what it tells of is durable (the end of a job), so that a crash
  in between loses none, and goes when a receiver has taken it, or when it is given up. A receiver may get one twice,
  with the same id.
* `outbox/ID.told`: one that is not to be told again, though this program comes upon its event after each start.
* `outbox.json`: what could not be sent, for `status` (`OutboxNotice`).

All functions block.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.notifications.events import COME_AGAIN
from pipeline.core.notifications.notification import Notification
from pipeline.core.plain import of_plain, plain
from pipeline.edges.durable import make_directory, read_file, write_durably

#: Notifications that wait at most; the oldest goes for one more. Ours: so many nobody reads, and they are looked
#: through again and again.
MOST_WAITING = 1_000
#: Notifications given up that `status` tells of.
MOST_GIVEN_UP = 20
#: Bytes of a notification. Ours: a text is cut, and all else are names and counts.
_MOST_BYTES = 1_048_576
_NOTICE, _TOLD = "outbox.json", ".told"

#: The notifications of several that may be told by now; and those that never will.
Sorted = tuple[list[Notification], list[Notification]]


@dataclass(frozen=True, slots=True)
class NotTakenYet:
    """A receiver that does not take notifications: since when (UTC, ISO 8601), and the reason in words."""

    since: str
    why: str


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A notification that nobody took for a day: its id, event and route, when it was given up, and the reason."""

    id: str
    event: str
    route: str
    at: str
    why: str


@dataclass(frozen=True, slots=True)
class OutboxNotice:
    """The notifications that could not be sent. `failing`: by receiver, as `ROUTE webhook` or `ROUTE heartbeat`."""

    failing: Mapping[str, NotTakenYet] = field(default_factory=dict)
    given_up: tuple[GivenUp, ...] = ()


class Outbox:
    """The outbox of a state directory; it keeps nothing in memory."""

    def __init__(self, state: Path) -> None:
        self.directory = state / "outbox"
        self._notice = state / _NOTICE

    def enter(self, notification: Notification) -> None:
        """Keep a notification until it is sent, durably; entered twice, it is one. Raises `FatalError` (74).

        One that comes again is left out if it was told.
        """
        if self._mark(notification.id).exists():
            return
        if not self.directory.parent.is_dir():
            # A disk that is away: what is made in its place would be lost when it is back.
            raise FatalError(f"{self.directory.parent} is not there.", exit_code=ExitCode.DISK_OR_LEDGER)
        make_directory(self.directory)
        names = [file for file in self._files() if file.stem != notification.id]
        if len(names) >= MOST_WAITING:
            oldest = min(names, key=_age)
            with suppress(OSError):
                oldest.unlink()
        write_durably(self._file(notification.id), [orjson.dumps(asdict(notification))])

    def waiting(self) -> list[Notification]:
        """The notifications that are to be sent, the oldest first. What is none is left alone."""
        found = []
        for file in self._files():
            with suppress(OSError, ValueError, LookupError, TypeError):
                notification = Notification.from_json(orjson.loads(read_file(file, max_bytes=_MOST_BYTES)))
                if notification.id == file.stem:
                    found.append(notification)
        return sorted(found, key=lambda each: (each.at, each.id))

    def remove(self, notification: Notification) -> None:
        """Remove a notification that was sent or given up. Where the disk refuses that, it is sent once more."""
        file = self._file(notification.id)
        with suppress(OSError):
            if notification.event in COME_AGAIN:
                file.replace(self._mark(notification.id))
                self._remove_old_marks()
            else:
                file.unlink(missing_ok=True)

    def _remove_old_marks(self) -> None:
        marks = [file for file in self.directory.iterdir() if file.suffix == _TOLD]
        for file in sorted(marks, key=_age)[:-MOST_WAITING]:
            file.unlink(missing_ok=True)

    def put_up(self, notice: OutboxNotice) -> None:
        """Put up what could not be sent, in place of what was put up; a disk that refuses it keeps the old notice."""
        with suppress(FatalError, OSError):
            if notice == OutboxNotice():
                self._notice.unlink(missing_ok=True)
            else:
                write_durably(self._notice, [orjson.dumps(plain(notice))])

    def notice(self) -> OutboxNotice:
        """The notice that is put up; an empty one where none is, or none that can be read."""
        try:
            values = orjson.loads(self._notice.read_bytes())
            failing = {name: of_plain(NotTakenYet, each) for name, each in values["failing"].items()}
            return OutboxNotice(failing, tuple(of_plain(GivenUp, each) for each in values["given_up"]))
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return OutboxNotice()

    def _file(self, notification_id: str) -> Path:
        return self.directory / f"{notification_id}.json"

    def _mark(self, notification_id: str) -> Path:
        return self.directory / f"{notification_id}{_TOLD}"

    def _files(self) -> list[Path]:
        try:
            return [file for file in self.directory.iterdir() if file.suffix == ".json" and file.name[0] != "."]
        except OSError:
            return []


def _age(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0
