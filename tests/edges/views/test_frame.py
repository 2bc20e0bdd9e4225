"""The frame of pages: what a browser may load, who may read it, and what everybody can read."""

import re
from base64 import b64encode
from hashlib import sha256

import pytest

from pipeline.core.batches.report import Report
from pipeline.edges.views.frame import Site, content_security_policy, script, style
from pipeline.edges.views.job_view import JobView
from pipeline.edges.views.marks import MARKS, mark_of, mark_of_batch
from pipeline.edges.views.page import job_page

VIEW = JobView(
    Report(job="j", started_at="2026-11-23T02:14:00+00:00", finished_at="2026-11-23T02:15:00+00:00"), "running"
)


def within(tag: str, page: str) -> str:
    (found,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    return str(found)


def test_the_policy_allows_what_is_on_the_page_and_nothing_else() -> None:
    page = job_page(VIEW, Site(is_overview=False))
    policy = content_security_policy(is_live=True)
    for tag, kind in (("style", "style-src"), ("script", "script-src")):
        digest = b64encode(sha256(within(tag, page).encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


def test_a_page_that_is_alone_has_no_script_and_knows_no_other() -> None:
    page = job_page(VIEW)
    assert "<script" not in page
    assert "script-src" not in page
    assert "connect-src" not in page
    assert "<nav" not in page


def test_the_script_and_the_style_end_nothing() -> None:
    """They stand within their elements as they are."""
    assert "</" not in script()
    assert "</" not in style()
    assert "<!--" not in script()


def test_addresses_are_relative_so_that_a_proxy_may_put_all_below_a_path() -> None:
    assert Site(is_overview=True).job("20261123T021400Z-a-1") == "./jobs/20261123T021400Z-a-1"
    assert Site(is_overview=False).overview == "../"
    assert Site(is_overview=False).events == "../events"
    assert Site(is_overview=True).job("../x?y#z") == "./jobs/..%2Fx%3Fy%23z"


def colors(*, is_dark: bool) -> dict[str, str]:
    light, dark = style().split("prefers-color-scheme: dark", 1)
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", light))
    return found | dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", dark)) if is_dark else found


def luminance(color: str) -> float:
    digits = color[1:] if len(color) == 7 else "".join(digit * 2 for digit in color[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted([luminance(one), luminance(other)])
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("is_dark", [False, True])
def test_contrasts_are_those_of_wcag_aa(is_dark: bool) -> None:
    color = colors(is_dark=is_dark)
    texts = ["ink", "soft", "good", "odd", "bad", "info"]
    for text in texts:
        for ground in ("card", "paper", "code"):
            assert contrast(color[text], color[ground]) >= 4.5, (text, ground)
    for tone in ("good", "odd", "bad", "info"):
        assert contrast(color["ink"], color[f"{tone}-soft"]) >= 4.5, tone
        assert contrast(color[tone], color[f"{tone}-soft"]) >= 3, tone
    classes = ["confirmed", "pending", "superseded", "unchanged", "excluded", "empty", "rejected", "failed"]
    for drawn in (*classes, "unconfirmed", "unsent", "sending", "applying", "focus"):
        assert contrast(color[drawn], color["card"]) >= 3, drawn


def test_no_two_states_look_alike_without_colour() -> None:
    """Their marks may be alike where nobody takes one for the other: then their words differ."""
    assert len({(mark.form, mark.word) for mark in MARKS.values()}) == len(MARKS)
    forms = [
        MARKS[state].form for state in ("done", "incomplete", "failed", "quarantined", "running", "waiting", "missing")
    ]
    assert len({*forms}) == len(forms)


def test_every_mark_is_drawn_and_an_unknown_state_is_shown_by_its_name() -> None:
    page = job_page(VIEW)
    batches = ("sealed", "sending", "accepted", "refused", "complete", "failed", "unconfirmed", "split", "rejected")
    for mark in (*MARKS.values(), *map(mark_of_batch, (*batches, "unsent"))):
        assert f'id="m-{mark.form}"' in page
    assert mark_of("new").word == mark_of_batch("new").word == "new"
