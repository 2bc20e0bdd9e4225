"""Target as jobs see it: its address, and the two calls to it."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.core.model import Batch
from pipeline.core.target.replies import PostOutcome, StatusOutcome
from pipeline.edges.durable import Version

#: Makes one POST of a batch, and returns its outcome.
SendBatch = Callable[[], Awaitable[PostOutcome]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The address of Target, and the way to call it.

    `url`: scheme, host and port only.
    `status_hosts`: hosts that a status URL may name besides that of `url`.
    `token_file`: the file with the bearer token; None if there is no token.
    `ca_file`: certificates to trust besides those of the system, PEM; None for none.
    `is_named`: the configuration names the host of `url` itself, so that it may lie in a private network.
    `min_rate_bytes_s`: the least upload rate; it sets the time that a POST may take.
    """

    url: str
    client_code: str
    api_version: str
    status_hosts: tuple[str, ...]
    token_file: Path | None
    min_rate_bytes_s: int
    ca_file: Path | None = None
    is_named: bool = True

    @property
    def batch_update_url(self) -> str:
        """The URL to which batches are posted."""
        version = "/v2" if self.api_version == "v2" else ""
        return f"{self.url}/m2/{self.client_code}{version}/profile/batchUpdate"


class Target(Protocol):
    """Adobe Target, or what stands in its place."""

    @property
    def calls_made(self) -> int:
        """The number of calls made so far."""

    @property
    def is_sandbox(self) -> bool | None:
        """True if an answer said that the sandbox stands in Target's place; None if none came yet."""

    @property
    def silent_s(self) -> float:
        """Seconds since calls have had no usable answer, pauses not counted; 0 if the last call had one."""

    def turn_to_post(
        self, batch: Batch, body: Path, checked: Version | None = None
    ) -> AbstractAsyncContextManager[SendBatch]:
        """Wait until the budget of calls has room for a POST; give the function that makes it, to be called once.

        `checked`: the version of the body that was found to be what was sealed; None if it was not looked at.

        Nothing leaves this machine before that call. The POST keeps its place in the budget until the context ends.
        Raises `FatalError` if the body or the token cannot be read.
        """

    async def status(self, url: str) -> StatusOutcome:
        """Ask for the status of an accepted batch."""
