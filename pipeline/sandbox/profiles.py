"""The profiles of a sandbox, and the effect of a batch on them.

No I/O and no clock: times are passed in, in milliseconds since 1970.
"""

from collections.abc import Set
from dataclasses import dataclass

from pipeline.sandbox.batch import ID_KINDS, Batch, updates
from pipeline.sandbox.options import Override


class Profile:
    """The external attributes of one id.

    `written_by`: the place in the order of sending of the newest batch that was applied to it.
    `modified_at_ms`: the time at which its attributes were last set.
    `modified_before_ms`: attribute -> its earlier time, for attributes that the latest batch did not set; or None.
    """

    __slots__ = ("attributes", "modified_at_ms", "modified_before_ms", "written_by")

    def __init__(self, attributes: dict[str, str], modified_at_ms: int, written_by: int) -> None:
        self.attributes = attributes
        self.modified_at_ms = modified_at_ms
        self.modified_before_ms: dict[str, int] | None = None
        self.written_by = written_by

    def merge(self, values: dict[str, str], at_ms: int) -> None:
        """Update the attributes named in `values` and leave the others."""
        if self.attributes.keys() <= values.keys():
            self.replace(values, at_ms)
            return
        untouched = self.attributes.keys() - values.keys()
        self.modified_before_ms = {name: self.modified_ms(name) for name in untouched}
        self.attributes |= values
        self.modified_at_ms = at_ms

    def replace(self, values: dict[str, str], at_ms: int) -> None:
        """Replace all attributes by `values`."""
        self.attributes = values
        self.modified_before_ms = None
        self.modified_at_ms = at_ms

    def modified_ms(self, name: str) -> int:
        """The time at which an attribute was last set."""
        return (self.modified_before_ms or {}).get(name, self.modified_at_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The outcome of a batch's rows. `stale`: ids to which a batch sent later had been applied before."""

    successful: int
    not_found: int
    stale: tuple[str, ...] = ()


class Profiles:
    """All profiles, by kind of id. A batch is applied as a whole, row by row in its own order."""

    def __init__(self, override: Override, *, keep: bool) -> None:
        self._override = override
        self._keep = keep
        self.by_kind: dict[str, dict[str, Profile]] = {kind: {} for kind in ID_KINDS}

    def __len__(self) -> int:
        return sum(map(len, self.by_kind.values()))

    def attributes(self, id_kind: str) -> dict[str, dict[str, str]]:
        """A copy of all attributes of one kind of id."""
        return {i: dict(profile.attributes) for i, profile in self.by_kind[id_kind].items()}

    def apply(self, batch: Batch, *, order: int, at_ms: int, creates: bool, failing: Set[str] = frozenset()) -> Applied:
        """Apply the batch's rows to the profiles, and count the outcomes.

        `order`: its place in the order of sending.
        `creates`: it creates missing profiles.
        `failing`: ids that fail on Target's side.
        """
        if not self._keep:
            successful = batch.rows - batch.empty - len(batch.failed_ids) - len(failing)
            return Applied(successful=successful, not_found=0)
        successful = not_found = 0
        stale: list[str] = []
        known = self.by_kind[batch.id_kind]
        for profile_id, values in updates(batch):
            if profile_id in failing:
                continue
            profile = known.get(profile_id)
            if profile is None and not creates:
                not_found += 1
                continue
            successful += 1
            if profile is None:
                known[profile_id] = Profile(values, at_ms, order)
                continue
            if order < profile.written_by:
                stale.append(profile_id)
            profile.written_by = max(profile.written_by, order)
            (profile.merge if self._override == "merge" else profile.replace)(values, at_ms)
        return Applied(successful=successful, not_found=not_found, stale=tuple(stale))
