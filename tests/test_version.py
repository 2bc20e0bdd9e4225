"""The version stands in one place, `pipeline.__version__`; whatever else names it agrees."""

import re
import subprocess
import sys
from email.parser import Parser
from pathlib import Path

import flit_core.buildapi
import pytest

import pipeline

ROOT = Path(__file__).resolve().parents[1]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
#: The headings of Keep a Changelog.
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def sections() -> dict[str, str]:
    """The text of each version of the changelog, newest first."""
    pieces = re.split(r"^## \[(.+?)\](?: - \d{4}-\d\d-\d\d)?$", CHANGELOG, flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def test_the_wheel_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    folder = flit_core.buildapi.prepare_metadata_for_build_wheel(str(tmp_path))
    metadata = Parser().parsestr((tmp_path / folder / "METADATA").read_text())
    assert metadata["Name"] == "profile-pipeline"
    assert metadata["Version"] == pipeline.__version__


def test_the_command_says_it() -> None:
    command = [sys.executable, "-m", "pipeline", "--version"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told == f"profile-pipeline {pipeline.__version__}\n"


def test_the_changelog_has_a_section_for_it() -> None:
    versions = list(sections())
    assert versions[0] == "Unreleased"
    assert versions[1] == pipeline.__version__
    assert sections()[pipeline.__version__].strip()


def test_the_changelog_is_grouped() -> None:
    for version, text in sections().items():
        kinds = re.findall(r"^### (.+)$", text, re.MULTILINE)
        assert set(kinds) <= KINDS, version
        assert len(set(kinds)) == len(kinds), version
        above, *_ = text.partition("\n### ")
        assert "- " not in above, f"{version}: an entry that stands under no heading"
