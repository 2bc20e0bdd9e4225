"""Target at its worst within the contract: copies applied late, or never, under both readings of "override"."""

import math
from dataclasses import dataclass, field

from pipeline.core.target.replies import Complete

#: For so long after its end an attempt whose outcome is not known may still be applied (seconds).
HOLD_S = 4.0

#: The job by its place among all, then the line in its export.
Version = tuple[int, int]
Cells = dict[str, bytes]
#: Of each id and parameter the values that rows say themselves.
Own = dict[bytes, dict[str, set[bytes]]]


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """The body of a batch; of each id the row, and the line of the export that it came from."""

    text: bytes
    parameters: tuple[str, ...]
    rows: dict[bytes, bytes]
    lines: dict[bytes, int]

    @classmethod
    def of(cls, text: bytes, lines: list[int]) -> "Body":
        """The body with that text. `lines` are those of its rows, in their order."""
        header, *rows = text.splitlines(keepends=True)
        ids = [row.rstrip(b"\n").partition(b",")[0] for row in rows]
        assert len(set(ids)) == len(rows) == len(lines), "an id stands in a batch at most once"
        parameters = tuple(header.decode().rstrip("\n").split(",")[1:])
        return cls(text, parameters, dict(zip(ids, rows, strict=True)), dict(zip(ids, lines, strict=True)))

    def cells(self, profile_id: bytes) -> Cells:
        """The non-empty cells of an id."""
        cells = self.rows[profile_id].rstrip(b"\n").split(b",")[1:]
        assert len(cells) <= len(self.parameters)
        return {name: cell for name, cell in zip(self.parameters, cells, strict=False) if cell}


@dataclass(slots=True, eq=False)
class Copy:
    """One accepted attempt at a batch. Target may apply it `until` then, unless it has.

    `was_complete`: its status said so. `failed` are ids that Target fails when it applies the copy, and names.
    Those `not_consumed` it does not name.
    """

    batch_id: int
    body: Body
    versions: dict[bytes, Version]
    ended_at: float
    until: float = math.inf
    is_applied: bool = False
    was_complete: bool = False
    failed: frozenset[bytes] = frozenset()
    not_consumed: frozenset[bytes] = frozenset()


@dataclass(slots=True)
class Target:
    """What Target has of one client code. Raises `AssertionError` as soon as an older value could win over a newer one.

    `merged` are the profiles if a batch updates the attributes that it names, and `replaced` if it replaces them all.
    """

    copies: list[Copy] = field(default_factory=list)
    merged: dict[bytes, Cells] = field(default_factory=dict)
    replaced: dict[bytes, Cells] = field(default_factory=dict)
    _bodies: dict[int, bytes] = field(default_factory=dict)
    #: By batch what its rows say themselves.
    _own: dict[int, Own | None] = field(default_factory=dict)
    #: By id and parameter the values of its rows, each with the batch that it was sent in.
    _sent: dict[tuple[bytes, str], list[tuple[Version, bytes, int]]] = field(default_factory=dict)

    def begin_post(
        self, batch_id: int, body: Body, versions: dict[bytes, Version], now: float, own: Own | None
    ) -> None:
        """The first byte of an attempt leaves. `own`: what its rows say themselves; None if all they have is that."""
        assert self._bodies.setdefault(batch_id, body.text) == body.text, "every attempt sends the same bytes"
        self._own[batch_id] = own
        for profile_id, version in versions.items():
            self._check_order(batch_id, profile_id, version, body.cells(profile_id), "sent")
            for name, cell in body.cells(profile_id).items():
                if self._is_own(batch_id, profile_id, name, cell):
                    self._sent.setdefault((profile_id, name), []).append((version, cell, batch_id))
            for copy in self.pending(now):
                other = copy.versions.get(profile_id, version)
                assert other == version, f"{profile_id!r}: {version} is sent while {other} may yet be applied"

    def _is_own(self, batch_id: int, profile_id: bytes, name: str, cell: bytes) -> bool:
        """Whether a row says a value itself; else it was filled in with it."""
        own = self._own[batch_id]
        return own is None or cell in own.get(profile_id, {}).get(name, ())

    def _check_order(self, batch_id: int, profile_id: bytes, version: Version, cells: Cells, what: str) -> None:
        """No value goes over a newer one: what a row says is as new as all that was ever sent.

        What it was filled in with is so too, but for newer ones that Target surely does not have.
        """
        for name, cell in cells.items():
            sent = self._sent.get((profile_id, name), [])
            is_own = self._is_own(batch_id, profile_id, name, cell)
            same = [other for other, value, _ in sent if value == cell] + [version] * is_own
            assert same, f"{profile_id!r}: {cell!r} is {what} as {name}, and no row said it"
            for other, value, newer in sent:
                if other > max(same) and (is_own or self._may_have(newer, profile_id)):
                    raise AssertionError(
                        f"{profile_id!r}: an older version is {what} of {name}: {cell!r} over {value!r}"
                    )

    def _may_have(self, batch_id: int, profile_id: bytes) -> bool:
        """Whether Target may have the row of an id in a batch: it took a copy of which it did not fail that row."""
        return any(copy.batch_id == batch_id and profile_id not in copy.failed for copy in self.copies)

    def accept(
        self, batch_id: int, body: Body, versions: dict[bytes, Version], now: float, *, is_followed: bool
    ) -> Copy:
        """Queue a copy of a batch; the attempt ends now. It `is_followed` if its sender comes to know of it."""
        copy = Copy(batch_id, body, versions, now, math.inf if is_followed else now + HOLD_S)
        self.copies.append(copy)
        return copy

    def url_of(self, copy: Copy) -> str:
        """Where the status of a copy is asked for."""
        return str(self.copies.index(copy))

    def copy_at(self, status_url: str) -> Copy:
        """The copy whose status is asked for there."""
        return self.copies[int(status_url)]

    def pending(self, now: float) -> list[Copy]:
        """The copies that may yet be applied."""
        return [copy for copy in self.copies if not copy.is_applied and now < copy.until]

    def apply(self, copy: Copy) -> None:
        """Apply all rows of a copy but those that Target fails."""
        copy.is_applied = True
        for profile_id, version in copy.versions.items():
            self._check_order(copy.batch_id, profile_id, version, copy.body.cells(profile_id), "applied")
            if profile_id not in copy.failed | copy.not_consumed:
                cells = copy.body.cells(profile_id)
                self.merged.setdefault(profile_id, {}).update(cells)
                self.replaced[profile_id] = cells

    def complete(self, copy: Copy) -> Complete:
        """The status `complete`, which is shown only after this very copy was applied."""
        if not copy.is_applied:
            self.apply(copy)
        rows = len(copy.body.rows)
        return Complete(
            batch_size=rows,
            consumed=rows,
            updated=rows - len(copy.failed | copy.not_consumed),
            failed=len(copy.failed),
            failed_ids=tuple(sorted(profile_id.decode() for profile_id in copy.failed)),
        )
