import asyncio
from typing import Literal

import pytest
from sqlalchemy import update

from internal_jobs.client import Job, JobRequest, Jobs
from internal_jobs.leases import SUSPICIOUS, Begun, End, Leases, Refusal
from internal_jobs.outbox import Outbox
from internal_jobs.poison import MAX_REDELIVERIES, Redeliveries, take_over
from internal_jobs.table import jobs as table
from internal_jobs.tickets import Ticket
from plugins.host.ledger import Ledger
from plugins.storage.database import Database
from plugins.vault.keys import Vault


@pytest.fixture
def redeliveries(database: Database, vault: Vault) -> Redeliveries:
    return Redeliveries(vault, Ledger(database, vault))


async def publish(jobs: Jobs, database: Database, tenant: str) -> tuple[Job, Ticket]:
    job = await jobs.enqueue(tenant, JobRequest(type="x"))
    return job, await taken(database)


async def taken(database: Database) -> Ticket:
    """Take what is to be published, and return the ticket of the one job that is."""
    (publication,) = (await Outbox(database, window=8).take()).publications
    return Ticket(publication.tenant_id, publication.job_id, publication.sequence)


async def shown(jobs: Jobs, tenant: str, job: Job) -> Job:
    """Return what is to be seen of a job now."""
    seen = await jobs.get(tenant, job.id)
    assert seen is not None
    return seen


async def suspect(database: Database, redeliveries: int) -> None:
    async with database.across.transaction() as connection:
        await connection.execute(update(table).values(redeliveries=redeliveries))


async def begin(leases: Leases, ticket: Ticket, *, alone: bool = False) -> Begun:
    begun = await leases.begin(ticket, alone=alone)
    assert isinstance(begun, Begun)
    return begun


async def begin_lasting(leases: Leases, ticket: Ticket) -> Begun:
    begun = await begin(leases, ticket)
    assert not begun.is_leased
    assert await leases.hold(ticket, begun.row.begun_at)
    return begun


async def test_an_attempt_that_lasts_is_seen_running_and_is_the_only_one(
    jobs: Jobs, database: Database, tenant: str
) -> None:
    job, ticket = await publish(jobs, database, tenant)
    leases = Leases(database, length=30)
    begun = await begin_lasting(leases, ticket)
    running = await shown(jobs, tenant, job)
    assert (running.status, running.attempts, running.started_at) == ("running", 1, begun.row.begun_at)
    assert await leases.begin(ticket) is Refusal.VOID
    assert await leases.hold(ticket, begun.row.begun_at) is False
    assert await leases.begin(Ticket(tenant, "job_absent", 1)) is Refusal.VOID


async def test_an_attempt_that_is_over_at_once_is_written_once(jobs: Jobs, database: Database, tenant: str) -> None:
    job, ticket = await publish(jobs, database, tenant)
    leases = Leases(database, length=30)
    begun = await begin(leases, ticket)
    waiting = await shown(jobs, tenant, job)
    assert (waiting.status, waiting.attempts) == ("queued", 0)
    end = End(ticket=ticket, status="completed", begun_at=begun.row.begun_at)
    assert await leases.end(end)
    assert not await leases.end(end), "it is over"
    assert not await leases.hold(ticket, begun.row.begun_at)
    closed = await shown(jobs, tenant, job)
    assert (closed.status, closed.attempts, closed.started_at) == ("completed", 1, begun.row.begun_at)


async def test_a_failure_that_comes_at_once_counts_and_one_that_was_no_attempt_does_not(
    jobs: Jobs, database: Database, tenant: str
) -> None:
    job, ticket = await publish(jobs, database, tenant)
    leases = Leases(database, length=30)
    for counts, attempts in ((False, 0), (True, 1)):
        begun = await begin(leases, ticket)
        assert begun.row.attempts == 1
        await leases.end(
            End(ticket=ticket, status="failed", delay=-1, counts=counts, error_type="x", begun_at=begun.row.begun_at)
        )
        failed = await shown(jobs, tenant, job)
        assert (failed.status, failed.attempts) == ("failed", attempts)
        ticket = await taken(database)


