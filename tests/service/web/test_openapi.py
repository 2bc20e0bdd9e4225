"""Every answer is what `/openapi.json` says of it: to requests that schemathesis makes of it, right and wrong alike."""

from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from anyio.to_thread import run_sync
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pipeline.core.errors import FatalError
from pipeline.settings.sections.web import WebSettings
from pipeline.settings.tenants import Configuration
from tests.service.web.ledgers import enter_jobs, load_canaries
from tests.service.web.site import Site, of_clients, of_settings, site
from tests.simulation.staged import deliver
from tests.tools.drawn import examples

TOKEN = "a-token"
CHECKS: list[Any] = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
#: Answers of these are JSON; that of `/events` has no end.
ADDRESSES = ("/healthz", "/readyz", "/status", "/jobs", "/jobs/{job}", "/openapi.json")


def real_loads(directory: Path) -> Configuration:
    load_canaries(directory)
    enter_jobs(directory / "state", 2, unfinished=1, name="later")
    return of_settings(directory, drop={"directory": str(directory)})


def several(directory: Path) -> Configuration:
    enter_jobs(directory / "a", 3, client_code="a", unfinished=1, name="x")
    enter_jobs(directory / "b", 3, client_code="b", unfinished=1, name="y")
    enter_jobs(directory, 1, client_code="gone", unfinished=1)
    return of_clients(directory, "a", "b")


def one_and_what_is_left(directory: Path) -> Configuration:
    enter_jobs(directory / "clients" / "gone", 1, client_code="gone", unfinished=1)
    enter_jobs(directory / "a", 1, client_code="a")
    return of_clients(directory, "a")


def all_that_may_be_told(directory: Path) -> Configuration:
    """With a memory, time windows and a token that ends, and files in the drop directory that are not taken."""
    memory = {"remember": "digests"}
    deliver(directory, "u1,gold,1", "u2,,2", memory=memory)
    drop = directory / "drop"
    drop.mkdir()
    for name in ("a.csv.ready", "b.csv", "c.csv.ready.ready"):
        (drop / name).touch()
    (drop / "link").symlink_to("b.csv")
    target = {"token_file": str(directory / "token"), "token_expires": "2031-01-01"}
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    window = {"days": days, "from": "00:00", "to": "23:59", "time_zone": "UTC", "calls_per_minute": 3}
    settings = {"directory": str(drop), "signal_wait_s": 1.0}
    return of_settings(directory, memory=memory, target=target, drop=settings, windows=[window])


def damaged(directory: Path) -> Configuration:
    (directory / "state").mkdir()
    (directory / "state" / "ledger.db").write_bytes(b"no database" * 1_000)
    return of_settings(directory)


async def described(at: Site, token: str = "") -> Any:
    """The description, as schemathesis reads it."""
    said = await at.get("/openapi.json", Authorization=f"Bearer {token}")
    return schemathesis.openapi.from_dict(said.told)


def ask(at: Site, schema: Any, *, token: str = "", count: int = 25) -> set[tuple[str, int]]:
    """Ask all addresses what the description says, and what it does not; each path with the statuses that came."""
    seen: set[tuple[str, int]] = set()
    job_ids = [job["job"] for job in requests.get(f"{at.url}/jobs", headers=bearer(token)).json().get("jobs", ())]

    def answers(path: str, mode: GenerationMode) -> None:
        operation = schema[path]["GET"]

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=examples(count),
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        def check(case: Case[Any]) -> None:
            seen.add((path, validated(case, at, token)))

        check()

    for path in ADDRESSES:
        answers(path, GenerationMode.POSITIVE)
    for path in ("/jobs", "/jobs/{job}"):
        answers(path, GenerationMode.NEGATIVE)
    for job_id in job_ids:
        case = schema["/jobs/{job}"]["GET"].Case(path_parameters={"job": job_id})
        assert validated(case, at, token) == 200
    return seen


def validated(case: Case[Any], at: Site, token: str) -> int:
    """Ask, hold the answer against the description, and return its status."""
    response = case.call(base_url=at.url, headers=bearer(token), timeout=30)
    case.validate_response(response, checks=CHECKS)
    return int(response.status_code)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


@pytest.fixture
def loaded(request: pytest.FixtureRequest, tmp_path: Path) -> Configuration:
    """What the parameter makes, before a loop runs: its loads have a loop of their own."""
    made: Configuration = request.param(tmp_path)
    return made


@pytest.mark.parametrize("loaded", [real_loads, several, one_and_what_is_left, all_that_may_be_told], indirect=True)
async def test_every_answer_is_as_described(loaded: Configuration) -> None:
    async with site(loaded) as at:
        schema = await described(at)
        seen = await run_sync(lambda: ask(at, schema))
    assert {path for path, _ in seen} == set(ADDRESSES)
    assert {("/jobs", 400), ("/jobs/{job}", 404), ("/status", 200), ("/openapi.json", 200)} <= seen


async def test_so_is_that_of_a_service_in_trouble(tmp_path: Path) -> None:
    async with site(damaged(tmp_path)) as at:
        at.served.error = FatalError("the ledger is damaged.")
        schema = await described(at)
        seen = await run_sync(lambda: ask(at, schema, count=5))
    assert {("/status", 503), ("/jobs", 503), ("/readyz", 503), ("/healthz", 200)} <= seen


@pytest.mark.parametrize("loaded", [real_loads], indirect=True)
async def test_so_is_that_to_whoever_has_no_token(tmp_path: Path, loaded: Configuration) -> None:
    (tmp_path / "token").write_text(TOKEN)
    web = WebSettings(host="0.0.0.0", token_file=tmp_path / "token")
    async with site(loaded, web=web) as at:
        schema = await described(at, TOKEN)
        without = await run_sync(lambda: ask(at, schema, count=3))
        with_it = await run_sync(lambda: ask(at, schema, token=TOKEN, count=3))
    assert {status for path, status in without if path not in ("/healthz", "/readyz")} == {401}
    assert not [status for _, status in with_it if status == 401]
