"""The frame of every page: its template, its one style, its one script, and what a browser may load for it: nothing."""

from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline.core.printable import printable
from pipeline.edges.views.marks import Mark, mark_of_batch

_PAGES = Path(__file__).parent / "pages"
#: Drawings of the icon, which is for tabs and bookmarks: form of a mark -> path on a field of 16 by 16.
_ICONS = {
    "check": "M4 8.4l2.7 2.7L12 5.4",
    "warning": "M8 3.5v5.5m0 1.7v2",
    "cross": "M5 5l6 6m0-6l-6 6",
    "hand": "M5.6 4v8m4.8-8v8",
    "play": "M6 4v8l6-4z",
    "clock": "M8 3.5V8l3 2.2",
}
_TONES = {"good": "#14733d", "odd": "#8a5300", "bad": "#b3261e", "info": "#1d5fae", "soft": "#566273"}


@dataclass(frozen=True, slots=True)
class Site:
    """The place of a live page among the others: addresses are relative, so that a proxy may put all below a path."""

    is_overview: bool

    @property
    def overview(self) -> str:
        """The address of the overview."""
        return "./" if self.is_overview else "../"

    @property
    def events(self) -> str:
        """The address of the stream that says when something changed."""
        return f"{self.overview}events"

    def job(self, job_id: str) -> str:
        """The address of a job's page."""
        return f"{self.overview}jobs/{quote(job_id, safe='')}"


@cache
def style() -> str:
    """The style of all pages."""
    return (_PAGES / "style.css").read_text(encoding="utf-8")


@cache
def script() -> str:
    """The script of live pages: it fetches the page anew when something changed."""
    return (_PAGES / "live.js").read_text(encoding="utf-8")


@cache
def content_security_policy(*, is_live: bool) -> str:
    """All that a browser may do for a page: apply our style, show its icon, and for a live one run our script."""
    allowed = [
        "default-src 'none'",
        f"style-src {_hash(style())}",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    if is_live:
        allowed += [f"script-src {_hash(script())}", "connect-src 'self'"]
    return "; ".join(allowed)


def framed(template: str, *, title: str, mark: Mark, at: str, site: Site | None, **values: Any) -> str:
    """A page of this template. `at`: the time at which things were so; `site`: None for one that is alone."""
    return (
        _environment()
        .get_template(template)
        .render(
            title=title,
            icon=_icon(mark),
            at=at,
            site=site,
            style=Markup(style()),  # noqa: S704 - ours
            script=Markup(script()),  # noqa: S704 - ours
            policy=content_security_policy(is_live=site is not None),
            mark_of_batch=mark_of_batch,
            **values,
        )
    )


@cache
def _environment() -> Environment:
    """The templates: compiling them takes longer than making a page of them."""
    return Environment(
        loader=FileSystemLoader(_PAGES),
        autoescape=True,
        finalize=_finalized,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _finalized(value: Any) -> Any:
    # A browser obeys characters that turn a line around.
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _icon(mark: Mark) -> str:
    drawing = _ICONS.get(mark.form, "M4.5 8h7")
    return "data:image/svg+xml," + quote(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>"
        f"<rect width='16' height='16' rx='4' fill='{_TONES[mark.tone]}'/>"
        f"<path d='{drawing}' fill='none' stroke='white' stroke-width='2'/></svg>",
        safe="/='",
    )
