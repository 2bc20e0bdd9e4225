"""The mistakes of a sender, as the sandbox saw them.

A mistake is something that a correct sender never does, even if Target would not complain about it.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum

#: Mistakes kept in full; any more are only counted, so that a broken sender cannot fill the memory.
MISTAKES_KEPT = 10_000
#: Ids named as examples in one mistake.
EXAMPLES = 5


class MistakeKind(StrEnum):
    """The kinds of mistakes, in the words shown at `/sandbox/state`."""

    THROTTLED = "throttled"
    WRONG_TOKEN = "wrong token"  # noqa: S105 - a kind of mistake, not a secret
    WRONG_CLIENT = "wrong client code"
    CONTENT_TYPE = "wrong content type"
    CONTENT_ENCODING = "compressed body"
    TOO_LARGE = "too many bytes"
    TOO_MANY_ROWS = "too many rows"
    NO_ROWS = "no rows"
    BOM = "byte order mark"
    BODY_START = "body does not start with batch="
    HEADER = "illegal header"
    BARE_PERCENT = "bare %"
    RAW_AMPERSAND = "raw &"
    RAW_PLUS = "raw +"
    RAW_EQUALS = "raw ="
    QUOTE = "quote"
    RAW_SPECIAL = "un-encoded character"
    NOT_UTF8 = "not UTF-8"
    ENCODED_DELIMITER = "encoded comma or line break"
    ILLEGAL_ID = "illegal id"
    LONG_ROW = "row longer than the header"
    DUPLICATE_ID = "duplicate id in a batch"
    CLASH = "clash"
    STALE_OVERWRITE = "stale overwrite"
    STATUS_URL = "status polled at another URL"
    REDIRECT_FOLLOWED = "redirect followed"


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake.

    `detail`: what was seen.
    `batch_id`: the accepted batch that it is about, or None.
    `count`: the number of times that it occurs there.
    """

    kind: MistakeKind
    detail: str
    batch_id: str | None = None
    count: int = 1

    def of(self, batch_id: str) -> "Mistake":
        """The same mistake, attributed to a batch."""
        return replace(self, batch_id=batch_id)

    def to_json(self) -> dict[str, object]:
        return {"kind": self.kind, "detail": self.detail, "batch_id": self.batch_id, "count": self.count}


class Mistakes:
    """All mistakes so far: the first `MISTAKES_KEPT` in full, and a count of each kind."""

    def __init__(self) -> None:
        self.kept: list[Mistake] = []
        self.counts: Counter[MistakeKind] = Counter()

    def note(self, mistake: Mistake) -> None:
        self.counts[mistake.kind] += 1
        if len(self.kept) < MISTAKES_KEPT:
            self.kept.append(mistake)


def examples(ids: Collection[str]) -> str:
    """A few ids in a fixed order, for a person to look up."""
    some = sorted(ids)[:EXAMPLES]
    return ", ".join(map(repr, some)) + (", ..." if len(ids) > len(some) else "")
