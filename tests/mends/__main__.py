"""Take out each mend in turn, and say which are missed by no test: `python -m tests.mends [NAME...]`.

A row whose test fails on the product as it is says nothing, and is told too.
"""

import os
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.mends.table import all_mends
from tests.mends.taken_out import Judge, Verdict


def main() -> int:
    """Run all rows, or those whose names begin as asked; 1 if one of them is not missed."""
    asked = tuple(sys.argv[1:])
    mends = [mend for mend in all_mends() if not asked or mend.name.startswith(asked)]
    if not mends:
        sys.exit(f"no mend has a name that begins so: {', '.join(asked)}")
    began, judge, told = time.monotonic(), Judge(), Counter[Verdict]()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for mend, (verdict, said) in zip(mends, pool.map(judge.judge, mends), strict=True):
            print(f"{verdict}: {mend.name}", flush=True)
            told[verdict] += 1
            if verdict is not Verdict.MISSED:
                print(said, flush=True)
    print(f"{told[Verdict.MISSED]} of {len(mends)} mends are missed by their tests, {time.monotonic() - began:.0f} s")
    return int(told[Verdict.MISSED] < len(mends))


if __name__ == "__main__":
    sys.exit(main())
