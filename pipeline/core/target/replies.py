"""Target's answers, as values.

A successful HTTP answer can still be a refusal. An answer that cannot be read says nothing about what Target has
done. The XML is Adobe's, but not always well-formed: the status URL may hold a raw `&`.

Whoever answers may mean harm. So reading takes a time that grows with the length of the answer and no faster, and what
is told of it is in words of our own; `said` keeps the text, for the owner's eyes only.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from pipeline.core.target.messages import in_our_words

#: Bytes of an answer that are read at most. Ours: status answers list failed ids. In a longer list, all ids are counted
#: and only the first ones are named.
MAX_REPLY_BYTES = 65_536

#: The words of a row's status (Adobe); any other one (`pending`) says that it is not known yet.
_ROW_STATUSES = {"success": "success", "failed": "failed", "error": "failed"}
_RAW_AMPERSAND = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#[0-9]+|#x[0-9a-fA-F]+);)")
_CDATA, _CDATA_END = "<![CDATA[", "]]>"


@dataclass(frozen=True, slots=True)
class Accepted:
    """Target queued the batch. `status_url`: the URL for its status, exactly as Target gave it."""

    status_url: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Target did not take the batch, and would refuse the same bytes again.

    `message`: Target's, in our words. `said`: its text, where these do not say all of it.
    """

    message: str
    said: str = ""


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
    """The POST was begun and got no usable answer: Target may or may not have the batch.

    `is_page`: the answer was a web page, so that something else than Target's API may be at that address.
    """

    why: str
    is_page: bool = False


@dataclass(frozen=True, slots=True)
class WrongAddress:
    """Nobody at that address takes batches of this client code, whatever is in them: nothing was taken."""

    http_status: int


#: Statuses of HTTP that may be about what is in a batch: it is malformed, too large, or cannot be processed.
_ABOUT_THE_CONTENT = frozenset((400, 413, 422))


def is_about_the_address(http_status: int) -> bool:
    """True if a status that says that nothing was taken is about the address or the way, and not about the rows."""
    return http_status < 500 and http_status not in _ABOUT_THE_CONTENT


PostOutcome = Accepted | Refused | Throttled | Unreachable | Unauthorized | WrongAddress | Ambiguous


@dataclass(frozen=True, slots=True)
class Incomplete:
    """The batch waits or is being applied. An unknown status word counts as this too."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """Target gave up on the batch for now; it may or may not be applied later."""


@dataclass(frozen=True, slots=True)
class Complete:
    """The batch was applied.

    Counts are rows. `batch_size`, `consumed` and `updated` (those applied) are None where Target does not say.
    `failed_ids` may be empty although rows failed. `unknown_ids` name rows of which Target says neither;
    `unknown_unnamed` is the number of such rows without an id.
    """

    batch_size: int | None = None
    consumed: int | None = None
    not_found: int = 0
    failed: int = 0
    failed_ids: tuple[str, ...] = ()
    updated: int | None = None
    unknown_ids: tuple[str, ...] = ()
    unknown_unnamed: int = 0


@dataclass(frozen=True, slots=True)
class StatusLost:
    """The status cannot be had: Target does not know the batch, or its URL must not be asked. `why` says which.

    `is_unknown`: Target does not know the batch. It may have forgotten it, or the host asked may not know of it yet.
    `said`: the text of Target's message, or the URL, where `why` does not say all of it.
    """

    why: str
    is_unknown: bool = False
    said: str = ""


@dataclass(frozen=True, slots=True)
class StatusUnavailable:
    """There was no usable answer this time; ask again."""

    why: str


@dataclass(frozen=True, slots=True)
class Uncounted:
    """The batch is complete, and the counts of its rows cannot be read: ask again, but not for ever."""

    why: str


StatusOutcome = Incomplete | Stuck | Complete | Uncounted | StatusLost | StatusUnavailable | Unauthorized | Throttled


def is_page(body: bytes) -> bool:
    """True if an answer is a whole web page, as a proxy, a login or a server of something else sends it."""
    text = body.strip().lower()
    return text.startswith((b"<!doctype html", b"<html")) and text.endswith(b"</html>")


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
        message = _text(root, "message")
        return Refused(*in_our_words(message)) if message else Refused("refused without a message")
    return None


def parse_status(body: bytes) -> Incomplete | Stuck | Complete | Uncounted | StatusLost | None:
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
        message, said = in_our_words(_text(root, "message"))
        return StatusLost(f"Target does not know the batch: {message}", is_unknown=True, said=said)
    # A list that is cut off does not tell if a row is pending in the part that is missing.
    return None if len(body) >= MAX_REPLY_BYTES else _parse_rows_only(root)


def _parse_rows_only(root: Element) -> Incomplete | Complete | None:
    """The meaning of an answer that names every row and has no status of the batch, as pages of 2019 show it."""
    rows = _Rows.of(root)
    if not rows.count:
        return None
    if rows.unknown_ids or rows.nameless_unknown:
        return Incomplete()
    failed = len(rows.failed_ids) + rows.nameless_failed
    return Complete(failed=failed, failed_ids=rows.failed_ids, updated=rows.successes)


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows that an answer names: how many, how many of them succeeded, and the ids of the others.

    An id counts once, as the worst that is said of it: failed, else unknown.
    `nameless_failed`, `nameless_unknown`: rows without an id, by their status.
    """

    count: int
    successes: int
    failed_ids: tuple[str, ...]
    unknown_ids: tuple[str, ...]
    nameless_failed: int
    nameless_unknown: int

    @classmethod
    def of(cls, root: Element) -> "_Rows":
        ids: dict[str, list[str]] = {"success": [], "failed": [], "unknown": []}
        for profile in root.iter("profile"):
            word = _text(profile, "status").lower()
            ids[_ROW_STATUSES.get(word, "unknown")].append(_text(profile, "id"))
        succeeded, failed, unknown = (
            dict.fromkeys(filter(None, ids[word])) for word in ("success", "failed", "unknown")
        )
        return cls(
            len(succeeded | failed | unknown),
            len(succeeded.keys() - failed.keys() - unknown.keys()),
            tuple(failed),
            tuple(each for each in unknown if each not in failed),
            ids["failed"].count(""),
            ids["unknown"].count(""),
        )


