"""What the tests of faults share: exports with a known end, the real command, and what must hold when it has ended."""

import asyncio
import csv
import io
import random
import signal
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from pipeline.core.batches.lifecycle import Failed, GivenUp, RowRejected, SeenComplete
from pipeline.edges.store.ledger_reader import LedgerReader, read_ledger
from pipeline.sandbox import Mistake, MistakeKind
from tests.tools.faults.canaries import MARK, TOKEN
from tests.tools.faults.content import BROKEN, FLAWS, Content, Style, value_sent
from tests.tools.faults.tally import Harm, hold
from tests.tools.support import started

COLUMNS = ("tier", "ltv", "city")
#: Those of the exports of several days, one after the other: a snapshot, then deltas.
OF_DAYS = (COLUMNS, ("city",), ("ltv", "tier"))
#: What is remembered in the tests of faults.
MEMORY = '[memory]\nremember = "values"\nsend = "changes"\n'
#: With it, an export that was loaded whole is not loaded again when the same command is given once more.
MEMORY_OF_ALL = '[memory]\nremember = "values"\n'
#: A limit that no export breaks: it is read to its end before anything is sent.
GUARD = '[guard]\nmax_fill_drop = "100%"\n'
CLASSES = ("confirmed", "superseded", "unchanged", "excluded", "rejected", "empty", "failed", "unconfirmed", "unsent")
#: By id, the values of the attributes that it has.
Profiles = Mapping[str, Mapping[str, str]]
#: The share of rows whose values have a tail, if there are any.
_WITH_TAIL = 0.2
#: A load of a test that takes longer than this hangs (seconds).
HANGS_AFTER_S = 120.0


_PLAIN = Content()


@dataclass(slots=True)
class Export:
    """An export with, per id, the last non-empty value of each column, and the (line, reason) of each rejected row.

    `records`: the cells of each row, as they were made. `text`: all of it as plain CSV. A row's line is its place in
    `records`, the first is on line 2. `places`: the file and the line of each row, if it is written in another way.
    """

    text: str
    records: list[tuple[str, ...]] = field(default_factory=list)
    profiles: dict[str, dict[str, str]] = field(default_factory=dict)
    rejects: list[tuple[int, str]] = field(default_factory=list)
    rows: int = 0
    seed: int = 0
    places: list[tuple[str, int]] = field(default_factory=list)
    columns: tuple[str, ...] = COLUMNS

    @property
    def header(self) -> tuple[str, ...]:
        """The names of its columns."""
        return ("id", *self.columns)

    def rejects_in(self, name: str) -> list[tuple[str, int, str]]:
        """The file, line and reason of each rejected row, in a file of that name if it is one file."""
        # The first row is on line 2.
        return [(*(self.places[line - 2] if self.places else (name, line)), reason) for line, reason in self.rejects]


def make_export(
    rows: int,
    seed: int,
    *,
    repeated: float = 0.3,
    rejected: float = 0.0,
    first_id: int = 0,
    wide_bytes: int = 0,
    content: Content = _PLAIN,
    columns: tuple[str, ...] = COLUMNS,
) -> Export:
    """An export of so many rows: some of ids seen before, some to be rejected, some cells empty.

    Every value is unique. Ids are numbered from `first_id` on. Each of both has the canary in it. With
    `wide_bytes` a value is so much longer. `content`: which rows are rejected, and what else stands in values.
    """
    draw = random.Random(seed)
    export = Export("", rows=rows, seed=seed, columns=columns)
    wide = "_" + "w" * wide_bytes if wide_bytes else ""
    for number in range(rows):
        seen = number and draw.random() < repeated
        profile_id = f"{MARK}u{first_id + (draw.randrange(number) if seen else number)}"
        cells = {name: value_of(name, seed, number) + wide if draw.random() < 0.7 else "" for name in columns}
        if content.tails and draw.random() < _WITH_TAIL:
            tail = draw.choice(content.tails)
            cells = {name: cell and f"{cell}_{tail}" for name, cell in cells.items()}
        if draw.random() < rejected:
            # Without any value, a row without id would be blank, and no row.
            cells[columns[0]] = value_of(columns[0], seed, number)
            reason = draw.choice(content.flaws)
            profile_id, rest = FLAWS[reason]
            export.rejects.append((number + 2, reason))
            export.records.append((profile_id.format(number), *cells.values(), *rest))
            continue
        export.records.append((profile_id, *cells.values()))
        present = {name: value_sent(cell) for name, cell in cells.items() if cell}
        if present:
            export.profiles.setdefault(content.id_sent(profile_id), {}).update(present)
    export.text, _ = Style().text([export.header, *export.records])
    return export


