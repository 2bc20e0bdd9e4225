"""Answers that quote what was sent, in every place of an answer: rows, ids, the token. None may be told to anybody."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from xml.sax.saxutils import escape


@dataclass(frozen=True, slots=True)
class Echo:
    """An answer in the sandbox's place; or None, and `url` stands in the sandbox's for the address of the status."""

    answer: bytes | None
    url: bytes = b""

    def spoil(self, answer: bytes) -> bytes:
        """The sandbox's answer, with the other address."""
        head, _, body = answer.partition(b"\r\n\r\n")
        spoilt = re.sub(
            rb"<batchStatus>.+?</batchStatus>", lambda _: b"<batchStatus>" + self.url + b"</batchStatus>", body
        )
        return _with_length(head.partition(b"\r\n")[0], spoilt)


def echo_of(request: bytes, draw: random.Random) -> Echo:
    """One of the echoes of a call."""
    is_post = request.startswith(b"POST")
    head, _, body = request.partition(b"\r\n\r\n")
    token = next((line for line in head.split(b"\r\n") if line.lower().startswith(b"authorization:")), b"none")
    # The name of an address may hold the rows too.
    row = draw.choice(body.split(b"\n")[1:-1] or [b"none"]) if is_post else head.partition(b"\r\n")[0]
    quoted = draw.choice((row, token, row + b" " + token))
    if is_post and draw.random() < 0.15:
        return Echo(None, draw.choice(_URLS)(quoted))
    return Echo(draw.choice(_ANSWERS)(quoted))


def _with_length(first: bytes, body: bytes) -> bytes:
    return first + b"\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def _refusal(quoted: bytes) -> bytes:
    text = escape(quoted.decode(errors="replace")).encode()
    return b"<response><success>false</success><message>" + text + b" is no good</message></response>"


def _status(word: bytes, more: bytes = b"") -> bytes:
    return b"<response><status>" + escape(word.decode(errors="replace")).encode() + b"</status>" + more + b"</response>"


_OK = b"HTTP/1.1 200 OK"
#: Broken HTTP, errors, and answers that only look right: each with the text in another place.
_ANSWERS: tuple[Callable[[bytes], bytes], ...] = (
    lambda quoted: quoted + b"\r\n\r\n",
    lambda quoted: b"HTTP/1.1 " + quoted + b"\r\n\r\n",
    lambda quoted: b"HTTP/1.1 400 bad " + quoted + b"\r\nContent-Length: 0\r\n\r\n",
    lambda quoted: b"HTTP/1.1 500 " + quoted + b"\r\nContent-Length: 0\r\n\r\n",
    lambda quoted: b"HTTP/1.1 422 \x1b[2J\xc2\x9b" + quoted + b"\r\nContent-Length: 0\r\n\r\n",
    lambda quoted: _OK + b"\r\n" + quoted + b"\r\n\r\n",
    lambda quoted: _OK + b"\r\n" + quoted.replace(b" ", b"") + b": x\r\nContent-Length: 0\r\n\r\n",
    lambda quoted: _OK + b"\r\nX-Echo: " + quoted + b"\0\r\n\r\n",
    lambda quoted: _OK + b"\r\nContent-Length: " + quoted + b"\r\n\r\n",
    lambda quoted: _OK + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + quoted + b"\r\nabc\r\n",
    lambda quoted: _OK + b"\r\nTransfer-Encoding: " + quoted + b"\r\n\r\nabc",
    lambda quoted: _OK + b"\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n" + quoted[:3],
    lambda quoted: b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/" + quoted + b"\r\nContent-Length: 0\r\n\r\n",
    lambda quoted: b"HTTP/1.1 503 " + quoted + b"\r\nRetry-After: " + quoted + b"\r\nContent-Length: 0\r\n\r\n",
    lambda quoted: _with_length(_OK, quoted),
    lambda quoted: _with_length(_OK, b"<html><body>" + quoted + b"</body></html>"),
    lambda quoted: _with_length(_OK, _refusal(quoted)),
    lambda quoted: _with_length(_OK, b"<" + quoted + b"/>"),
    lambda quoted: _with_length(_OK, _status(quoted)),
)
#: Addresses of a status that nobody may ask, or cannot.
_URLS: tuple[Callable[[bytes], bytes], ...] = (
    lambda quoted: b"http://" + b"a" * 70 + b".tt.omtrdc.net/m2/demo/profile/batchStatus?batchId=1",
    lambda quoted: b"http://mboxedge1.tt.omtrdc.net\\@x/m2/demo",
    lambda quoted: b"http://127.0.0.1:1/\x7f?batchId=1",
    lambda quoted: "http://mboxedge\u05d01.tt.omtrdc.net/m2/demo".encode(),
    lambda quoted: b"http://evil.example/" + quoted.replace(b" ", b"%20").replace(b"<", b""),
    lambda quoted: b"file:///" + quoted.replace(b"<", b""),
    lambda quoted: b"http://[::1",
    lambda quoted: b"//" + quoted.replace(b"<", b""),
)
