"""Target's answers, as values.

A successful HTTP answer can still be a refusal. An answer that cannot be read says nothing about what Target has
done. The XML is Adobe's, but not always well-formed: the status URL may hold a raw `&`.
"""

import re
from dataclasses import dataclass
from typing import cast
from xml.etree import ElementTree

#: Bytes of an answer that are read at most. Ours: status answers list failed ids. In a longer list, all ids are counted
#: and only the first ones are named.
MAX_REPLY_BYTES = 65_536

# A raw ampersand is legal in a CDATA section, so group 1 matches such a section and keeps it.
_RAW_AMPERSAND = re.compile(r"(<!\[CDATA\[.*?\]\]>)|&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[0-9a-fA-F]+);)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Accepted:
    """Target queued the batch. `status_url`: the URL for its status, exactly as Target gave it."""

    status_url: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Target did not take the batch, and would refuse the same bytes again. `message` is Target's."""

    message: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """Target did not take the call: there were too many. `retry_after_s`: the wait that it asked for, or None."""

    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Nothing of the batch was sent: no connection, no address or no TLS."""

    why: str


@dataclass(frozen=True, slots=True)
class Unauthorized:
    """Target refuses the token (HTTP 401 or 403) and took nothing.

    `is_final`: the token file holds no other token. `had_token`: False if the call carried none.
    """

    http_status: int
    is_final: bool = True
    had_token: bool = True


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """The POST was begun and got no usable answer: Target may or may not have the batch."""

    why: str


PostOutcome = Accepted | Refused | Throttled | Unreachable | Unauthorized | Ambiguous


@dataclass(frozen=True, slots=True)
class Incomplete:
    """The batch waits or is being applied. An unknown status word counts as this too."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """Target gave up on the batch for now; it may or may not be applied later."""


@dataclass(frozen=True, slots=True)
class Complete:
    """The batch was applied.

    Counts are rows. `batch_size` and `consumed` are None where Target does not say. `failed_ids` may be empty although
    rows failed.
    """

    batch_size: int | None = None
    consumed: int | None = None
    not_found: int = 0
    failed: int = 0
    failed_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StatusLost:
    """The status cannot be had any more: Target forgot the batch, or its URL must not be asked. `why` says which."""

    why: str


@dataclass(frozen=True, slots=True)
class StatusUnavailable:
    """There was no usable answer this time; ask again."""

    why: str


StatusOutcome = Incomplete | Stuck | Complete | StatusLost | StatusUnavailable | Unauthorized | Throttled


def parse_submitted(body: bytes) -> Accepted | Refused | None:
    """The meaning of a 200 answer to a POST; None if it cannot be read."""
    root = _parse(body)
    if root is None:
        return None
    success = _text(root, "success").lower()
    status_url = _text(root, "batchStatus")
    if success == "true" and status_url:
        return Accepted(status_url)
    if success == "false":
        return Refused(_text(root, "message") or "refused without a message")
    return None


def parse_status(body: bytes) -> Incomplete | Stuck | Complete | StatusLost | None:
    """The meaning of a 200 answer to a status GET; None if it cannot be read."""
    root = _parse(body)
    if root is None:
        return None
    status = _text(root, "status").lower()
    if status == "complete":
        return _parse_complete(root)
    if status == "stuck":
        return Stuck()
    if status:
        return Incomplete()
    if _text(root, "success").lower() == "false":
        return StatusLost(f"Target does not know the batch: {_text(root, 'message') or 'no message'}")
    return None


def _parse_complete(root: ElementTree.Element) -> Complete | None:
    counts: dict[str, int | None] = {}
    for name in ("batchSize", "consumedCount", "profilesNotFound", "failedUpdates"):
        text = _text(root, name)
        if text and not re.fullmatch(r"\d{1,12}", text):
            return None
        counts[name] = int(text) if text else None
    failed_ids = tuple(
        _text(profile, "id")
        for profile in root.iter("profile")
        if _text(profile, "id") and _text(profile, "status").lower() != "success"
    )
    return Complete(
        batch_size=counts["batchSize"],
        consumed=counts["consumedCount"],
        not_found=counts["profilesNotFound"] or 0,
        failed=counts["failedUpdates"] or 0,
        failed_ids=failed_ids,
    )


@dataclass(frozen=True, slots=True)
class RowOutcomes:
    """The rows of a completed batch, counted by outcome."""

    confirmed: int
    failed: int
    unconfirmed: int


def count_rows(rows: int, complete: Complete) -> RowOutcomes:
    """Count the rows of a completed batch that were confirmed, failed, or not consumed and thus unconfirmed.

    The three add up to `rows`, whatever Target counts.
    """
    seen = [count for count in (complete.batch_size, complete.consumed) if count is not None]
    consumed = min([rows, *seen])
    failed = min(max(complete.failed + complete.not_found, len(complete.failed_ids)), rows)
    unconfirmed = min(rows - consumed, rows - failed)
    return RowOutcomes(rows - failed - unconfirmed, failed, unconfirmed)


def _parse(body: bytes) -> ElementTree.Element | None:
    """The root element; None if the text is not XML, or has a document type (which could hide entities).

    An answer that was cut off at `MAX_REPLY_BYTES` gives the part that is there: counts precede the list of failed ids.
    """
    is_cut = len(body) >= MAX_REPLY_BYTES
    text = body.decode(errors="ignore" if is_cut else "replace")
    if "<!doctype" in text.lower():
        return None
    if is_cut:
        # Keep whole profiles only: the text of an element that is cut off would be half an id.
        text = text[: text.rfind("</profile>") + len("</profile>")]
    parser: ElementTree.XMLPullParser[ElementTree.Element] = ElementTree.XMLPullParser(["start", "end"])
    try:
        parser.feed(_RAW_AMPERSAND.sub(lambda found: found[1] or "&amp;", text))
        events = cast(list[tuple[str, ElementTree.Element]], list(parser.read_events()))
    except ElementTree.ParseError:
        return None
    if not events:
        return None
    root = events[0][1]
    is_whole = events[-1] == ("end", root)
    return root if is_whole or is_cut else None


def _text(element: ElementTree.Element, name: str) -> str:
    return (element.findtext(name) or "").strip()