@pytest.mark.parametrize("options", [{"ttl": "1h"}, {"singleton_key": "key"}])
async def test_a_job_that_others_ask_after_is_seen_running_at_once(
    jobs: Jobs, database: Database, tenant: str, options: dict[str, str]
) -> None:
    job = await jobs.enqueue(tenant, JobRequest(type="x", **options))  # type: ignore[arg-type]
    begun = await begin(Leases(database, length=30), await taken(database))
    assert begun.is_leased
    running = await shown(jobs, tenant, job)
    assert running.status == "running"


@pytest.mark.parametrize("outcome", ["completed", "dead"])
async def test_what_was_done_while_a_job_was_cancelled_is_not_hidden(
    jobs: Jobs, database: Database, tenant: str, outcome: Literal["completed", "dead"]
) -> None:
    job, ticket = await publish(jobs, database, tenant)
    leases = Leases(database, length=30)
    begun = await begin(leases, ticket)
    assert (await jobs.cancel(tenant, job.id)).status == "canceled"
    assert not await leases.hold(ticket, begun.row.begun_at), "the attempt hears that it should stop"
    error = None if outcome == "completed" else "x"
    assert await leases.end(End(ticket=ticket, status=outcome, error_type=error, begun_at=begun.row.begun_at))
    closed = await shown(jobs, tenant, job)
    assert (closed.status, closed.attempts, closed.started_at) == ("canceled", 1, begun.row.begun_at)


async def test_an_attempt_at_a_cancelled_job_says_nothing_about_the_job_that_was_started_over(
    jobs: Jobs, database: Database, tenant: str
) -> None:
    job, ticket = await publish(jobs, database, tenant)
    leases = Leases(database, length=30)
    begun = await begin(leases, ticket)
    await jobs.cancel(tenant, job.id)
    await jobs.retry(tenant, job.id)
    assert not await leases.end(End(ticket=ticket, status="completed", begun_at=begun.row.begun_at))
    anew = await shown(jobs, tenant, job)
    assert (anew.status, anew.attempts) == ("queued", 0)


async def test_a_job_whose_worker_died_at_once_is_suspect_and_the_former_holder_has_no_say(
    jobs: Jobs, database: Database, tenant: str, redeliveries: Redeliveries
) -> None:
    job, ticket = await publish(jobs, database, tenant)
    leases, due = Leases(database, length=30), asyncio.Event()
    begun = await begin(leases, ticket)
    await take_over(ticket, leases=leases, redeliveries=redeliveries, on_due=due.set)
    assert due.is_set()
    assert not await leases.hold(ticket, begun.row.begun_at)
    assert not await leases.end(End(ticket=ticket, status="completed", begun_at=begun.row.begun_at))
    assert await leases.begin(await taken(database)) is Refusal.SUSPECT
    still = await shown(jobs, tenant, job)
    assert (still.status, still.attempts) == ("queued", 0), "an interrupted attempt keeps its number"


async def test_a_suspect_that_waits_for_a_cell_has_no_part_in_the_death_of_its_worker(
    jobs: Jobs, database: Database, tenant: str, redeliveries: Redeliveries
) -> None:
    job, ticket = await publish(jobs, database, tenant)
    leases, due = Leases(database, length=-1), asyncio.Event()
    for _ in range(MAX_REDELIVERIES + 2):
        await take_over(ticket, leases=leases, redeliveries=redeliveries, on_due=due.set)
        ticket = await taken(database)
    begun = await begin(leases, ticket, alone=True)
    assert begun.row.redeliveries == 1, "only the first worker may have died of it"
    # One that runs is under a lease.
    await take_over(ticket, leases=leases, redeliveries=redeliveries, on_due=due.set)
    assert [row.id for row in await leases.lapsed()] == [job.id]


