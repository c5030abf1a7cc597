from sqlalchemy import Row, update

from internal_jobs.client import Job, JobRequest, Jobs
from internal_jobs.leases import SUSPICIOUS, End, Leases, Refusal
from internal_jobs.outbox import Outbox
from internal_jobs.table import jobs as table
from internal_jobs.tickets import Ticket
from plugins.storage.database import Database


async def publish(jobs: Jobs, database: Database, tenant: str) -> tuple[Job, Ticket]:
    job = await jobs.enqueue(tenant, JobRequest(type="x"))
    (publication,) = (await Outbox(database, window=8).take()).publications
    return job, Ticket(tenant, job.id, publication.sequence)


async def suspect(database: Database, redeliveries: int) -> None:
    async with database.across.transaction() as connection:
        await connection.execute(update(table).values(redeliveries=redeliveries))


async def test_a_ticket_begins_one_attempt(jobs: Jobs, database: Database, tenant: str) -> None:
    _, ticket = await publish(jobs, database, tenant)
    leases = Leases(database, length=30)
    row = await leases.begin(ticket)
    assert isinstance(row, Row)
    assert (row.status, row.attempts) == ("running", 1)
    assert await leases.begin(ticket) is Refusal.VOID
    assert await leases.begin(Ticket(tenant, "job_absent", 1)) is Refusal.VOID


async def test_a_cancelled_job_cannot_be_begun(jobs: Jobs, database: Database, tenant: str) -> None:
    job, ticket = await publish(jobs, database, tenant)
    await jobs.cancel(tenant, job.id)
    assert await Leases(database, length=30).begin(ticket) is Refusal.VOID


async def test_an_outcome_after_the_lease_was_taken_over_is_refused(
    jobs: Jobs, database: Database, tenant: str
) -> None:
    job, ticket = await publish(jobs, database, tenant)
    gone = Leases(database, length=-1)
    await gone.begin(ticket)
    (row,) = await gone.lapsed()
    assert row.id == job.id
    assert await gone.reclaim([End(ticket=ticket, status="queued", counts=False)]) == 1
    assert await gone.lapsed() == []
    assert await gone.end(End(ticket=ticket, status="completed")) is False
    (again,) = (await Outbox(database, window=8).take()).publications
    row_again = await Leases(database, length=30).begin(Ticket(tenant, job.id, again.sequence), alone=True)
    assert isinstance(row_again, Row)
    assert (row_again.attempts, row_again.redeliveries) == (1, 1), "an interrupted attempt keeps its number"


async def test_a_live_lease_is_not_taken_over(jobs: Jobs, database: Database, tenant: str) -> None:
    _, ticket = await publish(jobs, database, tenant)
    leases = Leases(database, length=30)
    await leases.begin(ticket)
    assert await leases.lapsed() == []
    assert await leases.reclaim([End(ticket=ticket, status="queued")]) == 0
    assert await leases.renew([ticket, Ticket(tenant, "job_absent", 1)]) == {ticket: False}


async def test_a_suspect_begins_only_alone_and_is_cleared_by_an_orderly_end(
    jobs: Jobs, database: Database, tenant: str
) -> None:
    job, ticket = await publish(jobs, database, tenant)
    await suspect(database, SUSPICIOUS)
    leases = Leases(database, length=30)
    assert await leases.begin(ticket) is Refusal.SUSPECT
    assert isinstance(await leases.begin(ticket, alone=True), Row)
    assert await leases.end(End(ticket=ticket, status="failed", delay=-1, error_type="x"))
    (again,) = (await Outbox(database, window=8).take()).publications
    assert isinstance(await leases.begin(Ticket(tenant, job.id, again.sequence)), Row)


async def test_a_suspect_that_is_put_off_is_published_again(jobs: Jobs, database: Database, tenant: str) -> None:
    job, ticket = await publish(jobs, database, tenant)
    leases = Leases(database, length=30)
    await leases.put_off(ticket, -1)
    assert await leases.begin(ticket) is Refusal.VOID
    (again,) = (await Outbox(database, window=8).take()).publications
    assert (again.job_id, again.sequence) == (job.id, ticket.sequence + 1)


async def test_a_failure_of_a_job_that_was_asked_to_stop_closes_it(jobs: Jobs, database: Database, tenant: str) -> None:
    job, ticket = await publish(jobs, database, tenant)
    leases = Leases(database, length=30)
    await leases.begin(ticket)
    assert (await jobs.cancel(tenant, job.id)).status == "running"
    assert await leases.renew([ticket]) == {ticket: True}
    assert await leases.end(End(ticket=ticket, status="failed", delay=5, error_type="x"))
    closed = await jobs.get(tenant, job.id)
    assert closed is not None
    assert closed.status == "canceled"
    assert closed.closed_at is not None
