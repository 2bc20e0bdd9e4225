"""The text of a configuration made from an export: names of its header, and no value of any row."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.core.plural import counted
from pipeline.core.printable import printable, printable_toml
from pipeline.core.survey.columns import ColumnSurvey
from pipeline.core.survey.ids import IdCounts
from pipeline.core.survey.personal import Kind

#: Placeholders for what only the operator knows. Each is legal, so that `plan` works with them.
CLIENT_CODE, ID_COLUMN = "YOUR_CLIENT_CODE", "NAME_OF_THE_ID_COLUMN"
#: Encodings of one byte a character that are likely in an export that is not UTF-8.
CANDIDATES = ("windows-1252", "iso-8859-15", "windows-1250", "windows-1251", "mac-roman")

_BEGIN = """\
# Made by `profile-pipeline init` from {name}. What is in CAPITALS is yours to fill in. Then:
#
#     profile-pipeline config check --config FILE     # directories, disk, token, the way to Target
#     profile-pipeline plan EXPORT --config FILE      # what a load would come to; sends nothing
#
# config/default.toml explains every key.

[target]
client_code = "{client_code}"                # in Target: Administration > Implementation
# token_file = "/PATH/OF/THE/TOKEN"             # only where Target's "Require Authentication" is on

[export]
"""
_END = """
[state]
directory = "profile-pipeline-state"            # ledger, spool and reports: a directory on a local disk
"""


@dataclass(frozen=True, slots=True)
class Drafted:
    """The things of which a draft is made.

    `name`: of the export.
    `columns`: all of them.
    `parameters`: column -> a name that Target takes, for those that can be sent.
    `id_column`: the one that was guessed, or None.
    `ids`, `rows`: the ids of the whole export, and the rows with one; None if they could not be counted.
    `keys`: of [export], for what cannot be told from the export, each with its reason.
    `is_other_encoding`: the export is not UTF-8, and nobody can tell what else.
    """

    name: str
    columns: Sequence[ColumnSurvey]
    parameters: Mapping[str, str]
    id_column: ColumnSurvey | None
    ids: IdCounts | None
    rows: int
    keys: Mapping[str, tuple[str, str]]
    is_other_encoding: bool


def draft(drafted: Drafted) -> str:
    """The configuration as text."""
    begin = _BEGIN.format(name=printable(drafted.name), client_code=CLIENT_CODE)
    lines = [*_id_lines(drafted), *_key_lines(drafted), "", "[export.columns]", *_column_lines(drafted)]
    return begin + "\n".join(lines) + "\n" + _END


def _id_lines(drafted: Drafted) -> Iterator[str]:
    column = drafted.id_column
    if column is None:
        yield "# No column looks like the profile id: name the one that your pages send as mbox3rdPartyId."
        yield f'id_column = "{ID_COLUMN}"'
    else:
        yield f"# Guessed: {_uniqueness(drafted, column)}."
        yield "# It must hold what your pages send as mbox3rdPartyId."
        yield f"id_column = {printable_toml(column.name)}"
        if Kind.MAIL in (column.by_name, column.by_values):
            yield "# The ids are e-mail addresses, personal data: send their hashes, as your pages have to do then too."
            yield f'# [mapping.{printable_toml(column.name)}]\n# hash = "sha256"'
    yield 'unlisted = "ignore"                             # what is not listed below is not sent; "stop" refuses it'


def _uniqueness(drafted: Drafted, column: ColumnSurvey) -> str:
    ids = drafted.ids
    if ids is None:
        return f"a value in {column.filled:,} of the first {counted(column.of, 'row')}, {column.distinct:,} different"
    about = "" if ids.is_exact else "about "
    again = f", {about}{ids.repeated:,} of them on several rows (the last one wins)" if ids.repeated else ""
    return f"{about}{ids.distinct:,} different ids on {counted(drafted.rows, 'row')}{again}"


def _key_lines(drafted: Drafted) -> Iterator[str]:
    for key, (value, reason) in drafted.keys.items():
        yield f"{f'{key} = {value}':<47} # {reason}"
    if drafted.is_other_encoding:
        likely, *others = CANDIDATES
        yield "# The export is not UTF-8, and its bytes do not tell what it is. Take the # from its encoding:"
        yield f'# encoding = "{likely}"'
        yield from (f'# encoding = "{each}"' for each in others)


def _column_lines(drafted: Drafted) -> Iterator[str]:
    id_name = drafted.id_column.name if drafted.id_column else None
    sent = 0
    for column in drafted.columns:
        parameter = drafted.parameters.get(column.name)
        if column.name == id_name:
            continue
        if parameter is None:
            if column.name.strip():
                yield f"# {printable_toml(column.name)}: several columns have this name, so none can be sent"
            continue
        line = f"{printable_toml(column.name)} = {printable_toml(parameter)}"
        if reason := _personal(column):
            yield f"# {line}    # left out: {reason}"
            continue
        sent += 1
        yield line
    if any(map(_personal, drafted.columns)):
        yield '# To send a hash of what is left out: its line without the #, and [mapping."COLUMN"] hash = "sha256".'
    if not sent:
        yield "# Nothing is left to send: take the # from the columns that Target may have."


def _personal(column: ColumnSurvey) -> str:
    """The reason why a column is left out, or an empty text."""
    by_values = f"{column.by_values} by {column.share:.0%} of its values" if column.by_values else ""
    if column.by_name and column.by_name == column.by_values:
        return f"{by_values}, and by its name"
    by_name = f"{column.by_name} by its name" if column.by_name else ""
    return "; ".join(filter(None, (by_values, by_name)))
