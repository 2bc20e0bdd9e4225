"""A TCP proxy before the sandbox that does to connections what networks and broken proxies do.

Each connection carries one call, and meets one seeded `Trouble`; now and then the port itself is refused, full, or slow
to accept. Sockets are real: a reset is one (`SO_LINGER` of 0), a full port drops what knocks. Time is that of the event
loop, so that one that skips time skips the waiting here too. What is not lost on the way arrives at the sandbox within
`LATEST_S` of the sender's end of the call: no copy is older than that.
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from tests.tools.faults.echoes import echo_of

#: Seconds for which a copy may be under way after its sender has given up.
LATEST_S = 5.0
#: Seconds after which the sender may have given up: what it waits for at least.
_PATIENCE_S = 29.0
#: Bytes that the kernel keeps for us: few, so that a sender has to wait when we do not read.
_BUFFER_BYTES = 4_096
_PIECE_BYTES = 65_536


class Trouble(StrEnum):
    """What happens to a connection. The call arrives at the sandbox where the name does not say otherwise."""

    RESET_AT_ONCE = "reset_at_once"
    RESET_BEFORE_BODY = "reset_before_body"
    RESET_IN_BODY = "reset_in_body"
    RESET_AFTER_BODY_LOST = "reset_after_body_lost"
    RESET_AFTER_BODY_TAKEN = "reset_after_body_taken"
    RESET_IN_ANSWER = "reset_in_answer"
    #: The sender is reset, and the call arrives seconds later.
    ARRIVES_LATE = "arrives_late"
    ANSWER_CUT = "answer_cut"
    #: Nothing comes back any more, but all is read.
    HALF_CLOSED_LOST = "half_closed_lost"
    HALF_CLOSED_TAKEN = "half_closed_taken"
    NOT_READ = "not_read"
    SILENT_LOST = "silent_lost"
    SILENT_TAKEN = "silent_taken"
    DRIPPED_BODY_LOST = "dripped_body_lost"
    DRIPPED_ANSWER = "dripped_answer"
    NARROW = "narrow"
    LATENCY = "latency"
    GARBAGE_BEFORE_ANSWER = "garbage_before_answer"
    ANSWERED_TWICE = "answered_twice"
    CONTINUED = "continued"
    #: Answered by the proxy, with what it was sent: see `echoes`. A status URL that is spoilt belongs to what arrived.
    ECHOED_LOST = "echoed_lost"


class Port(StrEnum):
    """What happens to the port for a while."""

    REFUSED = "refused"
    FULL = "full"
    SLOW = "slow"


Kind = TypeVar("Kind", Trouble, Port)
_GARBAGE = (b"\r\n", b"\0" * 8, b"HTTP/1.1 ", b"<html></html>\r\n", b"\xff\xfe\x80", b"\x15\x03\x03\x00\x02\x02\x28")
_INTERIM = (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """The chances of each trouble of a connection (at most 1 in all), and of those of the port each few seconds."""

    seed: int
    chances: Mapping[Trouble, float]
    port_chances: Mapping[Port, float] = field(default_factory=dict)


@dataclass(slots=True)
class Proxy:
    """A proxy that runs; `met` counts its troubles."""

    plan: NetworkPlan
    upstream: int
    port: int = 0
    met: Counter[str] = field(default_factory=Counter)
    _draw: random.Random = field(init=False)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._draw = random.Random(f"network {self.plan.seed}")

    async def run(self) -> None:
        """Accept connections until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            trouble = _drawn(self._draw, self.plan.port_chances)
            lasts_s = self._draw.uniform(2.0, 40.0)
            if trouble:
                self.met[f"port {trouble}"] += 1
            if trouble is Port.REFUSED:
                await asyncio.sleep(lasts_s)
            elif trouble is Port.FULL:
                await self._be_full(lasts_s)
            else:
                with _listening(self.port, backlog=128) as listener:
                    pause_s = self._draw.uniform(0.5, 25.0) if trouble is Port.SLOW else 0.0
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(lasts_s):
                            while True:
                                accepted, _ = await loop.sock_accept(listener)
                                self._begin(accepted, pause_s)

    async def _be_full(self, lasts_s: float) -> None:
        """Let nobody in for a while: the queue of those who knock is full, and nobody is called from it."""
        with _listening(self.port, backlog=0) as _, contextlib.ExitStack() as stack:
            for _number in range(4):
                knocking = stack.enter_context(socket.socket())
                knocking.setblocking(False)
                knocking.connect_ex(("127.0.0.1", self.port))
            await asyncio.sleep(lasts_s)

    def _begin(self, accepted: socket.socket, pause_s: float) -> None:
        accepted.setblocking(False)
        trouble = _drawn(self._draw, self.plan.chances)
        self.met[trouble or "none"] += 1
        call = _Call(self, accepted, random.Random(self._draw.random()))
        task = asyncio.ensure_future(call.carry(trouble, pause_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """End all that is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Call:
    """One connection, and the call that it carries."""

    def __init__(self, proxy: Proxy, accepted: socket.socket, draw: random.Random) -> None:
        self._proxy = proxy
        self._socket = accepted
        self._draw = draw
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time()

    async def carry(self, trouble: Trouble | None, pause_s: float) -> None:
        """The call, from the connection to its end."""
        with self._socket, contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await asyncio.sleep(pause_s)
            await self._carry(trouble)

    async def _carry(self, trouble: Trouble | None) -> None:
        match trouble:
            case Trouble.RESET_AT_ONCE:
                self._reset()
                return
            case Trouble.NOT_READ:
                await self._until_it_leaves(reads=False)
                return
        head, body = await self._head()
        length = _length(head)
        match trouble:
            case Trouble.RESET_BEFORE_BODY:
                self._reset()
                return
            case Trouble.RESET_IN_BODY:
                await self._rest(body, self._draw.randrange(length + 1))
                self._reset()
                return
            case Trouble.NARROW:
                body = await self._rest(body, length, bytes_s=self._draw.uniform(500.0, 200_000.0))
            case _:
                body = await self._rest(body, length)
        await self._answer(trouble, head + body)

    async def _answer(self, trouble: Trouble | None, request: bytes) -> None:
        """What becomes of a call that was read as a whole."""
        match trouble:
            case Trouble.RESET_AFTER_BODY_LOST:
                self._reset()
                return
            case Trouble.HALF_CLOSED_LOST:
                self._socket.shutdown(socket.SHUT_WR)
                await self._until_it_leaves()
                return
            case Trouble.SILENT_LOST | Trouble.DRIPPED_BODY_LOST:
                await self._drip_away(request if trouble is Trouble.DRIPPED_BODY_LOST else b"")
                return
            case Trouble.ARRIVES_LATE:
                self._reset()
                await asyncio.sleep(self._draw.uniform(0.0, LATEST_S))
                await self._deliver(request)
                return
        echo = echo_of(request, self._draw) if trouble is Trouble.ECHOED_LOST else None
        if echo is not None and echo.answer is not None:
            await self._send(echo.answer)
            return
        if trouble is Trouble.LATENCY:
            await asyncio.sleep(self._draw.uniform(0.1, 20.0))
        if self._loop.time() - self._began_s > _PATIENCE_S:
            # Whoever sent it may have given up long ago.
            self._reset()
            return
        answer = await self._deliver(request)
        await self._give(trouble, answer if echo is None else echo.spoil(answer))
        return

    async def _give(self, trouble: Trouble | None, answer: bytes) -> None:
        """Hand an answer of the sandbox on."""
        cut = self._draw.randrange(len(answer) or 1)
        match trouble:
            case Trouble.RESET_AFTER_BODY_TAKEN:
                self._reset()
                return
            case Trouble.RESET_IN_ANSWER:
                await self._send(answer[:cut])
                self._reset()
                return
            case Trouble.ANSWER_CUT:
                await self._send(answer[:cut])
                return
            case Trouble.HALF_CLOSED_TAKEN:
                self._socket.shutdown(socket.SHUT_WR)
                await self._until_it_leaves()
                return
            case Trouble.SILENT_TAKEN:
                await self._until_it_leaves()
                return
            case Trouble.DRIPPED_ANSWER:
                await self._send(answer, bytes_s=1.0)
                return
            case Trouble.NARROW:
                await self._send(answer, bytes_s=self._draw.uniform(20.0, 2_000.0))
                return
            case Trouble.GARBAGE_BEFORE_ANSWER:
                await self._send(self._draw.choice((*_GARBAGE, self._draw.randbytes(40))) + answer)
                return
            case Trouble.ANSWERED_TWICE:
                await self._send(answer + answer)
                return
            case Trouble.CONTINUED:
                await self._send(self._draw.choice(_INTERIM) * self._draw.choice((1, 2, 500)) + answer)
                return
        await self._send(answer)
        return

    async def _head(self) -> tuple[bytes, bytes]:
        """The head of the call, and what came along of its body."""
        read = bytearray()
        while b"\r\n\r\n" not in read:
            read += await self._piece(_PIECE_BYTES)
        end = read.index(b"\r\n\r\n") + 4
        return bytes(read[:end]), bytes(read[end:])

    async def _rest(self, body: bytes, length: int, *, bytes_s: float = 0.0) -> bytes:
        """So much of the body, read as slowly as that."""
        read = bytearray(body)
        while len(read) < length:
            piece = await self._piece(min(_PIECE_BYTES, length - len(read)))
            read += piece
            if bytes_s:
                await asyncio.sleep(len(piece) / bytes_s)
        return bytes(read[:length])

    async def _piece(self, most: int) -> bytes:
        piece = await self._loop.sock_recv(self._socket, most)
        if not piece:
            raise ConnectionResetError
        return piece

    async def _deliver(self, request: bytes) -> bytes:
        """Bring the call to the sandbox; its whole answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._proxy.upstream)
        try:
            writer.write(request)
            await writer.drain()
            return await reader.read()
        finally:
            writer.close()

    async def _send(self, answer: bytes, *, bytes_s: float = 0.0) -> None:
        if not bytes_s:
            await self._loop.sock_sendall(self._socket, answer)
            return
        step = max(1, round(bytes_s))
        for at in range(0, len(answer), step):
            await self._loop.sock_sendall(self._socket, answer[at : at + step])
            await asyncio.sleep(step / bytes_s)

    async def _drip_away(self, request: bytes) -> None:
        """Carry a call to the sandbox, a byte a second, until its sender gives up: it never arrives as a whole."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._proxy.upstream)
        leaving = asyncio.ensure_future(self._until_it_leaves())
        try:
            for at in range(len(request) - 1):
                if leaving.done():
                    break
                writer.write(request[at : at + 1])
                await asyncio.wait([leaving], timeout=1.0)
            await leaving
        finally:
            leaving.cancel()
            writer.transport.abort()
            del reader

    async def _until_it_leaves(self, *, reads: bool = True) -> None:
        """Say nothing until the other side has hung up."""
        if not reads:
            # Without a look at the socket its end is not seen either.
            await asyncio.sleep(2 * _PATIENCE_S)
        while await self._loop.sock_recv(self._socket, _PIECE_BYTES):
            pass

    def _reset(self) -> None:
        """Close with a reset, and without what was sent last."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


@asynccontextmanager
async def through(upstream: int, plan: NetworkPlan) -> AsyncIterator[Proxy]:
    """A proxy to that port of this machine, which lasts as long as the context."""
    # Keeps the port, also while nobody listens there.
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept.bind(("127.0.0.1", 0))
        proxy = Proxy(plan, upstream, kept.getsockname()[1])
        accepting = asyncio.ensure_future(proxy.run())
        try:
            yield proxy
        finally:
            accepting.cancel()
            await asyncio.gather(accepting, return_exceptions=True)
            await proxy.stop()


@contextlib.contextmanager
def _listening(port: int, *, backlog: int) -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Has to be said before a connection is made, and goes over to it.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        listener.setblocking(False)
        listener.bind(("127.0.0.1", port))
        listener.listen(backlog)
        yield listener


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _drawn(draw: random.Random, chances: Mapping[Kind, float]) -> Kind | None:
    at = draw.random()
    for each, chance in chances.items():
        at -= chance
        if at < 0:
            return each
    return None
