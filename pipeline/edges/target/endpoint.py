"""Target as jobs see it: where it is, and the two calls that are made of it."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.core.model import Batch
from pipeline.core.target.replies import PostOutcome, StatusOutcome

#: Makes one POST of a batch, and tells what came of it.
SendBatch = Callable[[], Awaitable[PostOutcome]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where batches go. `url` has scheme, host and port only; `min_rate_bytes_s` sets how long a POST may take."""

    url: str
    client_code: str
    api_version: str
    status_hosts: tuple[str, ...]
    token_file: Path | None
    min_rate_bytes_s: int

    @property
    def batch_update_url(self) -> str:
        """Where a batch is posted."""
        version = "/v2" if self.api_version == "v2" else ""
        return f"{self.url}/m2/{self.client_code}{version}/profile/batchUpdate"


class Target(Protocol):
    """Adobe Target, or what stands in its place."""

    @property
    def calls_made(self) -> int:
        """The number of calls made so far."""

    @property
    def silent_s(self) -> float:
        """For how long every call has been without a usable answer, pauses not counted; 0 if the last one had one."""

    def turn_to_post(self, batch: Batch, body: Path) -> AbstractAsyncContextManager[SendBatch]:
        """Wait until the budget of calls has room for a POST; gives the function that makes it, to be called once.

        Nothing leaves this machine before. The POST keeps its place in the budget until the context ends. Raises
        `FatalError` where the body or the token cannot be read.
        """

    async def status(self, url: str) -> StatusOutcome:
        """Ask for the status of an accepted batch."""
