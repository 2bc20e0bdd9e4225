"""What people write: csv and `quote`, field by field. Transforms a file and sends nothing. Prints rows and seconds."""

import csv
import sys
import time
from itertools import islice
from urllib.parse import quote


def main(path: str, rows: int) -> None:
    started = time.perf_counter()
    count = size = 0
    with open(path, encoding="utf-8", newline="") as file:  # noqa: PTH123 - as people write it
        reader = csv.reader(file)
        next(reader)
        for row in islice(reader, rows):
            size += len(",".join([quote(cell, safe="") for cell in row]))
            count += 1
    print(count, time.perf_counter() - started)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
