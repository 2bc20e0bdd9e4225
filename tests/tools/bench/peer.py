"""A Target that counts lines and keeps nothing, in a process of its own. Prints its URL.

It takes a body at the speed of the socket, some gigabytes a second, so that what is measured is the sender. A batch is
accepted, and complete when its status is first asked for. With `--unsettled N` it is shown `incomplete` until N more
batches were accepted, or so many rows have come in all (`--until-rows`), or no batch has come for 10 s. What is
wrong with a body is not its business: the sandbox and the tests see to that.
"""

import subprocess
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

#: Bytes taken from the socket at a time.
PIECE_BYTES = 262_144
IDLE_S = 10.0


class Batches:
    """The number of rows of each batch accepted, and which batches are complete."""

    def __init__(self, unsettled: int, until_rows: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._unsettled = unsettled
        self._until_rows = until_rows
        self._rows: list[int] = []
        self._lock = threading.Lock()
        self._latest_s = monotonic()

    def accept(self, rows: int) -> int:
        """The number of the batch."""
        with self._lock:
            self._rows.append(rows)
            self._latest_s = self._monotonic()
            return len(self._rows) - 1

    def status(self, number: int) -> tuple[str, int]:
        """Its status and its number of rows."""
        with self._lock:
            is_complete = (
                len(self._rows) - 1 - number >= self._unsettled
                or sum(self._rows) >= self._until_rows
                or self._monotonic() - self._latest_s > IDLE_S
            )
            return "complete" if is_complete else "incomplete", self._rows[number]


class Calls(BaseHTTPRequestHandler):
    """The two calls of the Bulk Profile Update API."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    batches: Batches

    def do_POST(self) -> None:
        piece = bytearray(PIECE_BYTES)
        left, rows = int(self.headers["Content-Length"]), -1  # the header row is none
        while left:
            taken = self.rfile.readinto(memoryview(piece)[: min(left, PIECE_BYTES)])
            if not taken:
                self.close_connection = True
                return
            rows += piece.count(b"\n", 0, taken)
            left -= taken
        number = self.batches.accept(rows)
        url = f"http://{self.headers['Host']}/m2/demo/profile/batchStatus?batchId=demo-{number}"
        self._answer(f"<success>true</success><batchStatus>{url}</batchStatus><message>Batch submitted</message>")

    def do_GET(self) -> None:
        batch_id = parse_qs(urlsplit(self.path).query)["batchId"][0]
        status, rows = self.batches.status(int(batch_id.removeprefix("demo-")))
        counts = f"<batchSize>{rows}</batchSize><consumedCount>{rows}</consumedCount><failedUpdates>0</failedUpdates>"
        known = counts if status == "complete" else ""
        self._answer(f"<batchId>{batch_id}</batchId><status>{status}</status>{known}")

    def handle_expect_100(self) -> bool:
        # curl asks before it sends a large body, and waits a second for the answer.
        go_on = super().handle_expect_100()
        self.wfile.flush()
        return go_on

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _answer(self, inside: str) -> None:
        body = f"<response>{inside}</response>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def peer(unsettled: int = 0, until_rows: int = sys.maxsize) -> Iterator[str]:
    """The URL of a peer that runs as long as the context lasts."""
    options = ["--unsettled", str(unsettled), "--until-rows", str(until_rows)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.tools.bench.peer", *options], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--unsettled", type=int, default=0)
    parser.add_argument("--until-rows", type=int, default=sys.maxsize)
    options = parser.parse_args()
    Calls.batches = Batches(options.unsettled, options.until_rows)
    with ThreadingHTTPServer(("127.0.0.1", 0), Calls) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
