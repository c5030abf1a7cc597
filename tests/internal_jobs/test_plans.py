"""PostgreSQL keeps the plans of statements; what the lane asks all the time is fast by any plan that it may keep."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text, update

from internal_jobs.client import JobRequest, Jobs
from internal_jobs.leases import Begun, End, Leases
from internal_jobs.outbox import Outbox
from internal_jobs.table import jobs as table
from internal_jobs.tickets import Ticket
from plugins.storage.database import Database, now
from tests.postgres import furnish

#: Executions after which a plan is kept, and two.
KEPT = 7
MANY = 2_000
#: Rows that a statement may read where it concerns one job.
FEW = 50

_READ = text("SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname = 'jobs'")


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    """On PostgreSQL alone. Used by one statement at a time, it has one connection, which keeps the plans."""
    opened = Database(await furnish(postgres_url))
    yield opened
    await opened.close()


async def analyze(postgres_url: str) -> None:
    owner = Database(postgres_url)
    async with owner.engine.begin() as connection:
        await connection.execute(text("ANALYZE jobs"))
    await owner.close()


async def rows_read(database: Database, act: Callable[[], Awaitable[Any]]) -> int:
    """Return how many rows of the table are read meanwhile."""
    before = await _rows_read(database)
    await act()
    return await _rows_read(database) - before


async def _rows_read(database: Database) -> int:
    async with database.across.read() as connection:
        await connection.execute(text("SELECT pg_stat_force_next_flush()"))
    async with database.across.read() as connection:
        return int((await connection.execute(_READ)).scalar_one())


async def test_a_look_planned_on_an_empty_table_reads_few_of_many_delayed_jobs(
    jobs: Jobs, database: Database, tenant: str
) -> None:
    outbox = Outbox(database, window=8)
    for _ in range(KEPT):
        await outbox.outlook()
    await jobs.enqueue_many(tenant, [JobRequest(type="x", delay="1d")] * MANY)
    assert await rows_read(database, outbox.outlook) < FEW


async def test_a_look_planned_beside_a_long_backlog_reads_few_rows_when_that_is_gone(
    jobs: Jobs, database: Database, tenant: str, postgres_url: str
) -> None:
    outbox = Outbox(database, window=8)
    await jobs.enqueue_many(tenant, [JobRequest(type="x")] * MANY)
    await analyze(postgres_url)
    for _ in range(KEPT):
        await outbox.outlook()
    async with database.across.transaction() as connection:
        await connection.execute(update(table).values(status="canceled", closed_at=now()))
    assert await rows_read(database, outbox.outlook) < FEW


async def test_an_end_planned_on_an_empty_table_finds_its_job_among_many(
    jobs: Jobs, database: Database, tenant: str
) -> None:
    outbox, leases = Outbox(database, window=8), Leases(database, length=30)

    async def work() -> None:
        await jobs.enqueue(tenant, JobRequest(type="x"))
        (publication,) = (await outbox.take()).publications
        ticket = Ticket(tenant, publication.job_id, publication.sequence)
        begun = await leases.begin(ticket)
        assert isinstance(begun, Begun)
        assert await leases.end(End(ticket=ticket, status="completed", begun_at=begun.row.begun_at))

    for _ in range(KEPT):
        await work()
    await jobs.enqueue_many(tenant, [JobRequest(type="x", delay="1d")] * MANY)
    assert await rows_read(database, work) < FEW
