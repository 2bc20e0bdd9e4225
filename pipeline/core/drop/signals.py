"""The names in a drop directory: signals, the exports they stand for, and names that are ignored.

`customers.csv.ready` and `customers.ready` both say that `customers.csv` is complete, or `customers.csv.gz`. `_SUCCESS`
in a subdirectory says it of all files in there; so does `customers.ready` beside the subdirectory `customers`. A hidden
file (`.name`), or one with a name under which programs write (`.tmp`, `.part`), is never touched.
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
#: Endings of kinds of exports, and of what packs them, in small letters. A signal may leave out the second, or both:
#: `customers.csv.ready` and `customers.ready` stand for `customers.csv.gz` too.
_EXPORT_ENDINGS = (
    *(".csv", ".tsv", ".tab", ".psv", ".txt", ".dat", ".json", ".jsonl", ".ndjson"),
    *(".parquet", ".arrow", ".arrows", ".feather", ".ipc"),
)
_PACKED_ENDINGS = (".gz", ".gzip", ".zst", ".zstd", ".bz2", ".xz", ".zip")
_ALL_ENDINGS = frozenset(kind + packed for kind in ("", *_EXPORT_ENDINGS) for packed in ("", *_PACKED_ENDINGS))
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
    """The name of a signal without its longest suffix, in any case; None if the name is no signal."""
    fitting = [suffix for suffix in suffixes if name.lower().endswith(suffix.lower()) and len(name) > len(suffix)]
    return name[: -len(max(fitting, key=len))] if fitting else None


def exports_for(stem: str, names: Collection[str]) -> list[str]:
    """The exports that a signal of this stem may stand for, in name order. More than one is too many.

    Upper and lower case are alike, unless there is one whose name is the stem, or begins with it, to the letter.
    """
    if stem in names and stem.lower().endswith((*_EXPORT_ENDINGS, *_PACKED_ENDINGS)):
        return [stem]
    left_out = _left_out_of(stem.lower())
    alike = sorted(
        name for name in names if name.lower().startswith(stem.lower()) and name[len(stem) :].lower() in left_out
    )
    return [name for name in alike if name.startswith(stem)] or alike


def _left_out_of(stem: str) -> Collection[str]:
    """The endings that a signal of this stem may leave out."""
    if stem.endswith(_PACKED_ENDINGS):
        return ("",)
    if stem.endswith(_EXPORT_ENDINGS):
        return ("", *_PACKED_ENDINGS)
    return _ALL_ENDINGS


def nearest_signal(export: str, signals: Iterable[str]) -> str | None:
    """The signal that was perhaps meant for an export without one, or None."""
    return next(iter(get_close_matches(export, list(signals), 1, _ALIKE)), None)
