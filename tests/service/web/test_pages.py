"""The pages as the web server hands them out: to browsers, with a policy that lets them do no more than they need."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest

from pipeline.settings.sections.web import WebSettings
from tests.service.web.ledgers import enter_jobs, load_canaries
from tests.service.web.site import Site, of_settings, site

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("loaded")
    load_canaries(directory)
    enter_jobs(directory / "state", 2, unfinished=1, name="later")
    return directory


class Links(HTMLParser):
    """The addresses that a page names: of links, of events and of anything that a browser would load."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src", "data-events") and value]


async def job_ids(at: Site) -> list[str]:
    return [job["job"] for job in (await at.get("/jobs")).told["jobs"]]


async def test_a_browser_gets_pages_and_a_program_json(loaded: Path) -> None:
    async with site(of_settings(loaded)) as at:
        for job_id in await job_ids(at):
            page, told = await at.get(f"/jobs/{job_id}", Accept=BROWSER), await at.get(f"/jobs/{job_id}")
            assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
            assert (told.status, told.headers["Content-Type"]) == (200, "application/json")
            assert page.headers["Vary"] == told.headers["Vary"] == "Accept"
            assert job_id in page.body.decode()
        overview = await at.get("/", Accept=BROWSER)
        assert (overview.status, overview.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert overview.body == (await at.get("/")).body


async def test_every_address_on_a_page_is_answered(loaded: Path) -> None:
    async with site(of_settings(loaded)) as at:
        (first, *_) = await job_ids(at)
        seen = set()
        for path in ("/", f"/jobs/{first}"):
            links = Links((await at.get(path, Accept=BROWSER)).body).found
            for link in links:
                parts = urlsplit(urljoin(at.url + path, link))
                if parts.scheme == "http" and parts.path != "/events" and not link.startswith("#"):
                    assert f"http://{parts.netloc}" == at.url, link
                    assert (await at.get(parts.path, Accept=BROWSER)).status == 200, link
                    seen.add(parts.path)
            assert urljoin(at.url + path, next(link for link in links if link.endswith("events"))) == f"{at.url}/events"
        # The overview links to jobs, and they to it.
        assert {"/", f"/jobs/{first}"} <= seen


async def test_the_policy_lets_nothing_be_loaded_but_what_is_on_the_page(loaded: Path) -> None:
    async with site(of_settings(loaded)) as at:
        (first, *_) = await job_ids(at)
        for path in ("/", f"/jobs/{first}"):
            said = await at.get(path, Accept=BROWSER)
            policy = dict(each.strip().split(" ", 1) for each in said.headers["Content-Security-Policy"].split(";"))
            assert re.fullmatch(r"'sha256-\S+'", policy.pop("style-src"))
            assert re.fullmatch(r"'sha256-\S+'", policy.pop("script-src"))
            assert policy == {
                "default-src": "'none'",
                "img-src": "data:",
                "base-uri": "'none'",
                "form-action": "'none'",
                "connect-src": "'self'",
                "frame-ancestors": "'none'",
            }
            assert said.headers["X-Frame-Options"] == "DENY"


async def test_a_page_that_is_none(loaded: Path) -> None:
    async with site(of_settings(loaded)) as at:
        assert (await at.get("/jobs/none", Accept=BROWSER)).status == 404
        assert (await at.get("/none", Accept=BROWSER)).status == 404


async def test_a_browser_without_the_token_is_asked_for_it(loaded: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-token")
    web = WebSettings(host="0.0.0.0", token_file=tmp_path / "token")
    async with site(of_settings(loaded), web=web) as at:
        said = await at.get("/", Accept=BROWSER)
        assert said.status == 401
        assert said.headers["WWW-Authenticate"].startswith("Basic realm=")
        assert (await at.get("/", Accept=BROWSER, Authorization="Basic OmEtdG9rZW4=")).status == 200


async def test_a_page_of_a_state_directory_in_which_nothing_was_loaded(tmp_path: Path) -> None:
    async with site(of_settings(tmp_path)) as at:
        assert (await at.get("/", Accept=BROWSER)).status == 200
