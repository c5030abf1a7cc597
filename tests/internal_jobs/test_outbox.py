from collections import Counter
from typing import Any

import pytest
from sqlalchemy import update

from internal_jobs.client import JobRequest, Jobs
from internal_jobs.errors import InvalidLimit
from internal_jobs.jobs import Queue
from internal_jobs.leases import Leases
from internal_jobs.limits import Limit, Limits, Rate
from internal_jobs.outbox import Outbox
from internal_jobs.table import jobs as table
from internal_jobs.tickets import Ticket
from plugins.storage.clock import moment
from plugins.storage.database import Database
from plugins.storage.tenants import INSTALLATION, create_tenant
from plugins.vault.keys import Vault


@pytest.fixture
def limits(database: Database, vault: Vault) -> Limits:
    return Limits(database, vault)


async def make_tenants(database: Database, count: int) -> list[str]:
    async with database.across.transaction() as connection:
        return [(await create_tenant(connection, f"t{n}")).id for n in range(count)]


async def test_a_tenant_with_many_jobs_gets_ahead_of_nobody(jobs: Jobs, database: Database) -> None:
    loud, quiet = await make_tenants(database, 2)
    for _ in range(40):
        await jobs.enqueue(loud, JobRequest(type="x"))
    outbox = Outbox(database, window=16)
    assert Counter(one.tenant_id for one in (await outbox.take()).publications) == {loud: 16}
    for _ in range(3):
        await jobs.enqueue(quiet, JobRequest(type="x"))
    assert (await outbox.take()).publications == []
    outbox = Outbox(database, window=24)
    taken = [one.tenant_id for one in (await outbox.take()).publications]
    assert taken == [quiet] * 3 + [loud] * 5, "who holds fewest comes first, and the rest goes round"


async def test_every_tenant_is_served_when_there_are_more_than_places(jobs: Jobs, database: Database) -> None:
    tenants = await make_tenants(database, 10)
    for tenant in tenants:
        for _ in range(2):
            await jobs.enqueue(tenant, JobRequest(type="x"))
    outbox = Outbox(database, window=4)
    served: list[str] = []
    for _ in range(5):
        taken = (await outbox.take()).publications
        assert len(taken) == 4
        served += [one.tenant_id for one in taken]
        for one in taken:
            await jobs.cancel(one.tenant_id, one.job_id)
    assert Counter(served) == dict.fromkeys(tenants, 2)
    assert set(served[:10]) == set(tenants)


async def test_a_window_holds_more_while_jobs_begin_faster(jobs: Jobs, database: Database, tenant: str) -> None:
    await jobs.enqueue_many(tenant, [JobRequest(type="crew.echo")] * 12)
    outbox = Outbox(database, window=4)
    assert len((await outbox.take()).publications) == 4
    outbox.keep_up(10)
    assert len((await outbox.take()).publications) == 6
    outbox.keep_up(1)
    assert (await outbox.take()).publications == []


async def test_queues_have_windows_of_their_own(jobs: Jobs, database: Database, tenant: str) -> None:
    for _ in range(5):
        await jobs.enqueue(tenant, JobRequest(type="x", queue="bulk"))
    outbox = Outbox(database, window=2)
    await outbox.take()
    await jobs.enqueue(tenant, JobRequest(type="x", queue="critical"))
    assert [one.queue for one in (await outbox.take()).publications] == ["critical"]


async def test_what_did_not_reach_redis_is_published_under_a_new_sequence(
    jobs: Jobs, database: Database, tenant: str
) -> None:
    job = await jobs.enqueue(tenant, JobRequest(type="x"))
    outbox = Outbox(database, window=4)
    (first,) = (await outbox.take()).publications
    assert (first.job_id, first.sequence) == (job.id, 1)
    assert not (await outbox.outlook()).ready
    assert await outbox.give_back([first]) == 1
    assert (await outbox.outlook()).ready
    (second,) = (await outbox.take()).publications
    assert second.sequence == 2
    assert await outbox.give_back([first]) == 0, "a publication made void gives nothing back"


async def test_the_outlook_says_when_a_delayed_job_is_due_if_it_is_soon(
    jobs: Jobs, database: Database, tenant: str
) -> None:
    outbox = Outbox(database, window=4)
    await jobs.enqueue(tenant, JobRequest(type="x", delay="1m"))
    assert (await outbox.outlook()).due_in is None
    delayed = await jobs.enqueue(tenant, JobRequest(type="x", delay="1m"))
    async with database.transaction(tenant) as connection:
        soon = update(table).where(table.c.id == delayed.id).values(available_at=moment(database, 1.5))
        await connection.execute(soon)
    outlook = await outbox.outlook()
    assert not outlook.ready
    assert outlook.due_in is not None
    assert 0 < outlook.due_in <= 1.5
    assert (await outbox.take()).publications == []


async def flood(jobs: Jobs, tenant: str, count: int, **options: Any) -> None:
    await jobs.enqueue_many(tenant, [JobRequest(type="x", **options) for _ in range(count)])


async def test_a_tenant_with_hardly_any_jobs_takes_the_express_lane_past_a_full_window(
    jobs: Jobs, database: Database
) -> None:
    loud, quiet = await make_tenants(database, 2)
    await flood(jobs, loud, 20)
    outbox = Outbox(database, window=8, express=4)
    assert {one.express for one in (await outbox.take()).publications} == {False}
    assert not (await outbox.outlook()).ready, "there is no express lane for whoever fills the window"
    await flood(jobs, quiet, 10)
    assert (await outbox.outlook()).ready
    taken = (await outbox.take()).publications
    assert [(one.tenant_id, one.express) for one in taken] == [(quiet, True)] * 4
    assert not (await outbox.outlook()).ready, "the express lane has its own end"


