import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import update

from internal_jobs.broker import JobsBroker, consuming_broker
from internal_jobs.client import JobRequest, Jobs
from internal_jobs.leases import Leases
from internal_jobs.outbox import Outbox
from internal_jobs.poison import MAX_REDELIVERIES, Redeliveries
from internal_jobs.slots import Slots
from internal_jobs.sweeper import LOST_AFTER, STUCK_AFTER, Sweeper
from internal_jobs.table import jobs as table
from internal_jobs.tickets import Ticket
from plugins.host.ledger import Ledger
from plugins.storage.database import Database
from plugins.vault.keys import Vault


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database, window=8)


@pytest.fixture
def due() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
def sweeper(database: Database, outbox: Outbox, producer: JobsBroker, vault: Vault, due: asyncio.Event) -> Sweeper:
    leases = Leases(database, length=-1)
    redeliveries = Redeliveries(vault, Ledger(database, vault))
    return Sweeper(outbox=outbox, leases=leases, broker=producer, redeliveries=redeliveries, on_due=due.set, grace=60)


async def age(database: Database, seconds: float) -> None:
    """Let every publication be older."""
    outbox = Outbox(database, window=0)
    published = await outbox.published_before(-1)
    async with database.across.transaction() as connection:
        for one in published:
            row = table.c.id == one.job_id
            at = (await connection.execute(table.select().where(row))).one().published_at
            await connection.execute(update(table).where(row).values(published_at=at - timedelta(seconds=seconds)))


async def test_a_message_that_redis_lost_is_published_again(
    jobs: Jobs, database: Database, tenant: str, outbox: Outbox, sweeper: Sweeper, due: asyncio.Event
) -> None:
    await jobs.enqueue(tenant, JobRequest(type="x"))
    assert len((await outbox.take()).publications) == 1
    await sweeper.sweep()
    assert not due.is_set(), "it may still be on its way"
    await age(database, LOST_AFTER + 1)
    await sweeper.sweep()
    assert due.is_set()
    assert [one.sequence for one in (await outbox.take()).publications] == [2]


async def test_a_message_that_waits_in_redis_is_left_there(
    jobs: Jobs, database: Database, tenant: str, outbox: Outbox, sweeper: Sweeper, producer: JobsBroker
) -> None:
    await jobs.enqueue(tenant, JobRequest(type="x"))
    producer.publish((await outbox.take()).publications)
    await age(database, STUCK_AFTER + 1)
    await sweeper.sweep()
    assert (await outbox.take()).publications == []


async def test_a_message_that_a_worker_fetched_and_forgot_is_published_again(
    jobs: Jobs,
    database: Database,
    tenant: str,
    outbox: Outbox,
    sweeper: Sweeper,
    producer: JobsBroker,
    vault: Vault,
    due: asyncio.Event,
) -> None:
    await jobs.enqueue(tenant, JobRequest(type="x"))
    producer.publish((await outbox.take()).publications)
    next(consuming_broker(producer.client, producer.namespace, 5.0, Slots(1)).consume("default", timeout=20))
    await age(database, STUCK_AFTER + 1)
    await sweeper.sweep()
    assert (await outbox.take()).publications == [], "it may have waited, and be begun now"
    impatient = Sweeper(
        outbox=outbox,
        leases=Leases(database, length=-1),
        broker=producer,
        redeliveries=Redeliveries(vault, Ledger(database, vault)),
        on_due=due.set,
        grace=60,
        stuck_after=0.01,
    )
    await impatient.sweep()
    await asyncio.sleep(0.02)
    await impatient.sweep()
    assert [one.sequence for one in (await outbox.take()).publications] == [2]


async def test_a_job_that_took_four_workers_down_is_dead_as_poison(
    jobs: Jobs, database: Database, tenant: str, outbox: Outbox, sweeper: Sweeper
) -> None:
    job = await jobs.enqueue(tenant, JobRequest(type="x"))
    leases = Leases(database, length=-1)
    for _ in range(MAX_REDELIVERIES + 1):
        (publication,) = (await outbox.take()).publications
        await leases.begin(Ticket(tenant, job.id, publication.sequence), alone=True)
        await sweeper.sweep()
    dead = await jobs.get(tenant, job.id)
    assert dead is not None
    assert dead.status == "dead"
    assert dead.error is not None
    assert (dead.error.type, dead.error.attempt) == ("job.poison", 1)
    assert "4 times" in dead.error.message


async def test_a_running_job_that_was_asked_to_stop_is_cancelled_when_its_worker_dies(
    jobs: Jobs, database: Database, tenant: str, outbox: Outbox, sweeper: Sweeper
) -> None:
    job = await jobs.enqueue(tenant, JobRequest(type="x"))
    (publication,) = (await outbox.take()).publications
    await Leases(database, length=-1).begin(Ticket(tenant, job.id, publication.sequence), alone=True)
    await jobs.cancel(tenant, job.id)
    await sweeper.sweep()
    closed = await jobs.get(tenant, job.id)
    assert closed is not None
    assert closed.status == "canceled"


async def test_what_waits_past_its_ttl_expires(jobs: Jobs, database: Database, tenant: str, sweeper: Sweeper) -> None:
    job = await jobs.enqueue(tenant, JobRequest(type="x", ttl="1ms"))
    kept = await jobs.enqueue(tenant, JobRequest(type="x", ttl="1h"))
    await asyncio.sleep(0.002)
    await sweeper.sweep()
    closed, open_ = await jobs.get(tenant, job.id), await jobs.get(tenant, kept.id)
    assert closed is not None
    assert open_ is not None
    assert (closed.status, open_.status) == ("expired", "queued")
