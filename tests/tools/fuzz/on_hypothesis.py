"""Targets on inputs of hypothesis, in turn: `python -m tests.tools.fuzz.on_hypothesis SECONDS SEED NAME...`.

What came of each is an object a line on stdout.
"""

import sys

import orjson

from tests.tools.fuzz.running import fuzz_for


def main() -> None:
    seconds, seed, *names = sys.argv[1:]
    for name in names:
        fuzzing = fuzz_for(name, float(seconds), int(seed))
        sys.stdout.buffer.write(orjson.dumps(fuzzing, option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
