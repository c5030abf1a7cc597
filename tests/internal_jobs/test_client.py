import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from msgspec import structs
from sqlalchemy.exc import DBAPIError

from internal_jobs.client import Job, JobRequest, Jobs
from internal_jobs.errors import InvalidJob, JobConflict, JobNotFound
from plugins.host.retry import Retry
from plugins.storage.database import Database, now
from plugins.storage.tenants import create_tenant
from plugins.vault.keys import Vault


async def test_a_job_is_read_back_as_it_was_asked_for(jobs: Jobs, tenant: str) -> None:
    request = JobRequest(type="email.send", payload={"to": "a@b.c"}, credentials={"smtp": "cred_1"}, tags=("x",))
    made = await jobs.enqueue(tenant, request)
    assert made.status == "queued"
    assert await jobs.get(tenant, made.id) == made
    assert (made.payload, made.credentials, made.tags) == (request.payload, request.credentials, request.tags)


async def test_jobs_of_every_kind_are_kept_together(jobs: Jobs, tenant: str) -> None:
    """Rows travel by column: lists within them stay lists, and what is absent in one is absent in that one."""
    requests = [
        JobRequest(type="a", tags=("x", "y"), retry=Retry(max_attempts=4), at=now() + timedelta(hours=1)),
        JobRequest(type="b", payload={"url": "https://example.com"}, credentials={"auth": "cred_1"}, singleton_key="k"),
        JobRequest(type="c", tags=("z",), ttl="1h", timeout="90s", lane="temporal", on_exhausted="promote"),
    ]
    made = await jobs.enqueue_many(tenant, requests, keys=["1", "2", "3"])
    assert [(job.type, job.tags, job.retry, job.credentials) for job in made] == [
        (request.type, request.tags, request.retry, request.credentials) for request in requests
    ]
    assert [await jobs.get(tenant, job.id) for job in made] == made


# SQLite knows no lengths.
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_what_is_too_long_for_its_column_is_refused_and_not_cut_off(jobs: Jobs, tenant: str) -> None:
    with pytest.raises(DBAPIError, match="too long"):
        await jobs.enqueue(tenant, JobRequest(type="x" * 201))
    assert (await jobs.list(tenant)).items == ()


async def test_another_tenants_job_is_absent(jobs: Jobs, tenant: str, database: Database) -> None:
    async with database.across.transaction() as connection:
        stranger = await create_tenant(connection, "Other")
    made = await jobs.enqueue(tenant, JobRequest(type="x"))
    assert await jobs.get(stranger.id, made.id) is None
    assert (await jobs.list(stranger.id)).items == ()
    for act in (jobs.cancel, jobs.retry):
        with pytest.raises(JobNotFound):
            await act(stranger.id, made.id)


async def test_twenty_concurrent_requests_with_one_key_make_one_job(jobs: Jobs, tenant: str) -> None:
    request = JobRequest(type="x")
    made = await asyncio.gather(*(jobs.enqueue(tenant, request, key="order-7") for _ in range(20)))
    assert len({job.id for job in made}) == 1
    assert len((await jobs.list(tenant)).items) == 1


async def test_equal_keys_of_two_tenants_make_two_jobs(jobs: Jobs, tenant: str, database: Database) -> None:
    async with database.across.transaction() as connection:
        other = await create_tenant(connection, "Other")
    first = await jobs.enqueue(tenant, JobRequest(type="x"), key="k")
    second = await jobs.enqueue(other.id, JobRequest(type="x"), key="k")
    assert first.id != second.id


async def test_a_singleton_key_admits_one_open_job(jobs: Jobs, tenant: str) -> None:
    request = JobRequest(type="x", singleton_key="nightly")
    first = await jobs.enqueue(tenant, request)
    assert (await jobs.enqueue(tenant, request)).id == first.id
    await jobs.cancel(tenant, first.id)
    second = await jobs.enqueue(tenant, request)
    assert second.id != first.id
    with pytest.raises(JobConflict):
        await jobs.retry(tenant, first.id)


async def test_the_newest_takes_the_place_of_one_that_waits(jobs: Jobs, tenant: str) -> None:
    request = JobRequest(type="x", singleton_key="sync", singleton_wins="newest")
    first = await jobs.enqueue(tenant, request, key="a")
    second = await jobs.enqueue(tenant, request, key="b")
    assert second.id != first.id
    dropped = await jobs.get(tenant, first.id)
    assert dropped is not None
    assert dropped.error is not None
    assert (dropped.status, dropped.error.type) == ("canceled", "job.superseded")
    assert (await jobs.enqueue(tenant, request, key="b")).id == second.id, "a repeated request replaces nothing"
    assert (await jobs.enqueue(tenant, request, key="a")).id == first.id
    with pytest.raises(JobConflict):
        await jobs.retry(tenant, first.id)


