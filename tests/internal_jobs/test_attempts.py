"""Attempts that last are put under leases, and hear when their job is not wanted any more."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from internal_jobs.attempts import Attempt, Attempts
from internal_jobs.client import JobRequest, Jobs
from internal_jobs.leases import Begun, End, Leases
from internal_jobs.outbox import Outbox
from internal_jobs.tickets import Ticket
from plugins.storage.database import Database
from plugins.vault.keys import Vault
from tests.internal_jobs.watch import reach


@pytest.fixture
def leases(database: Database) -> Leases:
    return Leases(database, length=30)


@pytest.fixture
async def attempts(leases: Leases) -> AsyncIterator[Attempts]:
    attempts = Attempts(leases, interval=10)
    keeper = asyncio.create_task(attempts.run())
    yield attempts
    keeper.cancel()
    await asyncio.wait([keeper])


@pytest.fixture
async def attempt(jobs: Jobs, database: Database, leases: Leases, vault: Vault, tenant: str) -> Attempt:
    job = await jobs.enqueue(tenant, JobRequest(type="x"))
    (publication,) = (await Outbox(database, window=8).take()).publications
    ticket = Ticket(tenant, job.id, publication.sequence)
    begun = await leases.begin(ticket)
    assert isinstance(begun, Begun)
    return Attempt(ticket, await vault.sealer(tenant), begun)


async def test_an_attempt_that_lasts_is_put_under_a_lease(
    jobs: Jobs, leases: Leases, attempts: Attempts, attempt: Attempt, tenant: str
) -> None:
    running = asyncio.create_task(asyncio.Event().wait())
    forget = attempts.add(attempt, running)
    job = await reach(jobs, tenant, attempt.ticket.job_id, "running")
    assert (job.attempts, job.started_at) == (1, attempt.begun.row.begun_at)
    forget()
    running.cancel()
    assert await leases.end(End(ticket=attempt.ticket, status="completed"))
    assert (await reach(jobs, tenant, job.id)).attempts == 1


async def test_an_attempt_whose_job_was_cancelled_before_it_was_seen_running_is_asked_to_stop(
    jobs: Jobs, attempts: Attempts, attempt: Attempt, tenant: str
) -> None:
    assert (await jobs.cancel(tenant, attempt.ticket.job_id)).status == "canceled"
    running = asyncio.create_task(asyncio.Event().wait())
    forget = attempts.add(attempt, running)
    async with asyncio.timeout(60):
        while not attempt.cancelled:
            await asyncio.sleep(0.01)
    assert not running.done(), "it may end by itself"
    forget()
    running.cancel()