def value_of(column: str, seed: int, number: int) -> str:
    """The value of a column in the row of that number, from 0, of the export with that seed."""
    return f"{MARK}{column}{seed}-{number}"


def origin_of(column: str, value: str) -> tuple[int, int]:
    """Seed and number of `value_of`."""
    seed, _, number = value.removeprefix(f"{MARK}{column}").partition("-")
    return int(seed), int(number.partition("_")[0])


def merged_profiles(exports: Iterable[Export]) -> dict[str, dict[str, str]]:
    """What several exports come to that are loaded in this order."""
    profiles: dict[str, dict[str, str]] = {}
    for export in exports:
        for profile_id, attributes in export.profiles.items():
            profiles.setdefault(profile_id, {}).update(attributes)
    return profiles


def write_config(
    path: Path,
    base_url: str,
    state: Path,
    *,
    batch_rows: int,
    hold_s: float = 2.0,
    max_rejects: str = "100%",
    export_key: str = "",
    memory: str = "",
) -> None:
    """A configuration with small batches and short waits, and a token file beside it.

    `export_key`: one more line of [export]. `memory`: that section.
    """
    token_file = path.with_name("token")
    token_file.write_text(TOKEN)
    token_file.chmod(0o600)
    path.write_text(
        f'[target]\nclient_code = "demo"\nbase_url = "{base_url}"\ncalls_per_minute = 100000\n'
        f'token_file = "{token_file}"\n'
        f'[export]\nid_column = "id"\nunlisted = "send"\nmax_rejects = "{max_rejects}"\n{export_key}\n'
        f"[batch]\nmax_rows = {batch_rows}\n"
        f"[upload]\nbackoff_s = 0.05\nbackoff_max_s = 0.2\n"
        f"[settle]\npoll_first_s = 0.05\npoll_max_s = 0.3\nambiguous_hold_s = {hold_s}\n"
        f'[state]\ndirectory = "{state}"\nmin_free_bytes = 0\n'
        # Many services run side by side.
        "[web]\nport = 0\n"
        f"{memory}"
    )


async def run_load(
    exports: list[Path],
    config: Path,
    *,
    kill_after_s: float | None = None,
    kill_when: Callable[[], bool] | None = None,
    again: bool = False,
    number: signal.Signals = signal.SIGKILL,
) -> tuple[int, bytes, bytes]:
    """Load exports; exit code (negative if it was killed), stdout and stderr."""
    arguments = ["load", *map(str, exports), "--config", str(config), "--json", *["--again"] * again]
    return await run(*arguments, kill_after_s=kill_after_s, kill_when=kill_when, number=number)


async def run(
    *arguments: str,
    kill_after_s: float | None = None,
    kill_when: Callable[[], bool] | None = None,
    number: signal.Signals = signal.SIGKILL,
) -> tuple[int, bytes, bytes]:
    """Run the program to its end, unless a signal ends it after so long or when that holds; code, stdout, stderr."""
    async with started(*arguments) as process:
        ending = asyncio.ensure_future(process.communicate())
        if kill_after_s is not None:
            await asyncio.wait([ending], timeout=kill_after_s)
        while kill_when is not None and not ending.done() and not kill_when():
            await asyncio.wait([ending], timeout=0.005)
        if (kill_after_s is not None or kill_when is not None) and not ending.done():
            process.send_signal(number)
        try:
            out, err = await asyncio.wait_for(ending, HANGS_AFTER_S)
        except TimeoutError:
            raise AssertionError(f"it hangs: {' '.join(arguments)}") from None
        assert process.returncode is not None
        return process.returncode, out, err