async def test_of_many_newest_at_once_one_is_left(jobs: Jobs, tenant: str) -> None:
    request = JobRequest(type="x", singleton_key="sync", singleton_wins="newest")
    one_by_one = [jobs.enqueue(tenant, request) for _ in range(8)]
    await asyncio.gather(
        *one_by_one, jobs.enqueue_many(tenant, [request] * 4), jobs.enqueue_many(tenant, [request] * 4)
    )
    assert len((await jobs.list(tenant, status="queued")).items) == 1
    assert len((await jobs.list(tenant, status="canceled")).items) == 15


async def test_a_burst_becomes_one_job_that_begins_after_a_pause(jobs: Jobs, tenant: str) -> None:
    request = JobRequest(type="x", singleton_key="index", debounce="1m")
    burst = [
        await jobs.enqueue(tenant, structs.replace(request, payload={"n": n}, debounce=debounce))
        for n, debounce in enumerate(("1m", "1m", "5s"))
    ]
    (left,) = (await jobs.list(tenant, status="scheduled")).items
    assert (left.id, left.payload) == (burst[2].id, {"n": 2})
    assert left.available_at - left.created_at == timedelta(seconds=5)


async def test_a_burst_that_does_not_end_begins_after_ten_pauses(jobs: Jobs, tenant: str) -> None:
    request = JobRequest(type="x", singleton_key="index", debounce="1h")
    first = await jobs.enqueue(tenant, request)
    # Ten times a tenth of a second are over before this one's own pause would be.
    await jobs.enqueue(tenant, structs.replace(request, debounce="40m"))
    latest = await jobs.enqueue(tenant, structs.replace(request, debounce="100ms"))
    await jobs.enqueue(tenant, structs.replace(request, debounce="100ms"))
    (left,) = (await jobs.list(tenant, status="scheduled")).items
    assert latest.available_at - latest.created_at == timedelta(milliseconds=100)
    assert left.available_at <= first.created_at + timedelta(seconds=1)


async def test_a_job_may_join_the_callers_transaction(
    jobs: Jobs, tenant: str, database: Database, vault: Vault
) -> None:
    await vault.sealer(tenant)
    lost: list[str] = []

    async def take_back() -> None:
        async with database.transaction(tenant) as connection:
            lost.append((await jobs.enqueue(tenant, JobRequest(type="x"), connection=connection)).id)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await take_back()
    assert await jobs.get(tenant, lost[0]) is None
    async with database.across.transaction() as connection:
        kept = await jobs.enqueue(tenant, JobRequest(type="x"), key="k", connection=connection)
        assert (await jobs.enqueue(tenant, JobRequest(type="x"), key="k", connection=connection)).id == kept.id
    assert await jobs.get(tenant, kept.id) is not None


async def test_a_delayed_job_is_scheduled(jobs: Jobs, tenant: str) -> None:
    job = await jobs.enqueue(tenant, JobRequest(type="x", delay="1h", ttl="5m"))
    assert job.status == "scheduled"
    assert job.available_at - job.created_at == timedelta(hours=1)
    assert job.expires_at == job.available_at + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("request_", "pointer"),
    [
        (JobRequest(type="x", delay="1s", at=now()), "/at"),
        (JobRequest(type="x", at=now() + timedelta(days=400)), "/at"),
        (JobRequest(type="x", delay="400d"), "/delay"),
        (JobRequest(type="x", ttl="400d"), "/ttl"),
        (JobRequest(type="x", debounce="1s"), "/debounce"),
        (JobRequest(type="x", debounce="1s", singleton_key="k", delay="1s"), "/debounce"),
        (JobRequest(type="x", debounce="400d", singleton_key="k"), "/debounce"),
        (JobRequest(type="x", singleton_wins="newest"), "/singletonWins"),
        (JobRequest(type="x", max_attempts=2, retry=Retry()), "/maxAttempts"),
        (JobRequest(type="x", payload={"body": "x" * 1_100_000}), "/payload"),
    ],
)
async def test_a_request_that_cannot_be_kept_says_where_it_is_wrong(
    jobs: Jobs, tenant: str, request_: JobRequest, pointer: str
) -> None:
    with pytest.raises(InvalidJob) as refused:
        await jobs.enqueue(tenant, request_)
    assert refused.value.pointer == pointer


