"""Decides by the header of an export which columns are sent under which names, and says all that is wrong with it.

A first line that is no header holds cells, and no cell appears in a message. So a message names configured columns and
counts. It names other columns of the header only where that is one for certain: where it holds the id column.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice

from pipeline.core.errors import HeaderError
from pipeline.core.plural import counted
from pipeline.core.printable import printable_toml
from pipeline.core.rows.cells import INVISIBLE
from pipeline.core.rows.mapping import ColumnPlan
from pipeline.core.values.row_steps import NOTHING_DONE, RowSteps

#: Longest parameter name, in characters.
MAX_PARAMETER_CHARACTERS = 128
#: Columns that a message names, and characters of a name that it shows.
_MAX_NAMED, _MAX_SHOWN = 10, 100
#: Names of columns that are compared with one that is missing, and their characters: comparing two costs the product of
#: their lengths, and what is longer or behind so many is not what somebody has mistyped.
_MAX_COMPARED, _MAX_COMPARED_CHARACTERS = 300, 40
#: Characters of a name of which letters and digits are looked at: sorting marks costs the square of their number.
_MAX_PLAIN = 200

_PARAMETER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_RESERVED_PREFIXES = ("profile.", "user.", "crs.", "mbox", "entity.")
#: Names, and beginnings of names, under which Target keeps what it finds out itself. Source: Adobe.
_OWN_NAMES = ("browserTime", "averageDaysBetweenVisits", "sessionCount", "parameter", "user")
_OWN_PREFIXES = ("geolocation", "mobile")
ID_KINDS = ("thirdPartyId", "pcId")

#: Characters that end a line in one system or another, with their names.
_LINE_BREAKS = {
    "\n": "LF",
    "\r": "CR",
    "\v": "VT",
    "\f": "FF",
    "\x1c": "FS",
    "\x1d": "GS",
    "\x1e": "RS",
    "\x85": "NEL, U+0085",
    "\u2028": "LS, U+2028",
    "\u2029": "PS, U+2029",
}


def parameter_name_problem(name: str) -> str | None:
    """The reason why Target would not take a parameter name, in words, or None."""
    if not name:
        return "is empty"
    for prefix in _RESERVED_PREFIXES + _OWN_PREFIXES:
        if name.startswith(prefix):
            return f"begins with {prefix!r}, which Target keeps for itself"
    if name in _OWN_NAMES:
        return "is a name that Target keeps for itself"
    if name in ID_KINDS:
        return "is what Target calls the profile id"
    if not _PARAMETER.fullmatch(name):
        return "has other characters than letters A-Z a-z, digits and _, or does not begin with a letter"
    if len(name) > MAX_PARAMETER_CHARACTERS:
        return f"is longer than {MAX_PARAMETER_CHARACTERS} characters"
    return None


def suggest_parameter_name(column: str) -> str:
    """A legal parameter name that resembles the column's name."""
    for prefix in _RESERVED_PREFIXES:
        column = column.removeprefix(prefix)
    name = re.sub(r"[^A-Za-z0-9]+", "_", column).strip("_")[:MAX_PARAMETER_CHARACTERS]
    if not name or not name[0].isalpha() or parameter_name_problem(name):
        name = f"crm_{name}".rstrip("_")[:MAX_PARAMETER_CHARACTERS]
    return name


def positions(field_count: int) -> list[str]:
    """The names of the columns of an export without header: 1 for the first, and so on."""
    return [str(number) for number in range(1, field_count + 1)]


def plan_columns(
    header: Sequence[str],
    *,
    id_column: str,
    id_kind: str,
    columns: Mapping[str, str],
    unlisted: str,
    has_header: bool = True,
    is_json: bool = False,
    steps: RowSteps = NOTHING_DONE,
) -> ColumnPlan:
    """Match the header with the configuration.

    `unlisted` decides about a column that is neither the id nor in `columns`: `stop` (an error, so that no column is
    sent unseen), `ignore`, or `send` under its own name; a column without a name has none to be sent under.
    `has_header`: false if `header` holds the positions of the columns.
    `is_json`: the columns are the keys of JSON Lines.
    `steps`: what is done to rows; a column that only a condition names is not sent, unless `unlisted` sends it.

    Raises `HeaderError` with all that is wrong.
    """
    check_line_breaks(header)
    there = {*header}
    missing = _missing(there, id_column, columns, steps.wanted)
    where = "among the keys of its objects" if is_json else "in the header row" if has_header else "in the first row"
    if missing and not is_json and there.isdisjoint([id_column, *columns]):
        raise HeaderError(_no_header(missing, header, where, has_header=has_header))
    sent = [(index, columns[column]) for index, column in enumerate(header) if column in columns]
    seen = {id_column, *columns}
    unseen = [(index, column) for index, column in enumerate(header) if column not in seen]
    problems = [_not_there(missing, header, id_column, columns, where, has_header=has_header)] if missing else []
    if unlisted == "send" and id_column in there:
        sent = sorted([*sent, *((index, column) for index, column in unseen if not is_unnamed(column))])
    not_listed = [(index, column) for index, column in unseen if column not in steps.judged]
    if unlisted == "stop" and not_listed and id_column in there:
        problems.append(_not_listed(not_listed))
    judged = [index for index, column in enumerate(header) if column in steps.judged]
    ids = [header.index(id_column)] if id_column in there else []
    problems += _repeated(header, ids, sorted({*judged, *(at for at, _ in sent)}))
    problems += _unsendable(header, sent)
    problems += _taken_twice([parameter for _, parameter in sent], steps.constants)
    if not sent and not steps.constants and not problems:
        problems.append(f"no column to send besides the id column {id_column!r}; list some under [export] columns.")
    if problems:
        raise HeaderError(" ".join(problems))
    cell_indexes = tuple(index for index, _ in sent)
    return ColumnPlan(
        field_count=len(header),
        id_kind=id_kind,
        id_index=header.index(id_column),
        cell_indexes=cell_indexes,
        parameters=(*(parameter for _, parameter in sent), *steps.constants),
        steps=steps.place(header, id_column, cell_indexes),
        header=tuple(column.encode() for column in header) if has_header else (),
        unnamed=sum(is_unnamed(column) for _, column in unseen) if unlisted == "send" else 0,
    )


