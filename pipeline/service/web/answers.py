"""The answers of the web server: JSON, problems in words, and the headers that all of them have."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

from pipeline.core.plain import plain

JSON = "application/json"
#: RFC 9457: the media type of an answer that says why there is no other.
PROBLEM = "application/problem+json"
#: The name of the server in its answers, in place of those of the libraries and their versions.
_NAME = "profile-pipeline"
#: Nothing is kept by a browser or a proxy, framed by another page, or taken for what it is not. A page that has styles
#: or scripts sets a policy of its own.
_ALWAYS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": _NAME,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_POLICY = "Content-Security-Policy"
_NOTHING_LOADED = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@dataclass(frozen=True, slots=True)
class Health:
    """The health of the process: its event loop turns, since it has answered."""

    is_well: bool


@dataclass(frozen=True, slots=True)
class Readiness:
    """The readiness to take exports; `why`: the reasons why not."""

    is_ready: bool
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """The reason why there is no other answer. `title`: the name of the HTTP status. `detail`: what to do about it."""

    title: str
    status: int
    detail: str


def answer(value: Any, status: int = 200) -> web.Response:
    """A dataclass as JSON."""
    return answer_of(orjson.dumps(plain(value)), status)


def answer_of(body: bytes, status: int = 200) -> web.Response:
    """JSON that is written already."""
    return web.Response(body=body, status=status, content_type=JSON)


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer that says why there is no other."""
    told = Problem(HTTPStatus(status).phrase, status, detail)
    return web.Response(body=orjson.dumps(plain(told)), status=status, content_type=PROBLEM, headers=headers)


def protect(response: web.StreamResponse) -> None:
    """Give an answer the headers that all of them have."""
    response.headers.update(_ALWAYS)
    response.headers.setdefault(_POLICY, _NOTHING_LOADED)
