"""All of a page can be reached and used by keyboard, focus is seen, and a live change does not take it away."""

from pathlib import Path

from playwright.async_api import Page

from tests.browser.chromium import needs_chromium, opened
from tests.browser.serving import service
from tests.tools.support import SIX_ROWS

pytestmark = needs_chromium

#: What has focus: a name for it, whether an outline of two pixels and more is around it, and whether it is in sight.
_FOCUSED = """() => {
  const each = document.activeElement, style = getComputedStyle(each), box = each.getBoundingClientRect();
  const isOutlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  const isInSight = box.right > 0 && box.bottom > 0 && box.left < innerWidth && box.top < innerHeight;
  return [each.id || each.textContent.trim(), isOutlined && isInSight];
}"""


async def focused(page: Page) -> str:
    """What has focus, by its id or else its text."""
    name, _ = await page.evaluate(_FOCUSED)
    return str(name)


async def tabbed(page: Page) -> list[str]:
    """What has focus after each press of Tab, until the page is through; all of it is seen to have focus."""
    names: list[str] = []
    while True:
        await page.keyboard.press("Tab")
        name, is_seen = await page.evaluate(_FOCUSED)
        if not name or name in names or await page.evaluate("document.activeElement === document.body"):
            return names
        assert is_seen, f"focus on {name} is not seen"
        names.append(str(name))


async def test_focus_goes_through_a_page_in_its_order_and_stays_over_live_changes(tmp_path: Path) -> None:
    async with service(tmp_path) as at, opened(at.url) as window:
        page = window.page
        at.drop.put("customers.csv", *SIX_ROWS, signal_as="customers.csv.ready")
        job = await at.job("customers.csv", state="unfinished", batches=3)
        await window.open(f"{at.url}/")
        await window.until_live()
        # A page may be a second older than what the service tells elsewhere.
        await page.wait_for_selector(f"#job-{job}")
        assert await tabbed(page) == ["To the content", "Overview", f"job-{job}"]

        await window.open(f"{at.url}/")
        await page.wait_for_selector(f"#job-{job}")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        assert await focused(page) == "main"
        await page.keyboard.press("Tab")
        assert await focused(page) == f"job-{job}"
        await page.keyboard.press("Enter")
        await page.wait_for_url(at.page_of(job))
        await window.until_live()

        await page.wait_for_selector("#each-batch-title")
        assert await tabbed(page) == ["To the content", "Overview", "rows-wide", "each-batch-title"]
        await window.open(at.page_of(job))
        await window.until_live()
        await page.locator("#each-batch-title").focus()
        assert not await page.locator("#batches-wide").is_visible()
        await page.keyboard.press("Enter")
        assert await page.locator("#batches-wide").is_visible()

        at.drop.at.sandbox.apply_all()
        await page.get_by_role("heading", name="customers.csv: done").wait_for()
        assert await window.was_not_reloaded()
        assert await focused(page) == "each-batch-title"
        assert await page.locator("#batches-wide").is_visible()
        await page.keyboard.press("Enter")
        assert not await page.locator("#batches-wide").is_visible()
    assert window.told == []
