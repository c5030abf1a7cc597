from collections import Counter

from internal_jobs.client import JobRequest, Jobs
from internal_jobs.outbox import Outbox
from plugins.storage.database import Database
from plugins.storage.tenants import create_tenant


async def make_tenants(database: Database, count: int) -> list[str]:
    async with database.transaction() as connection:
        return [(await create_tenant(connection, f"t{n}")).id for n in range(count)]


async def test_a_tenant_with_many_jobs_gets_ahead_of_nobody(jobs: Jobs, database: Database) -> None:
    loud, quiet = await make_tenants(database, 2)
    for _ in range(40):
        await jobs.enqueue(loud, JobRequest(type="x"))
    outbox = Outbox(database, window=16)
    assert Counter(one.tenant_id for one in await outbox.take()) == {loud: 16}
    for _ in range(3):
        await jobs.enqueue(quiet, JobRequest(type="x"))
    assert await outbox.take() == []
    outbox = Outbox(database, window=24)
    taken = Counter(one.tenant_id for one in await outbox.take())
    assert taken == {quiet: 3}, "who holds fewest comes first, the rest follows in the next pass"
    assert Counter(one.tenant_id for one in await outbox.take()) == {loud: 5}


async def test_every_tenant_is_served_when_there_are_more_than_places(jobs: Jobs, database: Database) -> None:
    tenants = await make_tenants(database, 10)
    for tenant in tenants:
        for _ in range(2):
            await jobs.enqueue(tenant, JobRequest(type="x"))
    outbox = Outbox(database, window=4)
    served: list[str] = []
    for _ in range(5):
        taken = await outbox.take()
        assert len(taken) == 4
        served += [one.tenant_id for one in taken]
        for one in taken:
            await jobs.cancel(one.tenant_id, one.job_id)
    assert Counter(served) == dict.fromkeys(tenants, 2)
    assert set(served[:10]) == set(tenants)


async def test_queues_have_windows_of_their_own(jobs: Jobs, database: Database, tenant: str) -> None:
    for _ in range(5):
        await jobs.enqueue(tenant, JobRequest(type="x", queue="bulk"))
    outbox = Outbox(database, window=2)
    await outbox.take()
    await jobs.enqueue(tenant, JobRequest(type="x", queue="critical"))
    assert [one.queue for one in await outbox.take()] == ["critical"]


async def test_what_did_not_reach_redis_is_published_under_a_new_sequence(
    jobs: Jobs, database: Database, tenant: str
) -> None:
    job = await jobs.enqueue(tenant, JobRequest(type="x"))
    outbox = Outbox(database, window=4)
    (first,) = await outbox.take()
    assert (first.job_id, first.sequence) == (job.id, 1)
    assert not (await outbox.outlook()).ready
    assert await outbox.give_back([first]) == 1
    assert (await outbox.outlook()).ready
    (second,) = await outbox.take()
    assert second.sequence == 2
    assert await outbox.give_back([first]) == 0, "a publication made void gives nothing back"


async def test_the_outlook_says_when_a_delayed_job_is_due(jobs: Jobs, database: Database, tenant: str) -> None:
    outbox = Outbox(database, window=4)
    assert (await outbox.outlook()).due_in is None
    await jobs.enqueue(tenant, JobRequest(type="x", delay="1m"))
    outlook = await outbox.outlook()
    assert not outlook.ready
    assert outlook.due_in is not None
    assert 50 < outlook.due_in <= 60
    assert await outbox.take() == []
