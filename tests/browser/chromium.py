"""A real browser for tests of the pages: where it is, how it is started, and what it says while a page is open."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, async_playwright

CHROMIUM = shutil.which("chromium")
#: It talks to nobody but the service under test, and needs no rights, no display and no graphics card.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: axe-core finds what people with disabilities would meet on a page; `make browser-test` fetches it.
AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
#: Milliseconds that something on a page may take.
WITHIN_MS = 60_000

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None,
    reason="chromium is not there: `make browser-test` installs it where it may, else its package does",
)
needs_axe = pytest.mark.skipif(not AXE.exists(), reason="axe-core is not there: `make browser-test` fetches it by npm")


@dataclass(frozen=True, slots=True)
class Window:
    """A window of the browser.

    `told`: what the consoles of its pages said, errors too, and addresses elsewhere that they asked for.
    """

    context: BrowserContext
    page: Page
    told: list[str] = field(default_factory=list)

    async def open(self, url: str) -> None:
        """Open this address. From here on a reload would be noticed by `was_not_reloaded`."""
        await self.page.goto(url)
        await self.page.evaluate("window.isTheSame = true")

    async def was_not_reloaded(self) -> bool:
        """True if the page is still the one that was opened, whatever it shows by now."""
        return bool(await self.page.evaluate("window.isTheSame === true"))

    async def until_shown(self, words: str) -> None:
        """Wait until these words are on the page."""
        await self.page.get_by_text(words).first.wait_for()

    async def until_live(self) -> None:
        """Wait until the page has said that it is connected."""
        await self.page.wait_for_selector("body.is-live")


@asynccontextmanager
async def opened(at: str, *, with_axe: bool = False, **options: Any) -> AsyncIterator[Window]:
    """A window for the pages at this address; `options` are those of a browser context, such as `viewport`."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        context = await browser.new_context(**options)
        context.set_default_timeout(WITHIN_MS)
        if with_axe:
            await context.add_init_script(path=AXE)
        window = Window(context, await context.new_page())
        window.page.on("console", lambda message: window.told.append(message.text))
        window.page.on("pageerror", lambda error: window.told.append(str(error)))
        window.page.on(
            "request",
            lambda request: None if request.url.startswith((at, "data:", "file:")) else window.told.append(request.url),
        )
        try:
            yield window
        finally:
            await browser.close()
