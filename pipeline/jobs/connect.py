"""The client for the calls of a job, made while its first rows are read.

Importing the HTTP library takes as long as everything else that a load imports, and a load has nothing to send yet when
it begins: a thread does it meanwhile. A process that serves has done it before.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from pipeline.edges.target.call_queue import CallQueue
from pipeline.jobs.job import Job

if TYPE_CHECKING:
    from pipeline.edges.target.client import Target


@asynccontextmanager
async def connected(job: Job, calls: CallQueue) -> AsyncIterator["Target"]:
    """A client for where the job sends to. What calls it made is in the job's progress at the end."""
    await run_sync(import_module, "pipeline.edges.target.client")
    from pipeline.edges.target.client import Endpoint, connect

    to = job.settings.target
    endpoint = Endpoint(
        url=to.url,
        client_code=to.client_code,
        api_version=to.api_version,
        status_hosts=to.status_hosts,
        token_file=to.token_file,
        min_rate_bytes_s=job.settings.upload.min_rate_bytes_s,
    )
    async with connect(endpoint, calls, job.clock) as target:
        try:
            yield target
        finally:
            job.progress.calls = target.calls_made
