"""The names in a drop directory: signals, the exports they stand for, and names that are ignored.

`customers.csv.ready` and `customers.ready` both say that `customers.csv` is complete. `_SUCCESS` in a subdirectory says
it of all files in there. A hidden file (`.name`), or one with a name under which programs write (`.tmp`, `.part`), is
never touched.
"""

import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from fnmatch import translate
from functools import cache

from pipeline.core.printable import printable

#: The signal for all files of a subdirectory, as Hadoop and Spark write it.
GROUP_SIGNAL = "_SUCCESS"
#: Endings of names, in small letters, under which programs write or download what they rename when it is whole: curl
#: and wget, browsers, WinSCP and FileZilla, aria2, gsutil, Hadoop, Spark and Flink; and what editors leave beside one.
TEMPORARY_ENDINGS = (
    *(".tmp", ".temp", ".part", ".partial", ".filepart", ".crdownload", ".download", ".opdownload", ".aria2", ".!ut"),
    *(".gstmp", ".inprogress", ".uploading", "._copying_", ".lock", ".swp", ".swx", ".swo", "~"),
)
#: Endings that a signal may leave out: `customers.ready` stands for `customers.csv`.
_EXPORT_ENDINGS = (".csv", ".tsv", ".psv", ".txt", ".dat")
#: The least likeness (0 to 1) of names for a signal to be named as perhaps meant for an export.
_ALIKE = 0.5
#: Characters of a name that a message shows.
_MAX_SHOWN = 200


def is_ignored(name: str, ignore: tuple[str, ...] = ()) -> bool:
    """True if a file of this name is never touched: it is hidden, temporary, or fits a pattern of `ignore`.

    `ignore`: patterns with * and ? as in a shell; upper and lower case are alike.
    """
    return name.startswith(".") or is_temporary(name) or any(_matcher(each).match(name) for each in ignore)


def is_temporary(name: str) -> bool:
    """True if a file of this name is still being written, or a companion of one that is open in an office program."""
    return name.lower().endswith(TEMPORARY_ENDINGS) or name.startswith("~$") or (name[0] == name[-1] == "#")


@cache
def _matcher(pattern: str) -> re.Pattern[str]:
    # Without `fnmatch`, which makes lower case of names on some systems only.
    return re.compile(translate(pattern), re.IGNORECASE)


def name_problem(name: str) -> str | None:
    """The reason why the name of a file in a drop directory cannot be used, or None."""
    if not name or "/" in name or ".." in name:
        return "is not the plain name of a file"
    if not name.isprintable():
        return "holds a line break, another control character, or bytes that are not UTF-8"
    return None


def shown(name: str) -> str:
    """A name for people and logs: one line of text, whatever the name holds, and not too long."""
    text = printable(name[:_MAX_SHOWN])
    return text if len(text) <= _MAX_SHOWN and len(name) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def stem_of(name: str, suffixes: Iterable[str]) -> str | None:
    """The name of a signal without its longest matching suffix; None if the name is no signal."""
    fitting = [suffix for suffix in suffixes if name.endswith(suffix) and len(name) > len(suffix)]
    return name[: -len(max(fitting, key=len))] if fitting else None


def exports_for(stem: str, names: Collection[str]) -> list[str]:
    """The exports that a signal of this stem may stand for, in name order. More than one is too many."""
    if stem.lower().endswith(_EXPORT_ENDINGS):
        return [stem] if stem in names else []
    return sorted(
        name
        for name in names
        if name == stem or (name.startswith(stem) and name[len(stem) :].lower() in _EXPORT_ENDINGS)
    )


def nearest_signal(export: str, signals: Iterable[str]) -> str | None:
    """The signal that was perhaps meant for an export without one, or None."""
    return next(iter(get_close_matches(export, list(signals), 1, _ALIKE)), None)
