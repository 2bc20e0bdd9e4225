"""The pages in a real browser: they keep to their policy, and change while somebody looks. Where there is a browser."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright

from tests.service.web.ledgers import enter_jobs
from tests.service.web.site import Site, of_settings, site

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser is installed")
#: Milliseconds that something on a page may take.
WITHIN_MS = 20_000


@asynccontextmanager
async def opened(at: Site, path: str, told: list[str]) -> AsyncIterator[Page]:
    """A page in a browser; `told` gets what its console says, and what it asked for elsewhere."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await browser.new_page()
        page.set_default_timeout(WITHIN_MS)
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on(
            "request", lambda request: None if request.url.startswith((at.url, "data:")) else told.append(request.url)
        )
        await page.goto(at.url + path)
        yield page
        await browser.close()


async def test_the_overview_changes_while_somebody_looks_and_leads_to_jobs(tmp_path: Path) -> None:
    told: list[str] = []
    enter_jobs(tmp_path / "state", 2)
    async with site(of_settings(tmp_path)) as at, opened(at, "/", told) as page:
        await page.wait_for_selector("body.is-live")
        (later,) = enter_jobs(tmp_path / "state", 1, name="later")
        await page.wait_for_selector(f"#job-{later}")
        await page.click(f"#job-{later}")
        await page.wait_for_url(f"{at.url}/jobs/{later}")
        await page.wait_for_selector("body.is-live")
        assert at.events.listeners >= 1
    assert told == []
