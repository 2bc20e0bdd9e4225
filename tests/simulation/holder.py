"""Requests to whoever holds a state directory, without a thread."""

import asyncio
from pathlib import Path

from pipeline.edges.store.mailbox import Mailbox


async def ask(state: Path, command: str, job: str | None = None) -> str:
    """Ask the holder as a command does; what it did, in words."""
    mailbox = Mailbox(state)
    request_id = mailbox.ask(command, job)
    while (answer := mailbox.take_answer(request_id)) is None:  # noqa: ASYNC110 - it is the doing of the holder
        await asyncio.sleep(0.1)
    assert answer.exit_code is None, answer
    return answer.told
