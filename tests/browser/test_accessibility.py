"""axe-core finds nothing wrong with any page, light or dark, on a wide screen or on a phone."""

from pathlib import Path
from typing import Literal

from playwright.async_api import Page

from tests.browser.chromium import needs_axe, needs_chromium, opened
from tests.browser.serving import service
from tests.tools.support import SIX_ROWS

pytestmark = [needs_chromium, needs_axe]

#: Colours and width (pixels) of a window.
LOOKS: tuple[tuple[Literal["light", "dark"], int], ...] = (("light", 1280), ("dark", 1280), ("light", 390))


async def violations(page: Page) -> list[str]:
    """Everything that axe-core finds: the rule, what is wrong, and where."""
    # A page that is marked does not change meanwhile.
    await page.evaluate("getSelection().selectAllChildren(document.body)")
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{each['id']}: {node['html'][:120]}: {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


async def violations_in_each_look(page: Page) -> list[str]:
    told = []
    for scheme, width in LOOKS:
        await page.emulate_media(color_scheme=scheme)
        await page.set_viewport_size({"width": width, "height": 900})
        told += [f"{scheme}, {width}: {each}" for each in await violations(page)]
        if await page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
            told.append(f"{scheme}, {width}: the page is wider than the window")
    return told


async def test_nothing_is_found_on_any_page(tmp_path: Path) -> None:
    async with (
        service(tmp_path, export={"max_rejects": "90%"}) as at,
        opened(at.url, with_axe=True) as window,
    ):
        at.drop.put("customers.csv", *SIX_ROWS, ",gold,1", "u7,gold", signal_as="customers.csv.ready")
        job = await at.job("customers.csv", state="unfinished", batches=3)
        for url in (f"{at.url}/", at.page_of(job)):
            await window.open(url)
            await window.until_live()
            await window.until_shown("customers.csv")
            assert await violations_in_each_look(window.page) == [], url

        at.drop.at.sandbox.apply_all()
        await at.job("customers.csv", state="done")
        report = at.drop.at.state / "jobs" / job / "report.html"
        for url in (f"{at.url}/", at.page_of(job), report.as_uri()):
            await window.open(url)
            for summary in await window.page.locator("summary").all():
                await summary.click()
            assert await violations_in_each_look(window.page) == [], url
    assert window.told == []


async def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    page = tmp_path / "wrong.html"
    page.write_text("<!doctype html><html><body><img src='data:,'><p style='color:#ccc'>pale</p></body></html>")
    async with opened(page.as_uri(), with_axe=True) as window:
        await window.open(page.as_uri())
        found = {each.partition(":")[0] for each in await violations(window.page)}
    assert {"html-has-lang", "image-alt", "color-contrast"} <= found