def last_report(out: bytes) -> dict[str, Any]:
    """The last report on a command's stdout."""
    report: dict[str, Any] = orjson.loads(out.splitlines()[-1])
    return report


def check_equation(report: dict[str, Any]) -> None:
    """Every row read is in exactly one class, and once all are settled the batches say the same as the classes."""
    rows = report["rows"]
    _check_sum(rows["read"], sum(rows[name] for name in CLASSES) + rows.get("pending", 0), rows)
    if report["state"] == "unfinished":
        return
    in_batches = sum(batch["rows"] for batch in report["batches"] if batch["state"] != "split")
    refused = report["rejects"]["by_reason"].get("target.refused", 0)
    _check_sum(in_batches, rows["confirmed"] + rows["failed"] + rows["unconfirmed"] + refused, report)
    _check_sum(rows["rejected"], sum(report["rejects"]["by_reason"].values()), report)


def _check_sum(there: int, told: int, report: object) -> None:
    """As many rows are told of as there are."""
    hold("lost", told >= there, report, there - told)
    hold("doubled", told <= there, report, told - there)


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The objects of a file with one JSON object a line; none if there is no file."""
    return [orjson.loads(line) for line in file.read_bytes().splitlines()] if file.exists() else []


def check_folder(state: Path, report: dict[str, Any], export: Export) -> None:
    """The job's folder says what the report says, and each row that is not sent stands in it exactly once."""
    folder = state / "jobs" / report["job"]
    assert orjson.loads((folder / "report.json").read_bytes()) == report
    check_rejects(folder, report, [export])


def check_rejects(folder: Path, report: Mapping[str, Any], exports: Sequence[Export]) -> None:
    """Each rejected row of the exports that one job has stands once in its rejects, with its file and line.

    So it does in its table of rejects, in which a row that can be cut into cells has those that it was made of.
    """
    rejects = read_lines(folder / "rejects.jsonl")
    at = [(reject["file"], reject["line"], reject["reason"]) for reject in rejects]
    ours = [each for each in at if each[2] != "target.refused"]
    hold("doubled", len(set(ours)) == len(ours), ours)
    expected = [each for export in exports for each in export.rejects_in(report["export"]["name"])]
    hold("lost", ours == expected, (ours, expected))
    theirs = [each for each in at if each[2] == "target.refused"]
    hold("doubled", len(theirs) == len(set(theirs)), rejects)
    hold("lost", len(theirs) == report["rejects"]["by_reason"].get("target.refused", 0), rejects)
    table = read_table(folder / "rejects.csv")
    hold("lost", len(table) >= len(at), (table, at), len(at) - len(table))
    hold("doubled", len(table) <= len(at), (table, at), len(table) - len(at))
    made = iter([export.records[line - 2] for export in exports for line, _ in export.rejects])
    for row, (file, line, reason) in zip(table, at, strict=True):
        hold("lost", (row.get("_file", file), row["_line"]) == (file, str(line)), (row, file, line))
        cells = () if reason == "target.refused" else next(made)
        if cells and reason not in BROKEN:
            hold("lost", tuple(row[name] for name in exports[0].header) == cells, (row, cells))


def read_table(file: Path) -> list[dict[str, str]]:
    """The rows of a table of rejects, by the names of their columns; none if there is no file."""
    text = file.read_bytes().decode("utf-8-sig") if file.exists() else "_line,"
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=text[len("_line")]))


@contextmanager
def ledger_of(state: Path) -> Iterator[LedgerReader]:
    """The ledger of a state directory that no process holds."""
    ledger = read_ledger(state / "ledger.db")
    assert ledger is not None
    try:
        yield ledger
    finally:
        ledger.close()


