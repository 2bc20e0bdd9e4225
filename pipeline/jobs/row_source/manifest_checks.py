"""Compares an export with what its manifest says of it, before anything is sent: of drops and of directories alike."""

from typing import Any

from pipeline.core.drop.manifest import Manifest
from pipeline.core.drop.signals import shown
from pipeline.core.errors import HeaderError, InputError
from pipeline.jobs.row_source.measured import Measured


def check_measures(signal: str, manifest: Manifest, found: Measured, *, has_header: bool) -> None:
    """Raise `InputError` (65) unless one export is as its manifest says; `signal`: the path of that, for people."""
    if manifest.size_bytes is not None:
        check_said(signal, "bytes", manifest.size_bytes, found.size_bytes)
    check_columns(signal, manifest, found, has_header=has_header)
    if manifest.sha256 is not None:
        check_said(signal, "sha256", manifest.sha256, found.sha256)
    if manifest.rows is not None:
        check_said(signal, "rows", manifest.rows, found.rows)


def check_columns(signal: str, manifest: Manifest, found: Measured, *, has_header: bool) -> None:
    """Raise `HeaderError` unless the export has the columns of the manifest, of which positions have no names."""
    said = manifest.columns
    if not said or said == found.columns or (not has_header and len(said) == len(found.columns)):
        return
    differing = next(
        (at for at, (one, other) in enumerate(zip(said, found.columns, strict=False), 1) if one != other), 0
    )
    where = f", of which number {differing} is another" if differing and has_header else ""
    raise HeaderError(
        f"the manifest in {shown(signal)} says columns, {len(said):,} of them, and the export has "
        f"{len(found.columns):,}{where}: nothing was sent. Is it the right export?",
        header=found.header,
        line=found.header_line,
    )


def check_said(signal: str, key: str, said: Any, found: Any) -> None:
    """Raise `InputError` (65) if what the manifest says under a key is not what was found."""
    if said != found:
        said, found = (f"{value:,}" if isinstance(value, int) else value for value in (said, found))
        raise InputError(
            f"the manifest in {shown(signal)} says {key} = {said}, but it is {found}: nothing was sent. "
            "Is the export complete?"
        )
