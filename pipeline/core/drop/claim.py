"""What the ledger knows of a job whose export was dropped: where it came from, and what its signal says."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from pipeline.core.drop.manifest import Manifest
from pipeline.core.errors import ExitCode, InputError


@dataclass(frozen=True, slots=True)
class Claim:
    """One export of a drop. All jobs of a drop share `drop`, the id of its first job.

    `source` is the path of the export in the drop directory, empty where there is none to take. `signal` is that of
    the signal, taken by the drop's first job, with its size and time of the last change. `is_taken`: both are where
    the job finds them. `is_verified`: what the manifest says was found true. `error` is why the drop fails.
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

    def failed(self, error: InputError) -> "Claim":
        """The same of a drop that fails; the first reason stays."""
        if self.error is not None:
            return self
        return replace(self, error=str(error), error_code=int(error.exit_code))

    @property
    def failure(self) -> InputError | None:
        """The error by which the drop fails."""
        return None if self.error is None else InputError(self.error, exit_code=ExitCode(self.error_code))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as the ledger keeps them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Claim":
        """What `as_dict` made."""
        said: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values["manifest"].items()
        }
        known = {field.name for field in fields(cls)}
        kept = {key: value for key, value in values.items() if key in known}
        return cls(**{**kept, "manifest": Manifest(**said)})