def lost_ids(state: Path) -> dict[int, set[str]]:
    """Per batch of which rows are failed, unconfirmed or refused by Target, the ids of those rows.

    Ids of these tests need no encoding.
    """
    lost: dict[int, set[str]] = {}
    with ledger_of(state) as ledger:
        for record in [record for job in ledger.jobs() for record in ledger.batches(job=job)]:
            batch_id = record.batch.batch_id
            match record.latest:
                case GivenUp() | Failed():
                    rows = (state / "spool" / f"{batch_id:08d}.body").read_text().splitlines()[1:]
                    lost[batch_id] = {row.partition(",")[0] for row in rows}
                case SeenComplete(lost_ids=lost_ids) if lost_ids:
                    lost[batch_id] = set(lost_ids)
                case RowRejected(row=row):
                    lost[batch_id] = {row.partition(",")[0]}
    return lost


def check_left_over(state: Path) -> None:
    """Nothing is left behind but what somebody may ask for: the bodies of batches not released, or with lost rows."""
    unfinished = [file for file in state.rglob("*.tmp") if file.is_file()]
    assert unfinished == []
    with ledger_of(state) as ledger:
        assert ledger.jobs(unfinished_only=True) == []
        assert [row for job in ledger.jobs() for row in ledger.held_rows(job)] == []
        batches = [record for job in ledger.jobs() for record in ledger.batches(job=job)]
        wanted = {record.batch.batch_id for record in ledger.batches()}
        remembered = {f"{file.number:08d}.memory" for file in ledger.memory_catalog().files}
    for record in batches:
        latest = record.latest
        if isinstance(latest, GivenUp | Failed) or (isinstance(latest, SeenComplete) and latest.lost_ids):
            wanted.add(record.batch.batch_id)
    kinds = ("body", "lines", "ids")
    expected = {f"{batch_id:08d}.{kind}" for batch_id in wanted for kind in kinds}
    assert {file.name for file in (state / "spool").iterdir()} == {"mark", *expected}
    found = {file.name for file in state.glob("memory/*")}
    assert found == remembered, (found - remembered, remembered - found)
    assert [*state.glob("gathered/*")] == []


def disorder(mistakes: Iterable[Mistake]) -> list[Mistake]:
    """The mistakes by which an older value can win: two versions of an id under way at once, and its consequence."""
    return [mistake for mistake in mistakes if mistake.kind in (MistakeKind.CLASH, MistakeKind.STALE_OVERWRITE)]


def check_order(mistakes: Iterable[Mistake], *, and_no_other: bool = True) -> None:
    """The sandbox saw nothing by which an older value can win, and no other mistake of its sender either."""
    seen = list(mistakes)
    hold("stale", not disorder(seen), disorder(seen)[:3], len(disorder(seen)))
    assert seen == [] or not and_no_other, seen[:3]


def check_profiles(profiles: Profiles, exports: Iterable[Export], lost: Collection[str] = ()) -> None:
    """Profiles are as the exports say; those of lost rows hold nothing that is not theirs."""
    made = {export.seed: export for export in exports}
    check_exact(profiles, merged_profiles(made.values()), lost)
    for profile_id in lost:
        for name, value in profiles.get(profile_id, {}).items():
            seed, number = origin_of(name, value)
            row = made[seed].records[number]
            hold("lost", row[0] == profile_id, (profile_id, name, value))


def check_exact(profiles: Profiles, expected: Profiles, lost: Collection[str] = ()) -> None:
    """Profiles but the lost ones are as expected. Exports come in the order of their seeds."""
    ids = (profiles.keys() | expected.keys()).difference(lost)
    wrong = [each for each in ids if profiles.get(each, {}) != expected.get(each, {})]
    stale = [each for each in wrong if _is_older(profiles.get(each, {}), expected.get(each, {}))]
    found: list[str]
    harm: Harm
    for harm, found in (("stale", stale), ("lost", [each for each in wrong if each not in stale])):
        hold(harm, not found, [(each, profiles.get(each), expected.get(each)) for each in found[:3]], len(found))


def _is_older(found: Mapping[str, str], expected: Mapping[str, str]) -> bool:
    """True if a value is of a row before the expected one's."""
    both = found.keys() & expected.keys()
    return any(origin_of(name, found[name]) < origin_of(name, expected[name]) for name in both)
