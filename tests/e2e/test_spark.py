"""Directories as the real Spark writes them: twenty parts each, which are one export and one job.

They run with `make spark-test` only, which makes the environment in which Spark runs.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.tools.dropping import dropping

ROOT = Path(__file__).resolve().parents[2]
#: The Python of the environment that has Spark: set by `make spark-test`.
PYTHON = os.environ.get("SPARK_PYTHON", "")
#: Most time that Spark may take for all directories (s); on two quiet cores it takes less than one minute.
SPARK_ENDS_WITHIN_S = 600
#: Directories as Spark writes them, and the keys of [export] that it takes to read them.
KINDS: Mapping[str, Mapping[str, Any]] = {
    "csv": {"escape": "\\", "escape_in": "quotes"},
    "gzip": {"escape": "\\", "escape_in": "quotes"},
    "doubled": {},
    "json": {},
    "parquet": {},
}
ROWS, PARTS = 1_000, 20


def why_not() -> str:
    """The reason why this cannot be run here; empty if it can."""
    if not PYTHON:
        return "not asked for: make spark-test"
    home = os.environ.get("JAVA_HOME")
    java = shutil.which(Path(home, "bin", "java") if home else "java")
    if java is None:
        return "Spark needs Java 17 or newer, and there is none in PATH or JAVA_HOME"
    ran = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=False)
    if ran.returncode != 0:
        return f"Spark needs Java 17 or newer, which does not run here: {ran.stderr.strip()}"
    return "" if Path(PYTHON).exists() else f"Spark is not installed: there is no {PYTHON}"


pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of each kind, by one run of Spark, which gets what it needs of the environment only."""
    directory, scratch = tmp_path_factory.mktemp("written"), tmp_path_factory.mktemp("scratch")
    kept = {name: os.environ[name] for name in ("PATH", "JAVA_HOME") if name in os.environ}
    ran = subprocess.run(
        [PYTHON, "-m", "tests.tools.spark", directory],
        cwd=ROOT,
        env={**kept, "HOME": str(scratch), "SPARK_LOCAL_DIRS": str(scratch), "SPARK_LOCAL_IP": "127.0.0.1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SPARK_ENDS_WITHIN_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout.decode(errors="replace")[-2_000:]
    return directory


def profile_of(number: int) -> dict[str, str]:
    """What Target holds of a row: a comma or a line break in a value is sent as a blank, and nothing as no value."""
    notes = (f'say "hi"  {number}', f"two lines {number}", f"C:\\dir\\{number}.txt", "", "Öl")
    note = notes[number % len(notes)]
    values = {"note": note, "path": f"\\\\server\\{number}\\", "ltv": f"{number * 1.5:.1f}"}
    return {name: value for name, value in values.items() if value}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_directory_of_spark_is_one_job(kind: str, written: Path, tmp_path: Path) -> None:
    async with dropping(tmp_path) as drop:
        shutil.copytree(written / kind, drop.directory / kind)
        names = {path.name for path in (drop.directory / kind).iterdir()}
        parts = sorted(name for name in names if name.startswith("part-"))
        checksums = {f".{name}.crc" for name in (*parts, "_SUCCESS")}
        assert (len(parts), names) == (PARTS, {*parts, "_SUCCESS", *checksums}), "as Spark writes on a file system"

        done = await drop.drain(export={"id_column": "id", "unlisted": "send", **KINDS[kind]})

        assert done.code == 0, done.said
        (report,) = drop.reports()
        assert (report["export"]["name"], report["state"]) == (kind, "done")
        assert (report["rows"]["read"], report["rows"]["confirmed"]) == (ROWS, ROWS)
        assert [(part["name"], part["rows"]) for part in report["parts"]] == [(name, ROWS // PARTS) for name in parts]
        assert report["columns_sent"] == ["note", "path", "ltv"]
        assert set(drop.left()) == {kind, *(f"{kind}/{name}" for name in checksums)}, "hidden files are never touched"
        drop.at.sandbox.apply_all()
        assert drop.at.sandbox.profiles() == {f"C-{number:04}": profile_of(number) for number in range(ROWS)}
        assert drop.at.sandbox.mistakes == []
