"""A fork server for the program: it has imported what a start imports, and each run is a fork of it.

A start of the command takes half a second of a processor, nearly all of it for imports. A fork takes a few hundredths,
and is a process like any other: with a process id, signals, files and an exit code of its own. It does not have what
Python does at its start and at its very end, such as the seed of its hashes and the destruction of modules: a few tests
of each command therefore start the command itself.

The server runs in a process of its own, which has one thread. It reads requests from a socket: arguments and
environment as JSON, with three descriptors (stdout, stderr, and a socket on which the process id is told and then, by
the one who may wait for the fork, the exit code). It ends when the socket does, and kills what still runs.
"""

import asyncio
import atexit
import contextlib
import functools
import gc
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import IO, NamedTuple, NoReturn

import pipeline

_ROOT = Path(__file__).parents[2]
#: A process id or an exit code on the wire; before a request its length.
_NUMBER = struct.Struct("!i")
#: What the product's modules import only when they are used.
_USED_LATER = ("aiohttp", "anyio._backends._asyncio", "encodings.idna", "rich._emoji_codes", "watchfiles")


# --- The side of the tests --------------------------------------------------------------------------


class Forked:
    """A run of the program as a fork; to be used like an `asyncio.subprocess.Process`."""

    def __init__(
        self, pid: int, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader, end: socket.socket
    ) -> None:
        self.pid = pid
        self.stdout = stdout
        self.stderr = stderr
        self.returncode: int | None = None
        self._waiting = asyncio.ensure_future(self._wait(end))

    async def _wait(self, end: socket.socket) -> int:
        with end:
            self.returncode = await _number_from(end)
        return self.returncode

    async def wait(self) -> int:
        """The exit code, or the negative number of the signal that killed it."""
        return await asyncio.shield(self._waiting)

    async def communicate(self) -> tuple[bytes, bytes]:
        """What is left to be read of stdout and stderr, when it has ended."""
        out, err, _ = await asyncio.gather(self.stdout.read(), self.stderr.read(), self.wait())
        return out, err

    def send_signal(self, number: int) -> None:
        """Raises `ProcessLookupError` if it is known to have ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


async def fork(*arguments: str, env: Mapping[str, str]) -> Forked:
    """Run the program with these arguments and this environment, in the current directory."""
    request = json.dumps({"arguments": arguments, "env": dict(env), "directory": str(Path.cwd())}).encode()
    here, there = socket.socketpair()
    here.setblocking(False)
    (out, out_there), (err, err_there) = os.pipe(), os.pipe()
    try:
        socket.send_fds(_server(), [_NUMBER.pack(len(request))], [out_there, err_there, there.fileno()])
        _server().sendall(request)
    finally:
        there.close()
        os.close(out_there)
        os.close(err_there)
    pid = await _number_from(here)
    return Forked(pid, await _reader(out), await _reader(err), here)


async def _reader(descriptor: int) -> asyncio.StreamReader:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    pipe: IO[bytes] = os.fdopen(descriptor, "rb", buffering=0)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader


async def _number_from(end: socket.socket) -> int:
    told = await asyncio.get_running_loop().sock_recv(end, _NUMBER.size)
    if not told:
        raise RuntimeError("the fork server ended")
    (number,) = _NUMBER.unpack(told)
    return int(number)


@functools.cache
def _server() -> socket.socket:
    """The socket of this process's fork server, which is started when it is first needed."""
    here, there = socket.socketpair()
    with there:
        command = [sys.executable, "-c", f"from tests.tools.fork_server import serve; serve({there.fileno()})"]
        process = subprocess.Popen(
            command,
            cwd=_ROOT,
            pass_fds=[there.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def stop() -> None:
        here.close()
        process.wait()

    atexit.register(stop)
    return here


# --- The server -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Run:
    """What a fork is to do."""

    arguments: Sequence[str]
    env: Mapping[str, str]
    directory: str

    def begin(self, out: int, err: int) -> None:
        """Make of this process what a start of the command would have been."""
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.close(out)
        os.close(err)
        os.environ.clear()
        os.environ.update(self.env)
        time.tzset()
        os.chdir(self.directory)
        # Those of the server were made for /dev/null.
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
        sys.argv = ["profile-pipeline", *self.arguments]


class _Asked(NamedTuple):
    run: _Run
    out: int
    err: int
    end: socket.socket


def _asked_on(requests: socket.socket) -> _Asked | None:
    """The next request, None when there will be none."""
    head, descriptors, _, _ = socket.recv_fds(requests, _NUMBER.size, 3)
    if not head:
        return None
    (length,) = _NUMBER.unpack(head)
    request = b""
    while len(request) < length:
        request += requests.recv(length - len(request))
    out, err, end = descriptors
    return _Asked(_Run(**json.loads(request)), out, err, socket.socket(fileno=end))


def _fork_for_all(requests: socket.socket) -> _Run | None:
    """Fork for each request until there are no more. Returns in each fork what it is to do, and None in the server."""
    running: dict[int, socket.socket] = {}
    ended, tell_ended = socket.socketpair()
    tell_ended.setblocking(False)
    signal.set_wakeup_fd(tell_ended.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as selector, requests, ended, tell_ended:
        selector.register(requests, selectors.EVENT_READ)
        selector.register(ended, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if ended in ready:
                ended.recv(4_096)
                _tell_of_ended(running)
            if requests not in ready:
                continue
            asked = _asked_on(requests)
            if asked is None:
                break
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for other in (asked.end, *running.values()):
                    other.close()
                asked.run.begin(asked.out, asked.err)
                return asked.run
            os.close(asked.out)
            os.close(asked.err)
            running[pid] = asked.end
            asked.end.sendall(_NUMBER.pack(pid))
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return None


def _tell_of_ended(running: dict[int, socket.socket]) -> None:
    for pid in list(running):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            with running.pop(pid) as end, contextlib.suppress(BrokenPipeError):
                end.sendall(_NUMBER.pack(os.waitstatus_to_exitcode(status)))


def _import_all() -> None:
    """Import the product as the command does, and then what it would import in the course of a run."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.disable()
    sys.modules["rich"] = None  # type: ignore[assignment]
    import_module("structlog")
    del sys.modules["rich"]
    for module in walk_packages(pipeline.__path__, "pipeline."):
        import_module(module.name)
    for name in _USED_LATER:
        import_module(name)
    gc.freeze()
    gc.enable()


def _end(code: object) -> NoReturn:
    """End as Python does, but for taking each module apart, which costs more than the fork."""
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def serve(descriptor: int) -> None:
    """Fork for what is asked for on this socket, and in each fork run the program."""
    _import_all()
    if _fork_for_all(socket.socket(fileno=descriptor)):
        from pipeline.__main__ import main

        try:
            main()
        except SystemExit as ended:
            _end(ended.code)