async def test_nobody_takes_the_express_lane_while_nobody_waits(jobs: Jobs, database: Database, tenant: str) -> None:
    await flood(jobs, tenant, 3)
    assert {one.express for one in (await Outbox(database, window=8, express=4).take()).publications} == {False}


async def test_what_runs_counts_too(jobs: Jobs, database: Database) -> None:
    loud, quiet = await make_tenants(database, 2)
    await flood(jobs, loud, 20)
    leases = Leases(database, length=30)
    for one in (await Outbox(database, window=8).take()).publications:
        await leases.begin(Ticket(one.tenant_id, one.job_id, one.sequence), alone=True)
    await flood(jobs, quiet, 20)
    taken = Counter(one.tenant_id for one in (await Outbox(database, window=8).take()).publications)
    assert taken == {quiet: 8}


async def test_what_workers_have_fetched_makes_room_before_it_is_seen_running(
    jobs: Jobs, database: Database, tenant: str
) -> None:
    await flood(jobs, tenant, 40)
    outbox = Outbox(database, window=8)
    await outbox.take()
    full = await outbox.outlook()
    assert (full.ready, full.crowded) == (False, {"default": 8})
    nothing_else: dict[Queue, int] = {"critical": 0, "bulk": 0}
    for waiting, taken in ((8, 0), (6, 0), (1, 7)):
        outlook = outbox.beside(full, {**nothing_else, "default": waiting})
        assert outlook.ready is bool(taken)
        assert len((await outbox.take(outlook)).publications) == taken


async def test_a_limit_holds_back_what_it_concerns_and_nothing_else(
    jobs: Jobs, database: Database, limits: Limits, tenant: str, other_tenant: str
) -> None:
    await limits.put(tenant, Limit(scope="type", subject="x", max_concurrent=2))
    await limits.put(tenant, Limit(scope="host", subject="a.example", max_concurrent=1))
    await flood(jobs, tenant, 5)
    for host in ("A.example", "a.example", "b.example"):
        await jobs.enqueue(tenant, JobRequest(type="post", payload={"url": f"https://{host}:444/x"}))
    await flood(jobs, other_tenant, 3)
    outbox = Outbox(database, window=20)
    taken = (await outbox.take()).publications
    assert Counter(one.tenant_id for one in taken) == {tenant: 4, other_tenant: 3}
    assert (await outbox.take()).publications == []
    await limits.put(tenant, Limit(scope="type", subject="x", max_concurrent=3))
    assert len((await outbox.take()).publications) == 1, "a change counts at once"
    assert await limits.remove(tenant, "type", "x")
    assert len((await outbox.take()).publications) == 2
    assert [(one.scope, one.subject) for one in await limits.list(tenant)] == [("host", "a.example")]


async def test_a_limit_of_the_installation_holds_for_all_tenants_together(
    jobs: Jobs, database: Database, limits: Limits, tenant: str, other_tenant: str
) -> None:
    async with database.across.transaction() as connection:
        await create_tenant(connection, "the installation", id=INSTALLATION)
    await limits.put(INSTALLATION, Limit(scope="type", subject="x", max_concurrent=3))
    await limits.put(other_tenant, Limit(scope="tenant", max_concurrent=0))
    await flood(jobs, tenant, 2)
    await flood(jobs, other_tenant, 5)
    outbox = Outbox(database, window=20)
    assert Counter(one.tenant_id for one in (await outbox.take()).publications) == {tenant: 2}
    await limits.remove(other_tenant, "tenant", "")
    assert Counter(one.tenant_id for one in (await outbox.take()).publications) == {other_tenant: 1}


async def test_a_tenant_that_may_not_start_anything_takes_nobodys_turn(
    jobs: Jobs, database: Database, limits: Limits
) -> None:
    held, free = await make_tenants(database, 2)
    await limits.put(held, Limit(scope="tenant", max_concurrent=0))
    await flood(jobs, held, 5)
    await flood(jobs, free, 5)
    outbox = Outbox(database, window=1)
    for _ in range(5):
        (one,) = (await outbox.take()).publications
        assert one.tenant_id == free
        await jobs.cancel(one.tenant_id, one.job_id)


async def test_a_rate_says_when_it_lets_the_next_one_through(
    jobs: Jobs, database: Database, limits: Limits, tenant: str
) -> None:
    await limits.put(tenant, Limit(scope="tenant", rate=Rate(count=60, per="1m")))
    await flood(jobs, tenant, 5)
    outbox = Outbox(database, window=20)
    found = await outbox.take()
    assert len(found.publications) == 1
    again = await outbox.take()
    assert again.publications == []
    assert again.again_in is not None
    assert 0.5 < again.again_in <= 1


@pytest.mark.parametrize(
    ("limit", "pointer"),
    [
        (Limit(scope="type", subject="x"), "/maxConcurrent"),
        (Limit(scope="type", max_concurrent=1), "/subject"),
        (Limit(scope="tenant", subject="x", max_concurrent=1), "/subject"),
        (Limit(scope="host", subject="https://a.example", max_concurrent=1), "/subject"),
        (Limit(scope="tenant", rate=Rate(count=1, per="2d")), "/rate/per"),
    ],
)
async def test_a_limit_that_cannot_be_set_says_why(limits: Limits, tenant: str, limit: Limit, pointer: str) -> None:
    with pytest.raises(InvalidLimit) as refused:
        await limits.put(tenant, limit)
    assert refused.value.pointer == pointer
