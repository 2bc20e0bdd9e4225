"""Runs of one campaign: `python -m tests.tools.torture.one MODULE:FUNCTION FIRST_SEED SECONDS MOST`.

Each run is an object a line on stdout: its seed, its tally, and how it broke a promise if it did.
"""

import logging
import os
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict
from importlib import import_module
from typing import Any

import orjson

from tests.tools.faults.tally import tally_of


def named(function: str) -> Callable[..., Any]:
    """The function that MODULE:FUNCTION names."""
    module, _, name = function.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found


def main() -> None:
    function, first, seconds, most = sys.argv[1:]
    # Of the sandbox's server: clients that hang up belong to the faults.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    run, seed, began_s = named(function), int(first), time.monotonic()
    out = os.fdopen(os.dup(1), "wb")
    with redirect_stdout(sys.stderr):
        while True:
            tally, error = tally_of(lambda: run(seed))  # noqa: B023 - called at once
            told = "" if error is None else f"{type(error).__name__}: {error}"[:3_000]
            out.write(orjson.dumps({"seed": seed, "tally": asdict(tally), "error": told}) + b"\n")
            out.flush()
            seed += 1
            if seed - int(first) >= int(most) or time.monotonic() - began_s >= float(seconds):
                return


if __name__ == "__main__":
    main()
