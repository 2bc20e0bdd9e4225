"""The claim of an export that was dropped: its origin, the manifest of its drop, and the steps done so far."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline.core.drop.manifest import Manifest
from pipeline.core.errors import ExitCode, InputError
from pipeline.core.plain import of_plain


@dataclass(frozen=True, slots=True)
class Claim:
    """The facts about one export of a drop, as the ledger keeps them.

    `drop`: the id of the drop's job; earlier versions had several jobs for one drop, of which it is the first.
    `source`: the path of the export in the drop directory; of parts `DIRECTORY/NAME`, or `NAME` alone: they lie in that
    directory, and NAME is what the job goes by. Empty if there is nothing to take.
    `signal`: the path of the signal, which the drop's first job takes.
    `beside`: the names of the lists beside the parts that say which files these are; they are taken along.
    `signal_bytes`, `signal_mtime_ns`, `signal_inode`: the signal's size, its time of last change in nanoseconds, and
    its inode, which earlier versions did not note.
    `is_taken`: export and signal are where the job finds them.
    `is_verified`: the export was checked against the manifest and agrees with it.
    `error`: the reason why the drop fails, or None.
    """

    drop: str
    source: str
    signal: str
    signal_bytes: int
    signal_mtime_ns: int
    manifest: Manifest
    as_of: str | None = None
    is_taken: bool = False
    is_verified: bool = False
    error: str | None = None
    error_code: int = int(ExitCode.EXPORT_UNUSABLE)
    signal_inode: int | None = None
    beside: tuple[str, ...] = ()

    def path_of(self, name: str) -> str:
        """The path in the drop directory of a file of this name, which lies where the export lies."""
        directory, slash, _ = self.source.rpartition("/")
        return f"{directory}{slash}{name}"

    def failed(self, error: InputError) -> "Claim":
        """This claim, as one of a drop that fails. The first reason stays."""
        if self.error is not None:
            return self
        return replace(self, error=str(error), error_code=int(error.exit_code))

    @property
    def failure(self) -> InputError | None:
        """The error with which the drop fails, or None."""
        return None if self.error is None else InputError(self.error, exit_code=ExitCode(self.error_code))

    def as_dict(self) -> dict[str, Any]:
        """This claim as plain values, for the ledger."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Claim":
        """Rebuild a claim from the values of `as_dict`."""
        return of_plain(cls, values)
