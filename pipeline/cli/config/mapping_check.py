"""Tries the examples of [mapping], and looks at the file with the salt, for `config check`."""

from typing import Literal

from pipeline.core.errors import FatalError, HeaderError, InputError
from pipeline.core.formats.dialect import Dialect
from pipeline.core.formats.framing import Record
from pipeline.core.plural import counted
from pipeline.core.printable import printable
from pipeline.core.rows.header import plan_columns
from pipeline.core.rows.mapping import RowMapper
from pipeline.core.rows.outcome import RowOutcome, outcome_of
from pipeline.core.values.row_steps import RowSteps
from pipeline.edges.secrets import open_secret, readable_by_others
from pipeline.edges.store.salt_file import MAX_SALT_BYTES, SAFE_SALT_BYTES, read_salt, salt_problem
from pipeline.jobs.row_source.starts import cell_rules
from pipeline.settings.sections.mapping import Example, MappingSettings
from pipeline.settings.settings import Settings

#: What [mapping] from_export has of the export in examples, for which there is none.
TOLD = {"name": "example.csv", "date": "2026-01-31"}
Verdict = Literal["ok", "warning", "problem"]
#: A finding: subject, verdict, text.
Told = tuple[str, Verdict, str]


def check_mapping(settings: Settings) -> list[Told]:
    """The findings about the salt and the examples; none without [mapping]. Blocks."""
    mapping = settings.mapping
    found: list[Told] = [_check_salt(mapping)] if mapping.is_salted else []
    if not mapping.examples:
        return found
    subject = "[[mapping.examples]]"
    try:
        salt = read_salt(mapping.salt_file) if mapping.is_salted and mapping.salt_file else b""
    except FatalError:
        return [*found, (subject, "problem", "cannot be tried without the salt")]
    steps = mapping.steps(salt, TOLD)
    problems: list[Told] = [
        (f"{subject} number {number}", "problem", problem)
        for number, example in enumerate(mapping.examples, 1)
        if (problem := _problem_of(example, settings, steps))
    ]
    right = f"{counted(len(mapping.examples), 'example')}: what is said to come out does"
    return [*found, *(problems or [(subject, "ok", right)])]


def _check_salt(mapping: MappingSettings) -> Told:
    subject, file = "[mapping] salt_file", mapping.salt_file
    if file is None:
        return subject, "problem", "is required"
    try:
        content, info = open_secret(file, MAX_SALT_BYTES)
    except OSError as error:
        return subject, "problem", f"{file} cannot be read ({error.strerror}); create it, or let this user read it"
    if content is None:
        return subject, "problem", f"{file} is not a file; name the file that holds the salt"
    if problem := salt_problem(content):
        return subject, "problem", f"{file} {problem}"
    if advice := readable_by_others(file, info):
        return subject, "warning", advice
    if len(content.rstrip(b"\r\n")) < SAFE_SALT_BYTES:
        return subject, "warning", f"{file} holds less than {SAFE_SALT_BYTES} bytes, which can be guessed"
    return subject, "ok", f"{file} holds a salt"


def _problem_of(example: Example, settings: Settings, steps: RowSteps) -> str | None:
    """The first thing in which an example does not come out as it says, or None."""
    export = settings.export
    named = dict.fromkeys([export.id_column, *export.columns, *steps.wanted, *example.given])
    header = [*named]
    try:
        plan = plan_columns(
            header,
            id_column=export.id_column,
            id_kind=export.id_kind,
            columns=export.columns,
            unlisted="ignore" if export.unlisted == "stop" else export.unlisted,
            has_header=export.header,
            steps=steps,
        )
        mapper = RowMapper(
            plan,
            dialect=Dialect(b","),
            on_delimiter=export.on_delimiter,
            replacement=export.replacement,
            max_row_bytes=settings.batch.max_bytes - len(plan.body_start),
            salt=0,
            rules=cell_rules(export),
        )
        cells = [example.given.get(name, "").encode() for name in header]
        outcome = outcome_of(mapper, Record(1, b",".join(cells), cells, False))  # noqa: FBT003 - its place in a record
    except (HeaderError, InputError) as error:
        return str(error)
    return _difference(example, export.id_column, outcome)


def _difference(example: Example, id_column: str, outcome: RowOutcome) -> str | None:
    if isinstance(example.out, str) or outcome.fate != "sent":
        expected = example.out if isinstance(example.out, str) else "sent"
        told = f" ({outcome.reason.value})" if outcome.reason else ""
        told += f" (by column {outcome.excluded_by!r})" if outcome.excluded_by else ""
        return None if expected == outcome.fate else f"the row is to be {expected}, and is {outcome.fate}{told}"
    got = {id_column: outcome.profile_id, **outcome.values}
    for name, value in example.out.items():
        if name not in got:
            return f"{name!r} is no parameter that is sent; there are {', '.join(map(repr, got))}"
        if got[name] != value:
            return printable(f"{name!r} is to be {value!r}, and is {got[name]!r}")
    if more := [name for name, value in got.items() if value and name not in example.out]:
        return printable(f"{more[0]!r} is {got[more[0]]!r}, and out does not say so")
    return None