def _parse_complete(root: Element) -> Complete | Uncounted:
    counts: dict[str, int | None] = {}
    for name in ("batchSize", "consumedCount", "successfulUpdates", "profilesNotFound", "failedUpdates"):
        text = _text(root, name)
        if text and not re.fullmatch(r"[0-9]{1,12}", text):
            return Uncounted(f"complete, but {name} is no count")
        counts[name] = int(text) if text else None
    rows = _Rows.of(root)
    return Complete(
        batch_size=counts["batchSize"],
        consumed=counts["consumedCount"],
        not_found=counts["profilesNotFound"] or 0,
        # Rows that are counted and those that are named: the same ones, unless they are more.
        failed=max(counts["failedUpdates"] or 0, rows.nameless_failed and len(rows.failed_ids) + rows.nameless_failed),
        failed_ids=rows.failed_ids,
        updated=counts["successfulUpdates"],
        unknown_ids=rows.unknown_ids,
        unknown_unnamed=rows.nameless_unknown,
    )


@dataclass(frozen=True, slots=True)
class RowOutcomes:
    """The rows of a completed batch, counted by outcome."""

    confirmed: int
    failed: int
    unconfirmed: int


@dataclass(frozen=True, slots=True)
class NamedRows:
    """The rows of a batch that an answer names, each once, though it may be named encoded and decoded.

    `failed`, `unknown`: rows of the batch, as `failed_ids` and `unknown_ids` name them.
    `failed_strays`, `unknown_strays`: ids that name no row of the batch.
    """

    failed: int
    unknown: int
    failed_strays: int = 0
    unknown_strays: int = 0


def count_rows(rows: int, complete: Complete, named: NamedRows | None = None) -> RowOutcomes:
    """Count the rows of a completed batch that were confirmed or failed, and those that no count names: unconfirmed.

    The three add up to `rows`, whatever Target counts. Where its counts contradict each other, the least is confirmed.
    Without a count of those applied, all that were consumed and have not failed are. An id that names no row of the
    batch is no failed row; which row it means nobody knows, so that one row less is confirmed.

    `named`: the rows that the ids name; without it each id is taken for a row.
    """
    named = named or NamedRows(len(complete.failed_ids), len(complete.unknown_ids))
    failed = min(max(complete.failed + complete.not_found, named.failed), rows)
    strays = max(0, named.failed + named.failed_strays - failed) + named.unknown_strays
    most = rows - failed - named.unknown - complete.unknown_unnamed - strays
    consumed = [count - failed for count in (complete.batch_size, complete.consumed) if count is not None]
    updated = [] if complete.updated is None else [complete.updated]
    confirmed = max(0, min([most, *consumed, *updated]))
    return RowOutcomes(confirmed, failed, rows - failed - confirmed)


def _parse(body: bytes) -> Element | None:
    """The root element; None if the text is not XML, or has a document type (which could hide entities).

    An answer that was cut off at `MAX_REPLY_BYTES` gives the part that is there: counts precede the list of failed ids.
    """
    is_cut = len(body) >= MAX_REPLY_BYTES
    text = body.decode(errors="ignore" if is_cut else "replace")
    if "<!doctype" in text.lower():
        return None
    # An XML declaration must come first; a line end before it is a common slip of servers.
    text = text.lstrip("\ufeff \t\r\n")
    if is_cut:
        # Keep whole profiles only: the text of an element that is cut off would be half an id.
        text = text[: text.rfind("</profile>") + len("</profile>")]
    return _tree("".join(_with_escapes(text)), is_cut=is_cut)


def _with_escapes(text: str) -> Iterator[str]:
    """The text with each raw ampersand escaped, but in CDATA sections, where it is legal."""
    at = 0
    while (start := text.find(_CDATA, at)) != -1 and (end := text.find(_CDATA_END, start)) != -1:
        yield _RAW_AMPERSAND.sub("&amp;", text[at:start])
        at = end + len(_CDATA_END)
        yield text[start:at]
    yield _RAW_AMPERSAND.sub("&amp;", text[at:])


def _tree(text: str, *, is_cut: bool) -> Element | None:
    """The root element of an XML text; None if it is none, or is not whole and was not cut off.

    Attributes are left out, and names are the same in whatever namespace an answer puts them: only what stands behind
    the colon is kept. A parser that knows namespaces would put the whole address before each name.
    """
    builder, elements = TreeBuilder(), list[Element]()
    # The text is UTF-8, whatever encoding its declaration claims.
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = lambda name, _: elements.append(builder.start(name.rpartition(":")[2], {}))
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(text.encode(), not is_cut)
    except expat.ExpatError:
        return None
    return elements[0] if elements else None


def _text(element: Element, name: str) -> str:
    return (element.findtext(name) or "").strip()
