"""The reasons why the service is not ready to take exports, in words."""

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from pipeline.core.errors import PipelineError
from pipeline.edges.store.ledger_reader import read_ledger
from pipeline.jobs.ending import Ending
from pipeline.settings.tenants import Configuration


class IsServed(Protocol):
    """A client code that the process serves."""

    @property
    def client_code(self) -> str:
        """The client code."""

    @property
    def error(self) -> PipelineError | None:
        """The error that ended its service, while that is not begun anew."""


class Condition:
    """The condition of the process that serves, as it knows it without a look at the disk."""

    def __init__(self, served: Sequence[IsServed], ending: Ending, *, drain: bool) -> None:
        self._served = served
        self._ending = ending
        self._drain = drain

    @property
    def reasons(self) -> list[str]:
        """The reasons why it takes nothing new."""
        reasons = []
        if self._ending.is_due:
            reasons.append("it is ending: calls to Target that are under way may finish, nothing new is begun")
        elif self._drain:
            reasons.append("it drains: what is signalled is loaded, then it ends")
        reasons += [
            f"client code {each.client_code} is not served: {each.error}" for each in self._served if each.error
        ]
        return reasons


def unusable(configuration: Configuration) -> tuple[str, ...]:
    """The directories and ledgers that cannot be used, in words. Blocks."""
    reasons = []
    for tenant in configuration.tenants:
        directories = {"state": tenant.directory} | {f"drop ({route})": drop for route, drop in tenant.drops.items()}
        reasons += [
            f"the directory {directory} ({what}) is gone, or may not be written"
            for what, directory in directories.items()
            if not _is_usable(directory)
        ]
        try:
            ledger = read_ledger(tenant.directory / "ledger.db")
            if ledger is None:
                reasons.append(f"there is no ledger in {tenant.directory}")
                continue
            with closing(ledger):
                ledger.check()
        except PipelineError as error:
            reasons.append(str(error))
    return tuple(reasons)


def _is_usable(directory: Path) -> bool:
    return directory.is_dir() and os.access(directory, os.R_OK | os.W_OK | os.X_OK)