async def test_lists_are_filtered_and_paged_newest_first(jobs: Jobs, tenant: str) -> None:
    made = [
        await jobs.enqueue(tenant, JobRequest(type=f"t{n % 2}", queue="bulk" if n > 3 else "default", tags=(f"n{n}",)))
        for n in range(6)
    ]
    newest_first = [job.id for job in reversed(made)]
    first = await jobs.list(tenant, limit=4)
    rest = await jobs.list(tenant, limit=4, cursor=first.next_cursor)
    assert [job.id for job in first.items + rest.items] == newest_first
    assert rest.next_cursor is None
    assert len((await jobs.list(tenant, type="t0")).items) == 3
    assert len((await jobs.list(tenant, queue="bulk")).items) == 2
    assert [job.id for job in (await jobs.list(tenant, tag="n2")).items] == [made[2].id]
    assert (await jobs.list(tenant, tag="n")).items == ()
    assert (await jobs.list(tenant, tag="N2")).items == ()
    assert (await jobs.list(tenant, tag="n%")).items == ()
    assert (await jobs.list(tenant, status="dead")).items == ()


async def test_a_cancelled_job_can_be_started_over(jobs: Jobs, tenant: str) -> None:
    job = await jobs.enqueue(tenant, JobRequest(type="x"))
    assert (await jobs.cancel(tenant, job.id)).status == "canceled"
    assert (await jobs.cancel(tenant, job.id)).status == "canceled"
    assert (await jobs.retry(tenant, job.id)).status == "queued"
    with pytest.raises(JobConflict):
        await jobs.retry(tenant, job.id)


async def test_purge_deletes_what_is_settled_and_nothing_else(jobs: Jobs, tenant: str) -> None:
    settled = await jobs.enqueue(tenant, JobRequest(type="x"))
    await jobs.cancel(tenant, settled.id)
    waiting = await jobs.enqueue(tenant, JobRequest(type="x"))
    assert await jobs.purge(now() - timedelta(hours=1)) == 0
    assert await jobs.purge(now() + timedelta(seconds=1)) == 1
    assert [job.id for job in (await jobs.list(tenant)).items] == [waiting.id]


async def test_payload_and_keys_are_not_in_clear_in_the_database(jobs: Jobs, tenant: str, database: Database) -> None:
    secret = "canary-5f2c"
    await jobs.enqueue(tenant, JobRequest(type="x", payload={"body": secret}, singleton_key=secret), key=secret)
    async with database.across.read() as connection:
        rows = (await connection.exec_driver_sql("SELECT * FROM jobs")).all()
    assert secret not in repr(rows)
    assert secret.encode() not in b"".join(bytes(value) for value in rows[0] if isinstance(value, bytes | memoryview))


async def test_many_jobs_are_kept_together_or_not_at_all(jobs: Jobs, tenant: str) -> None:
    good = [JobRequest(type="x", payload={"n": n}) for n in range(5)]
    with pytest.raises(InvalidJob) as refused:
        await jobs.enqueue_many(tenant, [*good, JobRequest(type="x", delay="1s", at=now())])
    assert refused.value.pointer == "/5/at"
    assert (await jobs.list(tenant)).items == ()
    keys = ["a", "b", "c", "d", "a"]
    made = await jobs.enqueue_many(tenant, good, keys=keys)
    assert [job.payload["n"] for job in made] == [0, 1, 2, 3, 0]
    assert made[4].id == made[0].id
    assert len((await jobs.list(tenant)).items) == 4
    assert await jobs.enqueue_many(tenant, []) == []


async def test_batches_with_the_same_keys_in_any_order_do_not_block_one_another(jobs: Jobs, tenant: str) -> None:
    """Whoever makes the first of two keys makes the second, too: nobody waits for what another waits with."""
    request = JobRequest(type="x", delay="1d")

    async def idempotent(keys: Sequence[str]) -> list[Job]:
        return await jobs.enqueue_many(tenant, [request] * len(keys), keys=keys)

    async def single(keys: Sequence[str]) -> list[Job]:
        return await jobs.enqueue_many(tenant, [structs.replace(request, singleton_key=key) for key in keys])

    async def debounced(keys: Sequence[str]) -> list[Job]:
        bounced = JobRequest(type="y", debounce="1h")
        return await jobs.enqueue_many(tenant, [structs.replace(bounced, singleton_key=key) for key in keys])

    for enqueue, count in ((idempotent, 1_000), (single, 1_000), (debounced, 50)):
        keys = [f"{enqueue.__name__}-{number}" for number in range(count)]
        once, again = await asyncio.gather(enqueue(keys), enqueue(keys[::-1]))
        assert len({job.id for job in [*once, *again]}) == (2 * count if enqueue is debounced else count)
        assert enqueue is debounced or [job.id for job in once] == [job.id for job in reversed(again)]