async def test_a_message_of_a_dead_worker_says_nothing_about_a_job_that_ended_or_is_leased(
    jobs: Jobs, database: Database, tenant: str, redeliveries: Redeliveries
) -> None:
    leases, due = Leases(database, length=30), asyncio.Event()
    _, running = await publish(jobs, database, tenant)
    await begin_lasting(leases, running)
    _, over = await publish(jobs, database, tenant)
    await leases.end(End(ticket=over, status="completed"))
    for ticket in (running, over):
        await take_over(ticket, leases=leases, redeliveries=redeliveries, on_due=due.set)
    assert not due.is_set()
    assert await leases.renew([running]) == {running: False}


async def test_a_cancelled_job_cannot_be_begun(jobs: Jobs, database: Database, tenant: str) -> None:
    job, ticket = await publish(jobs, database, tenant)
    await jobs.cancel(tenant, job.id)
    assert await Leases(database, length=30).begin(ticket) is Refusal.VOID


async def test_an_outcome_after_the_lease_was_taken_over_is_refused(
    jobs: Jobs, database: Database, tenant: str
) -> None:
    job, ticket = await publish(jobs, database, tenant)
    gone = Leases(database, length=-1)
    await begin_lasting(gone, ticket)
    (row,) = await gone.lapsed()
    assert row.id == job.id
    assert await gone.reclaim([End(ticket=ticket, status="queued", counts=False)]) == 1
    assert await gone.lapsed() == []
    assert await gone.end(End(ticket=ticket, status="completed")) is False
    begun = await begin(Leases(database, length=30), await taken(database), alone=True)
    assert (begun.row.attempts, begun.row.redeliveries) == (1, 1), "an interrupted attempt keeps its number"


async def test_a_live_lease_is_not_taken_over(jobs: Jobs, database: Database, tenant: str) -> None:
    _, ticket = await publish(jobs, database, tenant)
    leases = Leases(database, length=30)
    await begin_lasting(leases, ticket)
    assert await leases.lapsed() == []
    assert await leases.reclaim([End(ticket=ticket, status="queued")]) == 0
    assert await leases.renew([ticket, Ticket(tenant, "job_absent", 1)]) == {ticket: False}


async def test_a_suspect_begins_only_alone_and_is_cleared_by_an_orderly_end(
    jobs: Jobs, database: Database, tenant: str
) -> None:
    _, ticket = await publish(jobs, database, tenant)
    await suspect(database, SUSPICIOUS)
    leases = Leases(database, length=30)
    assert await leases.begin(ticket) is Refusal.SUSPECT
    begun = await begin(leases, ticket, alone=True)
    assert begun.is_leased, "whoever started the cell asks whether it died with it"
    assert await leases.end(End(ticket=ticket, status="failed", delay=-1, error_type="x"))
    await begin(leases, await taken(database))


async def test_a_suspect_that_is_put_off_is_published_again(jobs: Jobs, database: Database, tenant: str) -> None:
    job, ticket = await publish(jobs, database, tenant)
    leases = Leases(database, length=30)
    await leases.put_off(ticket, -1)
    assert await leases.begin(ticket) is Refusal.VOID
    again = await taken(database)
    assert (again.job_id, again.sequence) == (job.id, ticket.sequence + 1)


async def test_a_failure_of_a_job_that_was_asked_to_stop_closes_it(jobs: Jobs, database: Database, tenant: str) -> None:
    job, ticket = await publish(jobs, database, tenant)
    leases = Leases(database, length=30)
    await begin_lasting(leases, ticket)
    assert (await jobs.cancel(tenant, job.id)).status == "running"
    assert await leases.renew([ticket]) == {ticket: True}
    assert await leases.end(End(ticket=ticket, status="failed", delay=5, error_type="x"))
    closed = await shown(jobs, tenant, job)
    assert closed.status == "canceled"
    assert closed.closed_at is not None