def is_unnamed(column: str) -> bool:
    """True for a column without a name, as a spreadsheet leaves them behind."""
    return not column.strip(INVISIBLE)


def check_line_breaks(header: Sequence[str]) -> None:
    """Raise `HeaderError` for a header that holds a line break of any system: then more than the header is in it."""
    for number, column in enumerate(header, 1):
        if len(column.splitlines()) < 2 and not column.endswith(tuple(_LINE_BREAKS)):
            continue
        for character, name in _LINE_BREAKS.items():
            if character in column:
                raise HeaderError(
                    f"column {number} of the {len(header)} in the header row holds a line break ({name}): no name has "
                    "one. Either its quotes are wrong, or the file ends its lines in a way that is not known here: "
                    "export it with LF or CR LF at the end of each line."
                )


def _missing(
    there: set[str], id_column: str, columns: Mapping[str, str], steps: Mapping[str, str]
) -> list[tuple[str, str]]:
    """The configured columns that are not in the header, each with the key that names it."""
    wanted = {**dict.fromkeys(columns, "[export] columns"), id_column: "[export] id_column"}
    wanted = {**steps, **wanted}
    wanted = {id_column: wanted.pop(id_column), **wanted}
    return [(name, key) for name, key in wanted.items() if name not in there]


def _no_header(missing: list[tuple[str, str]], header: Sequence[str], where: str, *, has_header: bool) -> str:
    """The message for a header that holds nothing of what is configured."""
    text = _said_missing(missing, len(header), where)
    if not has_header:
        return f"{text}. Set [export] delimiter, if it was cut in the wrong places."
    # Perhaps it is a row, in which what is spelled like a column is a value: it is told by its place.
    places = {_plain(column): number for number, column in enumerate(header, 1)}
    named = [name for name, _ in missing[:_MAX_NAMED] if _plain(name) in places]
    if meant := [f"column {places[_plain(name)]} for {name!r}" for name in named]:
        return f"{text}: did you mean {', '.join(meant)}, which is spelled alike?"
    cut = " Is it cut in the wrong places? Set [export] delimiter then." if len(header) == 1 else ""
    return (
        f"{text}. If the export has no header row, set [export] header = false, and name positions in id_column and "
        f"columns, 1 the first; if other lines stand before it, set [export] skip_first.{cut}"
    )


def _not_there(
    missing: list[tuple[str, str]],
    header: Sequence[str],
    id_column: str,
    columns: Mapping[str, str],
    where: str,
    *,
    has_header: bool,
) -> str:
    """The message for a header that lacks some of the configured columns."""
    text = _said_missing(missing, len(header), where)
    free = [
        (number, column)
        for number, column in enumerate(header, 1)
        if column != id_column and column not in columns and not is_unnamed(column)
    ]
    # No more is looked for than is named: it takes long where columns are many.
    plain = {_plain(column): number for number, column in reversed(free)} if has_header else {}
    meant = {name: found for name, _ in missing[:_MAX_NAMED] if (found := _alike(name, plain))}
    if not meant:
        return f"{text}."
    # Without the id column, perhaps it is a row that holds the name of a column as a value.
    is_header = id_column in header
    told = {name: _quoted(header[at - 1]) if is_header else f"column {at}" for name, at in meant.items()}
    if len(missing) == 1:
        return f"{text}: did you mean {told[missing[0][0]]}?"
    return f"{text}: did you mean {', '.join(f'{found} for {name!r}' for name, found in told.items())}?"


def _said_missing(missing: list[tuple[str, str]], fields: int, where: str) -> str:
    keys = dict.fromkeys(key for _, key in missing)
    said = " and ".join(f"{_named([name for name, its_key in missing if its_key == key])} ({key})" for key in keys)
    is_are = "is" if len(missing) == 1 else "are"
    columns = counted(fields, "column")
    has = f"which have {columns}" if where.endswith("objects") else f"which has {columns}"
    return f"the column{'s' * (len(missing) > 1)} {said} {is_are} not {where}, {has}"


