"""Fuzz all targets or those that are named, two at a time, and say what came of each; exit code 1 if one crashed."""

import os
import subprocess
import sys
import time
from argparse import ArgumentParser
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue

import orjson

from tests.tools.fuzz.running import Fuzzing, judged
from tests.tools.fuzz.targets import TARGETS


def main() -> int:
    parser = ArgumentParser(prog="python -m tests.tools.fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=float, default=60.0, help="for all of them together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--input", type=Path, help="a file with one input, to run it again")
    parser.add_argument("--json", action="store_true", help="the figures of each target as an object a line")
    arguments = parser.parse_args()
    names = arguments.names or list(TARGETS)
    if unknown := [name for name in names if name not in TARGETS]:
        parser.error(f"no target {unknown[0]!r}; there are {', '.join(TARGETS)}")
    if arguments.input:
        for name in names:
            judged(TARGETS[name])(arguments.input.read_bytes())
        return 0
    workers = os.cpu_count() or 1
    each_s = max(1.0, arguments.seconds * min(workers, len(names)) / len(names))
    with_atheris = find_spec("atheris") is not None
    if not arguments.json:
        engine = "atheris" if with_atheris else "hypothesis, since atheris is not installed"
        print(f"{len(names)} targets with {engine}, {each_s:.1f} s each, seed {arguments.seed}", flush=True)
    module = "tests.tools.fuzz.on_atheris" if with_atheris else "tests.tools.fuzz.on_hypothesis"
    shares = [names[place::workers] for place in range(min(workers, len(names)))]
    began_s, all_of_them = time.monotonic(), list[Fuzzing]()
    with ThreadPoolExecutor(len(shares)) as pool:
        told = SimpleQueue[Fuzzing]()
        running = [pool.submit(_run, module, share, each_s, arguments.seed, told) for share in shares]
        while len(all_of_them) < len(names):
            all_of_them.append(told.get())
            _tell(all_of_them[-1], as_json=arguments.json)
        for each in running:
            each.result()
    crashes = sum(len(each.crashes) for each in all_of_them)
    if not arguments.json:
        total, took_s = sum(each.inputs for each in all_of_them), time.monotonic() - began_s
        print(f"{total:,} inputs, {crashes} crashes, {took_s:.0f} s")
    return bool(crashes)


def _tell(fuzzing: Fuzzing, *, as_json: bool) -> None:
    if as_json:
        print(orjson.dumps(fuzzing).decode(), flush=True)
        return
    print(fuzzing.told(), flush=True)
    for crash in fuzzing.crashes:
        print(f"  {crash}", flush=True)


def _run(module: str, names: list[str], seconds: float, seed: int, told: "SimpleQueue[Fuzzing]") -> None:
    """Have a process run these targets, and tell of each as soon as it is done."""
    # The time of atheris is in whole seconds.
    command = [sys.executable, "-m", module, str(max(1, round(seconds))), str(seed), *names]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    left = list(names)
    for line in process.stdout:
        told.put(Fuzzing(**orjson.loads(line)))
        left.pop(0)
    _, said = process.communicate()
    for name in left:
        words = said.decode(errors="replace")[-500:]
        told.put(Fuzzing(name, crashes=[f"{name}: its process ended with {process.returncode}: {words}"]))


if __name__ == "__main__":
    sys.exit(main())
