"""Waiting for jobs to get where they should."""

import asyncio
import time
from collections.abc import Callable, Iterable

from internal_jobs.client import Job, Jobs
from internal_jobs.jobs import Status

#: What a job does not leave by itself.
CLOSED: tuple[Status, ...] = ("completed", "dead", "canceled", "expired")


async def reach(jobs: Jobs, tenant: str, job_id: str, *statuses: Status, seconds: float = 60) -> Job:
    """Return the job once it has one of the statuses (a closed one, if none is named)."""
    return await show(jobs, tenant, job_id, lambda job: job.status in (statuses or CLOSED), seconds=seconds)


async def show(jobs: Jobs, tenant: str, job_id: str, wanted: Callable[[Job], bool], *, seconds: float = 60) -> Job:
    """Return the job once it is as wanted."""
    deadline = time.monotonic() + seconds
    while True:
        job = await jobs.get(tenant, job_id)
        assert job is not None
        if wanted(job):
            return job
        assert time.monotonic() < deadline, f"not as wanted after {seconds} s: {job}"
        await asyncio.sleep(0.02)


async def reach_all(jobs: Jobs, tenant: str, made: Iterable[Job], *, seconds: float = 120) -> list[Job]:
    """Return the jobs once all of them are closed."""
    deadline = time.monotonic() + seconds
    return [await reach(jobs, tenant, job.id, seconds=deadline - time.monotonic()) for job in made]