def _alike(name: str, plain: Mapping[str, int]) -> int | None:
    """The column of the header that was most likely meant: case, spaces, accents and a few letters do not matter.

    `plain`: the numbers of the columns by their names as `_plain` has them.
    """
    wanted = _plain(name)
    if wanted in plain or len(wanted) > _MAX_COMPARED_CHARACTERS:
        return plain.get(wanted)
    near = (each for each in plain if 2 * len(wanted) >= len(each) >= len(wanted) // 2)
    found = get_close_matches(wanted, islice(near, _MAX_COMPARED), 1)
    return plain[found[0]] if found else None


def _quoted(column: str) -> str:
    """The name of a column in quotes, as a message shows it."""
    return repr(column) if len(column) <= _MAX_SHOWN else f"{column[:_MAX_SHOWN]!r}..."


def _plain(name: str) -> str:
    if len(name) > _MAX_PLAIN:
        return name
    text = unicodedata.normalize("NFKD", name).casefold()
    return "".join(character for character in text if character.isalnum()) or text


def _not_listed(unseen: list[tuple[int, str]]) -> str:
    named = [column for _, column in unseen if not is_unnamed(column)]
    unnamed = [index + 1 for index, column in unseen if is_unnamed(column)]
    said = [_names(named)] if named else []
    if unnamed:
        said.append(
            f"{counted(len(unnamed), 'unnamed column')} (position{'s' * (len(unnamed) > 1)} {_numbers(unnamed)})"
        )
    example = f"Add what Target should get, for example {_suggestion(named[0])}, or set" if named else "Set"
    is_are = "is" if len(unseen) == 1 else "are"
    return (
        f"{' and '.join(said)} {is_are} not listed under [export] columns. {example} "
        'unlisted = "ignore" to leave the others out (or "send").'
    )


def _repeated(header: Sequence[str], ids: list[int], sent: list[int]) -> list[str]:
    """A message for the columns that are sent, or are the id, and stand in the header more than once."""
    counts = Counter(header)
    twice = [name for name in dict.fromkeys(header[index] for index in [*ids, *sent]) if counts[name] > 1]
    if not twice:
        return []
    places = [
        f"{_quoted(name)} (columns {_numbers([at for at, column in enumerate(header, 1) if column == name])})"
        for name in twice[:_MAX_NAMED]
    ]
    more = f" and {len(twice) - _MAX_NAMED} more" if len(twice) > _MAX_NAMED else ""
    which = "is sent, and is" if len(twice) == 1 else "are sent, and are"
    if ids and twice == [header[ids[0]]]:
        which = "is the id column, and is"
    return [f"{', '.join(places)}{more} {which} in the header more than once: rename all but one."]


def _taken_twice(parameters: list[str], constants: Iterable[str]) -> list[str]:
    """A message for each constant that a column is sent as too."""
    return [
        f"{_quoted(name)} is a parameter of [mapping] with one value for all rows, and a column is sent as it too: "
        "give one of them another name."
        for name in constants
        if name in parameters
    ]


def _unsendable(header: Sequence[str], sent: Sequence[tuple[int, str]]) -> list[str]:
    """A message for each column, up to some, that cannot be sent under its name."""
    said: list[str] = []
    more = 0
    for column, parameter in dict.fromkeys((header[index], parameter) for index, parameter in sent):
        problem = parameter_name_problem(parameter)
        more += bool(problem) and len(said) >= _MAX_NAMED
        if problem and len(said) < _MAX_NAMED:
            said.append(
                f"column {_quoted(column)} cannot be sent under the name {_quoted(parameter)}: it {problem}. "
                f"Map it under [export.columns], for example: {_suggestion(column)}."
            )
    if more:
        said.append(f"So it is with {more} more.")
    sources: dict[str, list[str]] = {}
    for index, parameter in sent:
        sources.setdefault(parameter, []).append(header[index])
    for parameter, names in sources.items():
        if len(set(names)) > 1:
            said.append(
                f"columns {_named(names)} would all be sent as {_quoted(parameter)}; give each its own name under "
                "[export.columns]."
            )
    return said


def _names(columns: Sequence[str]) -> str:
    return f"column{'s' if len(columns) > 1 else ''} {_named(columns)}"


def _named(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - _MAX_NAMED} more" if len(columns) > _MAX_NAMED else ""
    return ", ".join(map(_quoted, columns[:_MAX_NAMED])) + more


def _numbers(numbers: Iterable[int]) -> str:
    shown = list(numbers)
    more = f" and {len(shown) - _MAX_NAMED} more" if len(shown) > _MAX_NAMED else ""
    return ", ".join(map(str, shown[:_MAX_NAMED])) + more


def _suggestion(column: str) -> str:
    if len(column) > _MAX_SHOWN:
        return f'"the whole name" = "{suggest_parameter_name(column)}"'
    key = column if re.fullmatch(r"[A-Za-z0-9_-]+", column) else printable_toml(column)
    return f'{key} = "{suggest_parameter_name(column)}"'
