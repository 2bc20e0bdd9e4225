"""Has a request carried out by the process that holds the tenant's state directory, or here if none does."""

from contextlib import AsyncExitStack
from os import getuid
from pathlib import Path

from anyio.to_thread import run_sync

from pipeline.core.errors import ExitCode, FatalError
from pipeline.edges.host import Host
from pipeline.edges.lock import holder
from pipeline.edges.process.early_signals import release_signals
from pipeline.edges.store.mailbox import Request, named_user
from pipeline.edges.store.state import State
from pipeline.jobs.control import REBUILD_MEMORY, RETRY_REJECTS, ask_holder, carry_out
from pipeline.jobs.open_state import open_tenant
from pipeline.jobs.retries.lost_rows import Retry, begin_retry
from pipeline.jobs.retries.mended_rows import begin_mended, pieces_of
from pipeline.settings.tenants import Tenant


async def ask(tenant: Tenant, command: str, job: str | None, host: Host, given: Path | None = None) -> str:
    """Returns what was done, in words. Raises the errors of `ask_holder` and `carry_out`.

    `given`: a file that goes with the request.
    """
    async with AsyncExitStack() as stack:
        # Whoever empties the memory does so because it cannot be used, most often.
        if (state := await _opened(tenant, host, stack, with_memory=command != REBUILD_MEMORY)) is not None:
            return await carry_out(Request("", command, job, given, by=named_user(getuid())), state, running=None)
    copied = None if given is None else await run_sync(pieces_of, given)
    return await ask_holder(tenant.directory, command, job, host.clock, copied, by=named_user(getuid()))


async def _opened(tenant: Tenant, host: Host, stack: AsyncExitStack, *, with_memory: bool = True) -> State | None:
    """The state of a tenant, open until the stack ends; None if another process holds it.

    That process may have begun just now: a service that starts again is asked too.
    """
    if await run_sync(holder, tenant.directory) is not None:
        return None
    try:
        return await stack.enter_async_context(open_tenant(tenant, host, with_memory=with_memory))
    except FatalError as error:
        if error.exit_code is not ExitCode.ALREADY_RUNNING:
            raise
        return None


async def ask_for_retry(tenant: Tenant, job: str, host: Host, rejects: Path | None = None) -> Retry:
    """Returns the answer to a request for a retry; where another process sends the rows, they are none of ours.

    `rejects`: the table of the rejected rows that are loaded, mended; None to send lost rows again.
    """
    async with AsyncExitStack() as stack:
        if (state := await _opened(tenant, host, stack)) is not None:
            return await (begin_retry(state, job) if rejects is None else begin_mended(state, job, rejects))
    # Nothing of it happens here: whoever waits for an answer in vain can end it.
    release_signals()
    if rejects is None:
        return Retry(await ask_holder(tenant.directory, "retry", job, host.clock))
    # The holder gets a copy: whoever asks may remove the file at once.
    given = await run_sync(pieces_of, rejects)
    return Retry(await ask_holder(tenant.directory, RETRY_REJECTS, job, host.clock, given))
