"""Runs the test of a mend on a copy of the product without it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.mends import Mend

ROOT = Path(__file__).parents[2]
#: Longer than any of the tests takes (seconds). What hangs without its mend is found too.
_HANGS_AFTER_S = 120
#: The exit code of pytest where a test failed; it has others where none was collected.
_FAILED = 1


def edited(mend: Mend) -> str:
    """The text of its file without the mend. Raises `ValueError` if what is to be edited does not stand there once."""
    source = (ROOT / mend.file).read_text()
    if source.count(mend.old) != 1:
        raise ValueError(
            f"what is to be edited stands {source.count(mend.old)} times in {mend.file}: {mend.old!r}; "
            f"aim the row {mend.name!r} anew"
        )
    return source.replace(mend.old, mend.new)


def is_missed(mend: Mend) -> tuple[bool, str]:
    """True if the test fails without the mend; and the end of what pytest said."""
    with TemporaryDirectory(prefix="profile-pipeline-mend-") as name:
        copy = Path(name)
        shutil.copytree(ROOT / "pipeline", copy / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
        (copy / mend.file).write_text(edited(mend))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mend.test]
        # What comes first on the path is imported: by pytest itself and by every process that it starts. The current
        # directory, which would come before it, is kept out.
        environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=_HANGS_AFTER_S, check=False
            )
        except subprocess.TimeoutExpired:
            return True, f"not ended within {_HANGS_AFTER_S} s"
    last = (done.stdout.strip() or done.stderr.strip()).splitlines()[-8:]
    return done.returncode == _FAILED, "\n".join(last)
