"""Runs the test of a mend on a copy of the product without it, and on one with it."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.mends import Mend

ROOT = Path(__file__).parents[2]
#: Longer than any of the tests takes (seconds). What hangs without its mend is found too.
_HANGS_AFTER_S = 120
#: The exit codes of pytest where all tests passed, and where one failed; it has others where none was collected.
_PASSED, _FAILED = 0, 1


class Verdict(StrEnum):
    """On a row. `VACUOUS`: its test fails on the product as it is too, so it says nothing of the mend."""

    MISSED = "missed"
    UNMISSED = "NOT MISSED"
    VACUOUS = "FAILS ANYWAY"


def edited(mend: Mend) -> str:
    """The text of its file without the mend. Raises `ValueError` if what is to be edited does not stand there once."""
    source = (ROOT / mend.file).read_text()
    if source.count(mend.old) != 1:
        raise ValueError(
            f"what is to be edited stands {source.count(mend.old)} times in {mend.file}: {mend.old!r}; "
            f"aim the row {mend.name!r} anew"
        )
    return source.replace(mend.old, mend.new)


class Judge:
    """Judges rows; what each test says of the product as it is is asked but once."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, str]] = {}

    def judge(self, mend: Mend) -> tuple[Verdict, str]:
        """The verdict, and the end of what pytest said. A row is `MISSED` if its test fails without the mend only."""
        code, said = _run(mend.test, mend.file, edited(mend))
        if code != _FAILED:
            return Verdict.UNMISSED, said
        if mend.test not in self._known:
            self._known[mend.test] = _run(mend.test)
        code, said_anyway = self._known[mend.test]
        return (Verdict.MISSED, said) if code == _PASSED else (Verdict.VACUOUS, said_anyway)


def _run(test: str, file: str = "", text: str = "") -> tuple[int, str]:
    """Run a test on a copy of the product, with this as one of its files; the exit code, and pytest's last lines."""
    with TemporaryDirectory(prefix="profile-pipeline-mend-") as name:
        copy = Path(name)
        shutil.copytree(ROOT / "pipeline", copy / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
        if file:
            (copy / file).write_text(text)
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test]
        # What comes first on the path is imported: by pytest itself and by every process that it starts. The current
        # directory, which would come before it, is kept out.
        environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # What a test has started ends with it.
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=_HANGS_AFTER_S)
        except subprocess.TimeoutExpired:
            return _FAILED, f"not ended within {_HANGS_AFTER_S} s"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return process.returncode, "\n".join((out.strip() or err.strip()).splitlines()[-8:])
