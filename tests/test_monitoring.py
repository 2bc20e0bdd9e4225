"""The page of the metrics, the alerts and the dashboard, held against what a service that loads really tells.

Alerts and queries are run by the real Prometheus too, where it is installed (`make monitoring-test` sees to it).
"""

import asyncio
import json
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from pipeline.service.web.measured import Histogram
from pipeline.service.web.metric_table import METRICS, OF_PROCESS
from pipeline.service.web.metrics import EXPOSITION
from tests.service.web.scraping import Measuring, measuring, numbers_in

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "config"
PAGE = (ROOT / "docs" / "metrics.md").read_text()
ALERTS = CONFIG / "prometheus-alerts.yaml"
TESTS = CONFIG / "prometheus-alerts.test.yaml"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((CONFIG / "grafana-dashboard.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
#: What Grafana puts in place of its variables.
VARIABLES = {"$client_code": ".*", "$instance": ".*", "$__rate_interval": "1m"}
#: Where `make monitoring-test` puts what Debian's package has.
UNPACKED = ROOT / ".venv" / "prometheus" / "usr" / "bin"
#: Labels that Prometheus adds, and metrics that it makes.
ADDED, MADE = {"instance", "job"}, {"up", "ALERTS"}
MANY = {"max_rejects": 9}


def queries() -> list[tuple[str, str]]:
    """Each query of the dashboard with the title of its panel, as Prometheus gets it."""
    asked = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
    asked += [(each["name"], each["expr"]) for each in DASHBOARD["annotations"]["list"]]
    for variable, value in VARIABLES.items():
        asked = [(title, query.replace(variable, value)) for title, query in asked]
    return asked


@asynccontextmanager
async def loaded(directory: Path) -> AsyncIterator[Measuring]:
    """A service that has loaded something, with all that metrics tell of."""
    (directory / "token").write_text("a-token-of-some-length")
    target = {"token_file": str(directory / "token"), "token_expires": "2099-12-24"}
    settings: dict[str, Any] = {"target": target, "export": MANY, "memory": {"remember": "digests"}}
    async with measuring(directory, overdue=lambda: {"demo": {"default": False}}, **settings) as at:
        await at.load("a.csv", *(f"u{number},gold,{number}" for number in range(60)), ",no,id")
        yield at


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    async def scrape() -> bytes:
        async with loaded(tmp_path_factory.mktemp("loaded")) as at:
            return await at.text()

    return asyncio.run(scrape())


@pytest.fixture(scope="module")
def labels(scraped: bytes) -> dict[str, dict[str, set[str]]]:
    """By metric, and by label, the words that a scrape has."""
    found: dict[str, dict[str, set[str]]] = {}
    for name, having in numbers_in(scraped):
        words = found.setdefault(name, {})
        for label, word in having:
            words.setdefault(label, set()).add(word)
    return found


def rows_below(heading: str) -> list[list[str]]:
    """The cells of the table below a heading of the page."""
    section = re.split(r"^## ", PAGE.partition(f"## {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    assert rows, heading
    return [[cell.strip(" |") for cell in row] for row in rows]


class TestThePage:
    def test_lists_each_metric_of_a_client_code(self) -> None:
        listed = {row[0].strip("`"): row[1:] for row in rows_below("Of each client code")}
        made = {}
        for metric in METRICS:
            is_histogram = isinstance(metric, Histogram)
            names = ("client_code", *(() if isinstance(metric, Histogram) else metric.labels))
            kind = "histogram" if is_histogram else metric.kind  # type: ignore[union-attr]
            made[f"profile_pipeline_{metric.name}"] = [kind, ", ".join(f"`{each}`" for each in names), metric.told]
        assert listed == made

    def test_lists_each_metric_of_the_process(self) -> None:
        told = {row[0].strip("`"): row[-1] for row in rows_below("Of the process")}
        assert told == {f"profile_pipeline_{metric.name}": metric.told for metric in OF_PROCESS}

    def test_lists_each_word_of_a_label(self, labels: dict[str, dict[str, set[str]]]) -> None:
        listed = {
            (metric.strip("`"), label.strip("`")): set(re.findall(r"`(\w+)`", words))
            for label, metric, words in rows_below("The words of the labels")
        }
        found = {
            (metric.removeprefix("profile_pipeline_"), label): words
            for metric, by_label in labels.items()
            for label, words in by_label.items()
            if label not in ("client_code", "route", "le", "version")
        }
        # docs/report.md has these.
        assert listed.pop(("rejects_total", "reason")) == set()
        del found["rejects_total", "reason"]
        assert listed == found

    def test_names_follow_the_rules_of_prometheus(self) -> None:
        for metric in (*METRICS, *OF_PROCESS):
            assert metric.name.endswith("_total") == (getattr(metric, "kind", "") == "counter"), metric.name
            assert not re.search(r"_(ms|minutes|hours|days|kb|mb|percent)(_|$)", metric.name), metric.name


SELECTOR = re.compile(r"\b(profile_pipeline_\w+|process_\w+|up|ALERTS)\b(?:\{([^}]*)\})?")
MATCHER = re.compile(r"(\w+)\s*(=~|!~|!=|=)\s*\"([^\"]*)\"")


def assert_can_be_asked(query: str, labels: dict[str, dict[str, set[str]]]) -> None:
    """Each metric that a query names is told, with each label, and with each word that it asks for."""
    selectors = SELECTOR.findall(query)
    assert selectors, query
    grouped = {label.strip() for group in re.findall(r"\bby \(([^)]*)\)", query) for label in group.split(",")}
    for name, matchers in selectors:
        if name in MADE:
            continue
        assert name in labels, f"{name} in {query}"
        for label, how, words in MATCHER.findall(matchers):
            assert label in labels[name].keys() | ADDED, f"{name} has no {label}: {query}"
            if label in ADDED or words == ".*":
                continue
            missing = {*words.split("|" if "~" in how else "\0")} - labels[name][label]
            assert not missing, f"{name} has no {label} {missing}: {query}"
    known = {label for name, _ in selectors if name in labels for label in labels[name]} | ADDED
    assert grouped <= known, query


class TestTheAlerts:
    def test_each_says_what_to_do_and_how_urgent_it_is(self) -> None:
        names = [rule["alert"] for rule in RULES]
        assert len(set(names)) == len(names)
        for rule in RULES:
            assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
            assert rule["annotations"].keys() == {"summary", "description", "to_do"}, rule["alert"]

    @pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
    def test_each_asks_for_what_is_told(self, rule: dict[str, Any], labels: dict[str, dict[str, set[str]]]) -> None:
        assert_can_be_asked(rule["expr"], labels)

    def test_each_has_a_test_in_which_it_comes_and_one_in_which_it_does_not(self) -> None:
        comes, stays_away = set[str](), set[str]()
        for test in yaml.safe_load(TESTS.read_text())["tests"]:
            for expected in test.get("promql_expr_test", ()):
                samples = expected["exp_samples"]
                (comes if samples else stays_away).add(f"ProfilePipeline{test['name']}")
                for sample in samples:
                    assert sample["labels"] == f'{{alertname="ProfilePipeline{test["name"]}"}}'
        assert comes == stays_away == {rule["alert"] for rule in RULES}

    def test_they_come_and_go_by_the_real_prometheus(self) -> None:
        assert "SUCCESS" in promtool("check", "rules", ALERTS)
        assert "SUCCESS" in promtool("test", "rules", TESTS)


class TestTheDashboard:
    def test_answers_five_questions(self) -> None:
        rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
        assert [title[:2] for title in rows] == ["1.", "2.", "3.", "4.", "5."]
        assert all(title.endswith("?") for title in rows)

    def test_each_panel_says_what_it_shows_and_has_a_place_of_its_own(self) -> None:
        assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
        taken = set[tuple[int, int]]()
        for panel in DASHBOARD["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert not taken & cells, panel["title"]
            assert at["x"] + at["w"] <= 24, panel["title"]
            taken |= cells
            assert panel["type"] == "row" or panel["description"], panel["title"]

    @pytest.mark.parametrize(("title", "query"), queries())
    def test_each_query_asks_for_what_is_told(
        self, title: str, query: str, labels: dict[str, dict[str, set[str]]]
    ) -> None:
        del title
        assert "$" not in query
        if "process_start_time_seconds" not in query:
            assert_can_be_asked(query, labels)

    def test_each_metric_is_asked_for_or_is_only_a_part(self) -> None:
        asked = " ".join([query for _, query in queries()] + [rule["expr"] for rule in RULES])
        shown = {f"profile_pipeline_{metric.name}" for metric in (*METRICS, *OF_PROCESS)}
        assert {name for name in shown if name not in asked} == {"profile_pipeline_build_info"} | {
            "profile_pipeline_batches_settled_total"
        }

    async def test_each_query_has_an_answer_of_the_real_prometheus(self, tmp_path: Path) -> None:
        program = found("prometheus")
        async with (
            loaded(tmp_path) as at,
            told_by(at) as address,
            prometheus(program, tmp_path, address) as url,
            aiohttp.ClientSession() as session,
        ):
            await until_scraped(session, url, 'profile_pipeline_runs_total{state="done"} == 1')
            await at.load("b.csv", *(f"v{number},gold,{number}" for number in range(60)), ",no,id")
            await until_scraped(session, url, 'increase(profile_pipeline_runs_total{state="done"}[1m]) > 0')
            asked = [(title, query) for title, query in queries() if "changes" not in query]
            without_answer = [title for title, query in asked if not await ask(session, url, query)]
        assert without_answer == []


# --- Prometheus --------------------------------------------------------------------------------------


def found(name: str) -> str:
    """A program of Prometheus. Skips the test without it."""
    program = shutil.which(name) or shutil.which(name, path=str(UNPACKED))
    if program is None:
        pytest.skip(f"{name} is not installed: `make monitoring-test` unpacks Debian's package prometheus")
    return program


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run([found("promtool"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@asynccontextmanager
async def told_by(at: Measuring) -> AsyncIterator[str]:
    """An address at which the metrics are told."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=await at.text(), headers={"Content-Type": EXPOSITION})

    app = web.Application()
    app.router.add_get("/metrics", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def prometheus(program: str, directory: Path, target: str) -> AsyncIterator[str]:
    """A Prometheus that scrapes an address every second; its own address."""
    scrape = {"job_name": "profile-pipeline", "static_configs": [{"targets": [target]}]}
    config = {"global": {"scrape_interval": "1s"}, "rule_files": [str(ALERTS)], "scrape_configs": [scrape]}
    (directory / "prometheus.yaml").write_text(yaml.safe_dump(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config.file={directory / 'prometheus.yaml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def ask(session: aiohttp.ClientSession, url: str, query: str) -> list[Any]:
    async with session.get(f"{url}/api/v1/query", params={"query": query}) as response:
        told = await response.json()
    assert told["status"] == "success", (query, told)
    result: list[Any] = told["data"]["result"]
    return result


async def until_scraped(session: aiohttp.ClientSession, url: str, query: str) -> None:
    """Wait until a query has an answer, and there were some scrapes."""
    async with asyncio.timeout(30.0):
        while True:
            try:
                if await ask(session, url, query) and await ask(session, url, "count_over_time(up[1m]) > 3"):
                    return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.2)
