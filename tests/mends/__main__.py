"""Take out each mend in turn, and say which are missed by no test: `python -m tests.mends [NAME...]`."""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from tests.mends.table import all_mends
from tests.mends.taken_out import is_missed


def main() -> int:
    """Run all rows, or those whose names begin as asked; 1 if one of them is not missed."""
    asked = tuple(sys.argv[1:])
    mends = [mend for mend in all_mends() if not asked or mend.name.startswith(asked)]
    began, unmissed = time.monotonic(), 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for mend, (is_found, said) in zip(mends, pool.map(is_missed, mends), strict=True):
            print(f"{'missed' if is_found else 'NOT MISSED'}: {mend.name}", flush=True)
            unmissed += not is_found
            if not is_found:
                print(said)
    print(f"{len(mends) - unmissed} of {len(mends)} mends are missed by their tests, {time.monotonic() - began:.0f} s")
    return bool(unmissed)


if __name__ == "__main__":
    sys.exit(main())
