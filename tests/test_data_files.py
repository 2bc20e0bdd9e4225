"""docs/report.md lists every key of the files that other programs read or write: no more, and no fewer."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import orjson
import pytest

from pipeline.core.batches.parts import Places
from pipeline.core.batches.progress import TARGET_REFUSED
from pipeline.core.batches.report import TARGET_WARNINGS, JobState
from pipeline.core.drop.manifest import parse_manifest
from pipeline.core.errors import InputError
from pipeline.core.model import BatchState, Reason, Reject, Warnings
from pipeline.edges.store.job_folder import JobFolder
from pipeline.sandbox import FaultPlan
from pipeline.sandbox.faults import Fault
from tests.simulation.staged import deliver
from tests.tools.support import Delivery, names_in, read_lines

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "report.md").read_text()
#: What the page calls the types of JSON.
TYPES: dict[type, str] = {
    str: "text",
    type(None): "null",
    bool: "true or false",
    int: "number",
    float: "number",
    dict: "object",
    list: "list",
}


def section(heading: str) -> str:
    """What stands under a heading, up to the next one of whatever level."""
    _, found, below = PAGE.partition(f"# {heading}\n")
    assert found, f"no heading {heading}"
    return re.split(r"^#", below, maxsplit=1, flags=re.MULTILINE)[0]


def table(heading: str) -> dict[str, list[str]]:
    """The first table under a heading: by what its first cells name, the rest of each row."""
    rows = re.findall(r"^\| `([^`]+)` \| (.*) \|$", section(heading), re.MULTILINE)
    listed = {name: [cell.strip() for cell in cells.split(" | ")] for name, cells in rows}
    assert len(listed) == len(rows) > 0, "listed twice, or nothing is"
    return listed


def types(heading: str) -> dict[str, set[str]]:
    """By key the types that the page allows, a list as `list`."""
    return {
        key: {"list" if kind.startswith("list") else kind for kind in cells[0].split(" or ")} - {"false"}
        for key, cells in table(heading).items()
    }


def check(heading: str, objects: Iterable[Mapping[str, Any]], *, may_lack: Iterable[str] = ()) -> None:
    """Each of these has all the keys that are listed, with values of these types, and together they have each key."""
    allowed = types(heading)
    seen = set[str]()
    for found in objects:
        assert found.keys() <= allowed.keys(), f"{heading}: not listed"
        assert allowed.keys() - found.keys() <= set(may_lack), f"{heading}: listed, and not there"
        for key, value in found.items():
            assert TYPES[type(value)] in allowed[key], f"{heading}: {key} = {value!r}"
        seen |= found.keys()
    assert seen == allowed.keys(), f"{heading}: listed, and never there"


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[Delivery]:
    """Real jobs, in whose files each key occurs: every warning, rejects, failures, a refusal, a wrong header."""
    lines = [
        f"{'x' * 130},gold,1",
        f"long,{'y' * 257},2",
        'comma,"a,b",3',
        'quote,5" pipe,4',
        "cell,,5",
        "ragged,6",
        ",nobody,7",
        f"padded , v,{'w' * 33_000}",
        "\\N,gold,8",
        "marked,\\N,9",
        "12.0,gold,10",
        "'0013,gold,11",
        ",,",
        *["0,gold,12"] * 60,
    ]
    plan = FaultPlan(posts={1: Fault.FAIL_ROWS}, failing_ids=frozenset(["long"]))
    failed = deliver(tmp_path_factory.mktemp("failed"), *lines, faults=plan, export={"max_rejects": "100%"})
    # The first batch is accepted, so that the refusal of the second tells something of its only row.
    posts = {2: Fault.REFUSE, 3: Fault.REFUSE, 4: Fault.REFUSE}
    refused = deliver(
        tmp_path_factory.mktemp("refused"),
        *["a,gold,1", "b,gold,2", "c,gold,3"],
        faults=FaultPlan(posts=posts),
        export={"max_rejects": "100%"},
        batch={"max_rows": 1},
        upload={"concurrency": 1},
        settle={"status_window": 1},
        header="id,tier,",
    )
    unusable = deliver(tmp_path_factory.mktemp("unusable"), "a,gold,1", header="key,tier,ltv")
    joined = deliver(tmp_path_factory.mktemp("joined"), header='{"id":"a","tier":["gold","iron"]}')
    # Ids and values keep what is around them, or lose it.
    others = [deliver(tmp_path_factory.mktemp(trim), " u , gold ,1", export={"trim": trim}) for trim in ("none", "all")]
    # A status URL on a host that must not be asked is kept.
    lost = deliver(tmp_path_factory.mktemp("lost"), "a,gold,1", options={"status_base_url": "https://example.com"})
    steps = {
        "tier": {"values": {"g": "gold"}, "max_length": 3, "too_long": "truncate"},
        "ltv": {"decimal": ",", "unreadable": "keep"},
        "exclude": {"tier": ["x"]},
    }
    mapped = deliver(tmp_path_factory.mktemp("mapped"), "a,silver,b", "b,x,1", mapping=steps)
    return [failed, refused, unusable, joined, lost, mapped, *others]


def reports(jobs: list[Delivery]) -> Iterator[dict[str, Any]]:
    for job in jobs:
        yield orjson.loads((job.folder / "report.json").read_bytes())


class TestReport:
    def test_its_keys(self, jobs: list[Delivery]) -> None:
        check("report.json", reports(jobs))

    @pytest.mark.parametrize("part", ["export", "rows"])
    def test_its_parts(self, jobs: list[Delivery], part: str) -> None:
        check(part, [report[part] for report in reports(jobs)])

    def test_rejects(self, jobs: list[Delivery]) -> None:
        # These jobs are of one file each.
        found = [*(report["rejects"] for report in reports(jobs)), {"first_parts": {}}]
        check("rejects", found, may_lack=["file", "by_reason", "first_lines", "first_parts"])

    def test_warnings(self, jobs: list[Delivery]) -> None:
        names = [*(field.name for field in fields(Warnings)), *TARGET_WARNINGS, "first_parts"]
        assert set(table("warnings")) == set(names)
        # Those about Target's answers come from tests/faults/test_answers.py, about parts from test_parts.py,
        # about rows that are too long with what is remembered from test_comparison.py.
        found = [*(report["warnings"] for report in reports(jobs)), dict.fromkeys(TARGET_WARNINGS, 1)]
        found += [dict.fromkeys(["empty_parts", "row_not_filled_in"], 1), {"first_parts": {}}]
        # And about ids that are gone from test_gone.py.
        found += [dict.fromkeys(["ids_gone", "gone_unsure"], 1)]
        check("warnings", found, may_lack=names)

    def test_batches(self, jobs: list[Delivery]) -> None:
        check("batches", [batch for job in reports(jobs) for batch in job["batches"]], may_lack=["rejected", "why"])
        assert set(re.findall(r"`(\w+)`", table("batches")["state"][1])) == set(BatchState)

    def test_the_order_of_keys_is_that_of_the_file(self, jobs: list[Delivery]) -> None:
        for report in reports(jobs):
            assert list(report) == list(table("report.json"))
            assert list(report["rows"]) == list(table("rows"))

    def test_states(self) -> None:
        assert set(get_args(JobState)) == set(table("States"))


class TestRows:
    def test_rejects(self, jobs: list[Delivery], tmp_path: Path) -> None:
        folder = JobFolder(tmp_path).make()
        folder.add_rejects(Places("export.csv"), [Reject(2, Reason.INVALID_UTF8, b"a", b"a,\xff,1")])
        files = [folder.rejects, *(job.folder / "rejects.jsonl" for job in jobs)]
        lines = [line for file in files for line in read_lines(file)]
        assert {line["reason"] for line in lines} >= {TARGET_REFUSED, Reason.FIELD_COUNT, Reason.EMPTY_ID}
        check("rejects.jsonl", lines, may_lack=["raw_base64", "message"])

    def test_every_reason(self) -> None:
        assert set(table("Why a row is rejected")) == {*Reason, TARGET_REFUSED}

    def test_failed(self, jobs: list[Delivery]) -> None:
        check("failed.jsonl", [line for job in jobs[:1] for line in read_lines(job.folder / "failed.jsonl")])

    def test_answers(self, jobs: list[Delivery]) -> None:
        files = [job.folder / "answers.jsonl" for job in jobs]
        check("answers.jsonl", [line for file in files if file.exists() for line in read_lines(file)])

    def test_every_file(self, jobs: list[Delivery]) -> None:
        (files,) = re.findall(r"(?s)\| file \| what it is \|\n\|---\|---\|\n(.*?)\n\n", PAGE)
        listed = set(re.findall(r"(?m)^\| `([^`]+)`", files))
        assert {name for job in jobs for name in names_in(job.folder)} == listed - {"drop/"}


class TestManifest:
    def test_its_keys(self) -> None:
        with pytest.raises(InputError, match="there are ") as wrong:
            parse_manifest(b"nonsense=1")
        known = str(wrong.value).partition("there are ")[2].rstrip(".").split(", ")
        assert set(table("The manifest")) == set(known)

    def test_the_example(self) -> None:
        (example,) = re.findall(r"```\n(.*?)\n```", section("The manifest"), re.DOTALL)
        assert parse_manifest(example.encode()).rows == 120_000
