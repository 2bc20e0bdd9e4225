"""The section [drop]: where exports are dropped, how their signals look, and what is kept of them."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from pipeline.core.drop.signals import is_temporary
from pipeline.settings.sections.base import WEEK_S, OptionalPath, Section


def _as_of_pattern(text: str) -> str:
    """Refuse a text that is neither empty nor a regular expression with one group."""
    try:
        groups = re.compile(text).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"must be a regular expression, and is not: {error}") from error
    if text and groups != 1:
        raise ValueError("must have one group, the date: customers_([0-9]{8})")
    return text


def _signal_suffixes(suffixes: tuple[str, ...]) -> tuple[str, ...]:
    for suffix in suffixes:
        if not re.fullmatch(r"\.[A-Za-z0-9_-]{1,32}", suffix) or is_temporary(suffix):
            raise ValueError(
                f"{suffix!r} cannot end a signal's name: a suffix is a dot, then 1 to 32 letters, digits, _ and -, and "
                "none of temporary names, such as .tmp or .part"
            )
    if not suffixes:
        raise ValueError("must name one suffix at least, as without signals no export is ever taken")
    return suffixes


def _ignored_names(pattern: str) -> str:
    if not pattern or "/" in pattern or "\0" in pattern or not pattern.strip("*"):
        raise ValueError("must be a pattern of names such as *.bak, without / and not of * alone")
    return pattern


class DropSettings(Section):
    """Where exports are dropped, how their signals look, and what is kept of them."""

    directory: OptionalPath = Field(
        None,
        description="Directory into which exports and their signals are dropped; required by serve. The program must "
        "be allowed to write there, as it takes exports by renaming them.",
    )
    signal_suffixes: Annotated[tuple[str, ...], AfterValidator(_signal_suffixes)] = Field(
        (".ready", ".fin"),
        description="How names of signals end: customers.csv.ready or customers.ready says that customers.csv is "
        "complete. A file _SUCCESS in a subdirectory is a signal always.",
    )
    poll_s: float = Field(
        5.0,
        gt=0,
        le=3_600,
        description="Seconds between looks for signals; looking works on every file system, and "
        "where the system tells of new files there is a look at once besides.",
    )
    signal_wait_s: float = Field(
        900.0,
        gt=0,
        le=WEEK_S,
        description="Seconds a signal may be there without its export before the drop fails. Later signals wait as "
        "long, so that no newer export gets ahead of an older one.",
    )
    ignore: tuple[Annotated[str, AfterValidator(_ignored_names)], ...] = Field(
        (),
        description="More patterns of names that are never exports (* and ? as in a shell, in any case), besides "
        "dotfiles and names such as x.tmp, x.part, x.partial, x.filepart, x.crdownload, x.swp and x~.",
    )
    settle_s: float = Field(
        2.0,
        ge=0,
        le=3_600,
        description="Seconds without a change, before its signal or as seen here, after which an export is whole.",
    )
    as_of: Annotated[str, AfterValidator(_as_of_pattern)] = Field(
        "",
        max_length=500,
        description="Regular expression that finds an export's own date in its name, as its only group; one older "
        "than the last done is refused. Compared as text: write dates as 20261123. Empty: names say nothing.",
    )
    outcome_directory: OptionalPath = Field(
        None,
        description="Directory for the folders of jobs: report, rejects, and the export if kept; empty: jobs in the "
        "state directory, so that whoever may drop exports need not be able to read rejects.",
    )
    keep_exports: Literal["always", "failed", "never"] = Field(
        "failed",
        description="Which exports are kept in their job's folder when it has ended: always, failed (those of jobs "
        "that failed or lost rows), or never.",
    )
    keep_exports_days: float = Field(
        7, ge=0, le=36_500, description="Days for which a kept export stays; it holds personal data."
    )
    keep_rejects_days: float = Field(
        14, ge=0, le=36_500, description="Days for which rejects and failed rows stay; they hold personal data."
    )
    keep_reports_days: float = Field(
        400, ge=0, le=36_500, description="Days for which reports, and with them the folders of jobs, stay."
    )
