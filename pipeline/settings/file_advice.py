"""Advice about the file of a configuration that cannot be read as one: what it may be, and what may have been meant."""

from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

#: How names of exports end, also within another suffix (`.csv.gz`).
_OF_EXPORTS = (".csv", ".tsv", ".txt", ".psv", ".jsonl", ".ndjson", ".gz", ".zip", ".xlsx", ".parquet")
#: Suffix of another way to write a configuration -> its name.
_OTHER_FORMATS = {".yaml": "YAML", ".yml": "YAML", ".json": "JSON", ".ini": "INI"}


def of_missing(file: Path) -> str:
    """Advice for a path without a file; the likeliest neighbour is named, if there is one. Blocks."""
    if file.is_dir():
        return "it is a directory: name a file in it with --config"
    if not file.parent.is_dir():
        return f"there is no directory {file.parent}; name one with --config"
    names: list[str] = []
    with suppress(OSError):
        names = [each.name for each in file.parent.iterdir() if each.suffix == ".toml" and each.is_file()]
    alike = get_close_matches(file.name, names, 1) or [name for name in names if len(names) == 1]
    meant = f". Did you mean {file.parent / alike[0]}?" if alike else ""
    return f"name one with --config{meant}"


def of_no_toml(file: Path) -> str:
    """The likely kind of a file that is no TOML, as the end of a message; empty if its name does not tell."""
    if file.suffix.lower() in _OF_EXPORTS:
        return ". It looks like an export: --config names the configuration, exports stand without an option"
    other = _OTHER_FORMATS.get(file.suffix.lower())
    return f". It looks like {other}: a configuration is TOML, see config/default.toml" if other else ""


def lines_to_paste(missing: list[tuple[str, str]], present: set[str]) -> list[str]:
    """Example lines for required keys, by section; `present`: the sections that the file has already."""
    lines: list[str] = []
    for section in dict.fromkeys(section for section, _ in missing):
        note = f"    [{section}]" + ("   # is there already: put the lines below it" if section in present else "")
        lines.append(note)
        lines += [f"    {key} = {_EXAMPLES.get((section, key), '...')}" for of, key in missing if of == section]
    return lines


_EXAMPLES = {
    ("target", "client_code"): '"acme"',
    ("export", "id_column"): '"customer_id"',
    ("state", "directory"): '"/var/lib/profile-pipeline"',
}
