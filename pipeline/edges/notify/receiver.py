"""A receiver of notifications, and what it means that it did not take one. Imports no library that calls it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class Receiver:
    """Whoever is called for a route: with each event (`webhook`), or after each job that is done (`heartbeat`).

    `url`, or else the file that holds it. `ca_file`: certificates to trust besides those of the system.
    """

    route: str
    kind: Literal["webhook", "heartbeat"]
    url: str = field(default="", repr=False)
    url_file: Path | None = None
    secret_file: Path | None = None
    form: str = "json"
    ca_file: Path | None = None

    @property
    def name(self) -> str:
        """The words by which log and `status` name it."""
        return f"{self.route} {self.kind}"


@dataclass(frozen=True, slots=True)
class NotTaken:
    """A receiver did not take a notification, for this reason. `is_refused`: others it may take all the same."""

    why: str
    is_refused: bool = False
