"""Answers of a server that are made to take long: of full length, longer than is read, in a thousand pieces."""

import gzip
from pathlib import Path
from typing import Any

from tests.tools.faults.rawtarget import Answer, Call, http, xml
from tests.tools.hostile import Hostile, bodies, drops, headers, json_lines

#: Bytes of an answer that are read; one byte more, and it is cut off.
_READ_BYTES = 65_536
#: All that is asked again is asked at once, and as often as answers are hostile.
_QUICK: dict[str, Any] = {
    "batch": {"max_rows": 4},
    "upload": {"attempts": 20, "backoff_s": 0.01, "backoff_max_s": 0.01},
    "settle": {"poll_first_s": 0.05, "poll_max_s": 0.1, "ambiguous_hold_s": 0.1},
    "export": {"max_rejects": "100%"},
}
_OPENED = b"<response><success>false</success><message>"


def _export(file: Path) -> None:
    file.write_text("id,tier\n" + "".join(f"u{number},gold silver {number}\n" for number in range(24)))


def _full(piece: bytes, *, before: bytes = b"", behind: bytes = b"") -> Answer:
    """An answer of full length, in which one thing comes again and again."""
    room = _READ_BYTES - len(before) - len(behind)
    body = before + piece * (room // len(piece)) + behind
    return lambda _: http(body)


def _chunked(call: Call) -> bytes:
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + b"1\r\n<\r\n" * 60_000


def _echoed(call: Call) -> bytes:
    """A refusal that quotes all that it got, as often as there is room."""
    inner = (call.text * (60_000 // len(call.text)))[:60_000]
    return xml(f"<success>false</success><message>{inner}</message>")


_CUT = b"</message></response>"
_POSTS: dict[str, Answer] = {
    "words of two letters": _full(b"ab ", before=_OPENED, behind=_CUT),
    "a word of 64 KB": _full(b"a", before=_OPENED, behind=_CUT),
    "entities": _full(b"&#97;", before=_OPENED, behind=_CUT),
    "what was sent": _echoed,
    "CDATA that opens": _full(b"<![CDATA["),
    "CDATA that opens and closes": _full(b"<![CDATA[]]>", before=_OPENED, behind=_CUT),
    "comments that open": _full(b"<!--"),
    "tags that open": _full(b"<a>"),
    "tags without end": _full(b"<"),
    "attributes": _full(b" a=''", before=b"<response"),
    "successes": _full(b"<success>", before=b"<response>"),
    "no XML": _full(b"\0"),
    "blanks": _full(b" "),
    "an address of 64 KB": _full(
        b"/a", before=b"<response><success>true</success><batchStatus>http://a", behind=b"</batchStatus></response>"
    ),
    "an address of labels": _full(
        b"a.", before=b"<response><success>true</success><batchStatus>http://", behind=b"</batchStatus></response>"
    ),
    "50 MB": lambda _: http(b"<a>" * 17_000_000),
    "50 MB, packed": lambda _: http(gzip.compress(bytes(50_000_000), 1), b"Content-Encoding: gzip"),
    "60,000 chunks": _chunked,
    "a header of a megabyte": lambda _: http(b"", b"X-A: " + b"a" * 1_000_000),
    "50,000 headers": lambda _: http(b"", *(b"X-%d: 1" % number for number in range(50_000))),
    "a phrase of 8,000 characters": lambda _: http(b"", status=b"400 " + b"ab " * 2_600),
}
_COMPLETE = b"<response><status>complete</status><batchSize>4</batchSize>"
_STATUSES: dict[str, Answer] = {
    "profiles that open": _full(b"<profile>", before=_COMPLETE),
    "profiles of one id": _full(b"<profile><id>u1</id><status>failed</status></profile>", before=_COMPLETE),
    "ids that open": _full(b"<profile><id>", before=_COMPLETE),
    "counts": _full(b"<batchSize>1</batchSize>", before=_COMPLETE),
    "a count of 64 KB": _full(b"9", before=b"<response><status>complete</status><batchSize>", behind=b"</batchSize>"),
    "statuses": _full(b"<status>complete</status>", before=b"<response>"),
    "CDATA that opens": _full(b"<![CDATA[", before=_COMPLETE),
    "tags that open": _full(b"<a>", before=_COMPLETE),
    "words of two letters": _full(b"ab ", before=_OPENED, behind=_CUT),
    "50 MB": lambda _: http(_COMPLETE + b"<profile>" * 6_000_000),
    "60,000 chunks": _chunked,
}


def answers() -> list[Hostile]:
    """Each met by the first calls of a load."""
    return [
        *(Hostile(f"to a POST: {name}", _export, _QUICK, posts=(answer,) * 4) for name, answer in _POSTS.items()),
        *(
            Hostile(f"of a status: {name}", _export, _QUICK, statuses=(answer,) * 4)
            for name, answer in _STATUSES.items()
        ),
    ]


def all_hostile() -> list[Hostile]:
    """The whole table: exports, drops and answers."""
    return [*headers(), *bodies(), *json_lines(), *drops(), *answers()]
