"""Receives the body of a POST into memory, with a limit of size and at a given pace."""

from collections.abc import Awaitable, Callable

from aiohttp import web

#: Bytes after which a slow reader pauses.
_SLOW_STEP_BYTES = 65_536


class TooLargeError(Exception):
    """The body is over the limit, or says that it is; the rest of it was not read."""


async def receive(
    request: web.Request, max_bytes: int, pause: Callable[[int], Awaitable[None]] | None = None
) -> bytearray:
    """The whole body.

    `max_bytes`: the least size that is refused.
    `pause`: awaited with the size of each piece.
    """
    if (request.content_length or 0) >= max_bytes:
        raise TooLargeError(f"{request.content_length} bytes announced")
    body = bytearray()
    while chunk := await (request.content.read(_SLOW_STEP_BYTES) if pause else request.content.readany()):
        body += chunk
        if len(body) >= max_bytes:
            raise TooLargeError(f"at least {len(body)} bytes")
        if pause:
            await pause(len(chunk))
    return body


async def receive_part(request: web.Request) -> None:
    """Read about half of the body, at least one piece of it."""
    wanted = (request.content_length or 0) // 2
    read = 0
    while chunk := await request.content.readany():
        read += len(chunk)
        if read >= wanted:
            return
