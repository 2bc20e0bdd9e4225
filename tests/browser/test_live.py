"""The pages change while somebody looks, without a reload, and say what became of jobs. Where there is a browser."""

from pathlib import Path

from playwright.async_api import expect

from tests.browser.chromium import WITHIN_MS, needs_chromium, opened
from tests.browser.serving import service
from tests.service.web.ledgers import enter_jobs
from tests.service.web.site import of_settings, site
from tests.tools.support import SIX_ROWS

pytestmark = needs_chromium


async def test_the_overview_changes_while_somebody_looks_and_leads_to_jobs(tmp_path: Path) -> None:
    enter_jobs(tmp_path / "state", 2)
    async with site(of_settings(tmp_path)) as at, opened(at.url) as window:
        await window.open(f"{at.url}/")
        await window.until_live()
        (later,) = enter_jobs(tmp_path / "state", 1, name="later")
        await window.page.wait_for_selector(f"#job-{later}")
        await window.page.click(f"#job-{later}")
        await window.page.wait_for_url(f"{at.url}/jobs/{later}")
        await window.until_live()
        assert at.events.listeners >= 1
    assert window.told == []


async def test_a_job_begins_and_ends_on_pages_that_stay_open(tmp_path: Path) -> None:
    async with service(tmp_path) as at, opened(at.url) as overview:
        await overview.open(f"{at.url}/")
        await overview.until_live()
        at.drop.put("customers.csv", *SIX_ROWS, signal_as="customers.csv.ready")
        await overview.page.locator("#jobs-now").get_by_text("customers.csv").wait_for()
        job = await at.job("customers.csv", state="unfinished", batches=3)

        page = await overview.context.new_page()
        page.on("console", lambda message: overview.told.append(message.text))
        await page.goto(at.page_of(job))
        await page.evaluate("window.isTheSame = true")
        await page.wait_for_selector("body.is-live")
        await expect(page.get_by_role("row", name="pending").locator("td").first).to_have_text("6", timeout=WITHIN_MS)
        at.drop.at.sandbox.apply_all()
        await page.get_by_role("heading", name="customers.csv: done").wait_for()
        assert await page.evaluate("window.isTheSame")
        assert await page.locator("#announced").inner_text() == "customers.csv: done"
        assert await page.title() == "customers.csv: done"
        assert await page.get_by_role("row", name="confirmed").locator("td").first.inner_text() == "6"

        await overview.page.bring_to_front()
        await overview.page.locator("#jobs-ended").get_by_text("customers.csv").wait_for()
        assert await overview.was_not_reloaded()
    assert overview.told == []


async def test_the_reason_of_a_failed_job_and_what_to_do_about_one_in_quarantine(tmp_path: Path) -> None:
    async with service(tmp_path, apply_s=0.0, guard={"min_rows": 5}) as at, opened(at.url) as window:
        (at.drop.directory / "other.csv").write_text("key,tier\nu1,gold\n")
        (at.drop.directory / "other.csv.ready").touch()
        failed = await at.job("other.csv", state="failed")
        at.drop.put("short.csv", "u1,gold,1", signal_as="short.csv.ready")
        waiting = await at.job("short.csv", state="quarantined")

        await window.open(at.page_of(failed))
        await window.page.get_by_role("heading", name="other.csv: failed").wait_for()
        assert "id_column" in await window.page.locator("#verdict .error").inner_text()
        await window.open(at.page_of(waiting))
        await window.page.locator("#verdict h1").get_by_text("quarantine").wait_for()
        assert "it has 1 row" in await window.page.locator("#verdict").inner_text()
        assert f"profile-pipeline approve {waiting}" in await window.page.locator("#verdict").inner_text()
        await window.open(f"{at.url}/")
        await window.until_shown(f"profile-pipeline approve {waiting}")
        assert "quarantine" in await window.page.locator("#jobs-now").inner_text()
    assert window.told == []
