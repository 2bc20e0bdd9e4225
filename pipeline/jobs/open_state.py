"""Opens the state directory of a tenant, refuses where its ledger lies in another one, and finds who has a job."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

from pipeline.core.errors import ConfigurationError
from pipeline.edges.host import Host
from pipeline.edges.store.ledger_file import Owner, owner_of
from pipeline.edges.store.ledger_reader import read_ledger
from pipeline.edges.store.state import State, open_state
from pipeline.jobs.job import unknown_job
from pipeline.settings.tenants import CLIENTS, Configuration, Tenant


@asynccontextmanager
async def open_tenant(tenant: Tenant, host: Host, *, with_memory: bool = True) -> AsyncIterator[State]:
    """Hold the state directory of a tenant. Raises the errors of `open_state`, and 78 for a ledger elsewhere.

    `with_memory`: unless it is set, the memory is not looked at, whatever is wrong with it.
    """
    settings = tenant.settings
    await host.run_blocking(_check_place, tenant)
    async with open_state(
        settings.state.directory,
        settings.target.client_code,
        host,
        min_free_bytes=settings.state.min_free_bytes,
        outcomes=settings.outcome_directory,
        remember=settings.memory.remember if with_memory else "nothing",
        target=settings.target.url,
    ) as state:
        yield state


def _check_place(tenant: Tenant) -> None:
    """Raise `FatalError` (78) if the tenant's ledger lies elsewhere: a second one would not know what is in flight."""
    client_code, root = tenant.client_code, tenant.root
    if tenant.directory == root:
        elsewhere = root / CLIENTS / client_code
        advice = f'leave [target] client_code = "{client_code}" to its [[routes]], instead of the file\'s top level'
    else:
        elsewhere = root
        advice = f'set [target] client_code = "{client_code}" at the file\'s top level too'
    owner = owner_of(elsewhere / "ledger.db")
    if owner is not None and owner.client_code == client_code:
        raise ConfigurationError(
            f"the ledger of client code {client_code!r} is in {elsewhere}, and would be begun anew in "
            f"{tenant.directory}: {advice}, so that it is found."
        )


def without_route(configuration: Configuration) -> dict[Path, Owner]:
    """State directories with unfinished jobs of client codes that the configuration does not have any more. Blocks."""
    root, known = configuration.root, {tenant.directory for tenant in configuration.tenants}
    directories = [directory for directory in (root, *sorted(root.glob(f"{CLIENTS}/*"))) if directory not in known]
    owners = {directory: owner_of(directory / "ledger.db") for directory in directories}
    return {directory: owner for directory, owner in owners.items() if owner is not None and owner.unfinished}


def tenants_about(configuration: Configuration, job: str | None) -> Sequence[Tenant]:
    """The tenant that has this job; all if `job` is None. Blocks. Raises `PipelineError` (64) for an unknown job."""
    tenants = configuration.tenants
    if job is None or len(tenants) == 1:
        return tenants
    found = [tenant for tenant in tenants if _has_job(tenant, job)]
    if not found:
        raise unknown_job(job)
    return found


def _has_job(tenant: Tenant, job: str) -> bool:
    ledger = read_ledger(tenant.directory / "ledger.db")
    if ledger is None:
        return False
    with closing(ledger):
        return ledger.job(job) is not None
