"""Targets under atheris, one after the other: `python -m tests.tools.fuzz.on_atheris SECONDS SEED NAME...`.

What they import is instrumented once. libFuzzer ends the process it runs in, so each target has a fork of its own; what
came of it is an object a line on stdout.
"""

import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

import atheris
import orjson

with atheris.instrument_imports(include=["pipeline.core"]):
    from tests.tools.fuzz.running import Fuzzing, judged
    from tests.tools.fuzz.seeds import seeds, shown
    from tests.tools.fuzz.targets import LONGEST_BYTES, TARGETS, warm_up


def main() -> None:
    seconds, seed, *names = sys.argv[1:]
    for name in names:
        sys.stdout.buffer.write(orjson.dumps(_fuzzed(name, seconds, seed), option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.buffer.flush()


def _fuzzed(name: str, seconds: str, seed: str) -> Fuzzing:
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-fuzz-") as place:
        folder, began_s = Path(place), time.monotonic()
        pid = os.fork()
        if not pid:
            _fuzz(name, seconds, seed, folder)
        _, status = os.waitpid(pid, 0)
        return _found(Fuzzing(name, seconds=time.monotonic() - began_s), folder, is_well=status == 0)


def _fuzz(name: str, seconds: str, seed: str, folder: Path) -> NoReturn:
    """Run a target until its time is over or it crashes; what libFuzzer says of it goes to a file."""
    said = os.open(folder / "said", os.O_WRONLY | os.O_CREAT)
    os.dup2(said, 1)
    os.dup2(said, 2)
    (folder / "corpus").mkdir()
    for number, data in enumerate(seeds(name)):
        (folder / "corpus" / f"{number:05}").write_bytes(data)
    warm_up(name)
    options = [
        f"-max_total_time={seconds}",
        f"-seed={seed}",
        f"-max_len={LONGEST_BYTES}",
        f"-artifact_prefix={folder}/input-",
        "-print_final_stats=1",
        "-rss_limit_mb=0",
        # Judged by the processor's time in `judged`, and here only where something does not end at all.
        "-timeout=60",
    ]
    atheris.Setup([sys.argv[0], *options, str(folder / "corpus")], judged(TARGETS[name]))
    atheris.Fuzz()
    os._exit(0)


def _found(fuzzing: Fuzzing, folder: Path, *, is_well: bool) -> Fuzzing:
    """The figures of libFuzzer, and the input at which it ended, if it did."""
    said = (folder / "said").read_text(errors="replace")
    if executed := re.search(r"number_of_executed_units: (\d+)", said):
        fuzzing.inputs = int(executed[1])
    if slowest := re.search(r"slowest_unit_time_sec: (\d+)", said):
        fuzzing.longest_s = float(slowest[1])
    inputs = [file.read_bytes() for file in folder.glob("input-*")]
    if inputs or not is_well:
        # The traceback stands before what libFuzzer says.
        words = re.findall(r"^(?:\w+\.)*\w*(?:Error|Exception)\b.*$", said, re.MULTILINE)
        data = shown(inputs[0])[:2_000] if inputs else "an input that is not known"
        fuzzing.crashes.append(f"{fuzzing.name}: {words[-1][:300] if words else said[-500:]}\n    for {data}")
    return fuzzing


if __name__ == "__main__":
    main()
