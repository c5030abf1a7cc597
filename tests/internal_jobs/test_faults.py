"""Killed workers, an emptied Redis, poison: what may happen costs time, never a job, and no effect twice."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec import structs
from redis.asyncio import Redis

from internal_jobs.broker import connect, producing_broker
from internal_jobs.client import JobRequest, Jobs
from internal_jobs.jobs import Publication
from internal_jobs.poison import MAX_WITH_PROGRESS
from internal_jobs.table import jobs as table
from plugins.host.ledger import idempotency_key
from plugins.storage.database import Database, now
from plugins.vault.keys import Vault
from tests.internal_jobs.crew import Settings, cell_command
from tests.internal_jobs.watch import reach, reach_all, show
from tests.internal_jobs.witness import witness
from tests.servers import start, stop, valkey_server

Launch = Callable[[], Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def launch(vault: Vault, tenant: str, settings: Settings) -> AsyncIterator[Launch]:
    """Start worker processes; those left at the end of the test are killed."""
    await vault.sealer(tenant)
    impatient = structs.replace(settings, options=structs.replace(settings.options, stall=2.0), memory=2**30)
    started: list[asyncio.subprocess.Process] = []

    async def launch() -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(*cell_command(impatient))
        started.append(process)
        return process

    yield launch
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def supervised(launch: Launch) -> AsyncIterator[list[int]]:
    """Start a worker anew whenever it dies; yield what those exited with that did."""
    deaths: list[int] = []

    async def supervise() -> None:
        while True:
            deaths.append(await (await launch()).wait())

    async with cancelled_at_end(supervise()):
        yield deaths


async def test_a_worker_killed_with_twenty_jobs_in_flight_loses_none_and_repeats_no_effect(
    jobs: Jobs, tenant: str, launch: Launch, tmp_path: Path
) -> None:
    async with witness(tmp_path / "seen", hold=2.0) as seen:
        request = JobRequest(type="crew.post", payload={"url": seen.url}, timeout="3s")
        first = await launch()
        made = [await jobs.enqueue(tenant, request) for _ in range(20)]
        await seen.sees(8)
        first.send_signal(signal.SIGKILL)
        await first.wait()
        await launch()
        finished = await reach_all(jobs, tenant, made)
        assert {(job.status, job.attempts) for job in finished} == {("completed", 1)}
        keys = {idempotency_key(tenant, job.id, job.type, 1) for job in made}
        assert set(seen.keys) == keys, "every job acted, each under one key"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_poison_is_dead_after_three_redeliveries_and_its_neighbours_finish(
    jobs: Jobs, tenant: str, launch: Launch
) -> None:
    made = [await jobs.enqueue(tenant, JobRequest(type="crew.stubborn", payload={"value": 0.4})) for _ in range(12)]
    poison = await jobs.enqueue(tenant, JobRequest(type="crew.poison"))
    async with supervised(launch) as deaths:
        dead = await reach(jobs, tenant, poison.id, seconds=200)
        finished = await reach_all(jobs, tenant, made)
    assert dead.status == "dead"
    assert dead.error is not None
    assert dead.error.type == "job.poison"
    assert "died 4 times" in dead.error.message
    assert len(deaths) == 1, "the three redeliveries die in cells"
    assert {job.status for job in finished} == {"completed"}


@pytest.mark.timeout(450)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_deaths_count_anew_from_each_that_came_further_but_not_for_ever(
    database: Database, jobs: Jobs, tenant: str, launch: Launch
) -> None:
    once, ever = [
        await jobs.enqueue(tenant, JobRequest(type="crew.creep", payload={"value": steps}, timeout="1s", delay=delay))
        for steps, delay in ((1, None), (1_000, "1h"))
    ]
    async with supervised(launch) as deaths:
        await show(jobs, tenant, once.id, lambda _: bool(deaths))
        # The other begins after that death, in which it has no part, and is where it would take a minute to come to.
        almost = {"redeliveries": MAX_WITH_PROGRESS - 1, "available_at": now()}
        async with database.across.transaction() as connection:
            await connection.execute(table.update().where(table.c.id == ever.id).values(almost))
        dead = [await reach(jobs, tenant, job.id, seconds=200) for job in (once, ever)]
    errors = [job.error for job in dead if job.error is not None]
    assert [(error.type, job.attempts) for job, error in zip(dead, errors, strict=True)] == [("job.poison", 1)] * 2
    assert "died 5 times in a row while this job ran;" in errors[0].message, "one came further, four did not"
    assert (
        f"died {MAX_WITH_PROGRESS + 1} times in a row while this job ran, though it came further" in errors[1].message
    )
    assert len(deaths) == 1, "all others die in cells"


# Four processes start one after the other, each in twenty seconds where the machine is slow.
@pytest.mark.timeout(300)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("type", "timeout", "error", "attempts"),
    [
        ("crew.block", "30s", "job.poison", 1),
        ("crew.spin", "500ms", "timeout", 4),
        ("crew.hog", "30s", "plugin.crashed", 1),
        ("crew.object", "30s", "output.invalid", 1),
    ],
)
async def test_what_hangs_or_gorges_is_dead_with_the_reason_and_its_neighbours_finish(
    jobs: Jobs, tenant: str, launch: Launch, type: str, timeout: str, error: str, attempts: int
) -> None:
    neighbour = JobRequest(type="crew.stubborn", payload={"value": 0.2})
    made = [await jobs.enqueue(tenant, neighbour) for _ in range(6)]
    bad = await jobs.enqueue(tenant, JobRequest(type=type, timeout=timeout))
    async with supervised(launch) as deaths:
        dead = await reach(jobs, tenant, bad.id, seconds=200)
        finished = await reach_all(jobs, tenant, made)
        late = [await jobs.enqueue(tenant, neighbour) for _ in range(6)]
        finished += await reach_all(jobs, tenant, late)
    assert dead.error is not None
    assert (dead.status, dead.error.type, dead.attempts) == ("dead", error, attempts)
    assert len(deaths) <= 1
    assert {job.status for job in finished} == {"completed"}


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_drained_worker_hands_back_what_does_not_end_in_time(jobs: Jobs, tenant: str, launch: Launch) -> None:
    worker = await launch()
    made = await jobs.enqueue(tenant, JobRequest(type="crew.stubborn", payload={"value": 30}, timeout="60s"))
    await reach(jobs, tenant, made.id, "running")
    began = time.monotonic()
    worker.terminate()
    assert await worker.wait() == 0
    assert time.monotonic() - began < 10
    job = await jobs.get(tenant, made.id)
    assert job is not None
    assert (job.status, job.attempts) == ("queued", 0)


@pytest.mark.usefixtures("worker")
async def test_a_message_delivered_twice_runs_its_job_once(
    jobs: Jobs, tenant: str, valkey_url: str, namespace: str
) -> None:
    made = await jobs.enqueue(tenant, JobRequest(type="crew.stubborn", payload={"value": 0.5}))
    broker = producing_broker(connect(valkey_url), namespace, 5.0)
    await reach(jobs, tenant, made.id, "running")
    await asyncio.to_thread(broker.publish, [Publication(tenant, made.id, "default", 1)] * 3)
    job = await reach(jobs, tenant, made.id)
    assert (job.status, job.attempts) == ("completed", 1)
    broker.client.close()


class OwnValkey:
    """A Valkey server that a test may stop, start and empty."""

    def __init__(self, folder: Path) -> None:
        self._server = valkey_server(folder)
        self.url = self._server.url
        self._process = start(self._server)

    def stop(self) -> None:
        stop(self._process)

    def start(self) -> None:
        self._process = start(self._server)


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[OwnValkey]:
    server = OwnValkey(tmp_path / "valkey")
    yield server
    server.stop()


class TestOnAValkeyOfItsOwn:
    @pytest.fixture
    def valkey_url(self, own_valkey: OwnValkey) -> str:
        return own_valkey.url

    @pytest.mark.parametrize("database", ["postgresql"], indirect=True)
    @pytest.mark.usefixtures("worker")
    async def test_emptying_redis_with_a_thousand_pending_loses_none(
        self, jobs: Jobs, tenant: str, valkey_url: str
    ) -> None:
        request = JobRequest(type="crew.stubborn", payload={"value": 0.02})
        made = await jobs.enqueue_many(tenant, [request] * 1000)
        await reach(jobs, tenant, made[20].id)
        async with Redis.from_url(valkey_url) as redis:
            await redis.flushall()
        finished = await reach_all(jobs, tenant, made)
        assert {(job.status, job.attempts) for job in finished} == {("completed", 1)}

    @pytest.mark.parametrize("database", ["sqlite"], indirect=True)
    @pytest.mark.usefixtures("worker")
    async def test_jobs_are_accepted_without_redis_and_run_when_it_is_back(
        self, jobs: Jobs, tenant: str, own_valkey: OwnValkey
    ) -> None:
        await reach(jobs, tenant, (await jobs.enqueue(tenant, JobRequest(type="crew.echo"))).id)
        await asyncio.to_thread(own_valkey.stop)
        began = time.monotonic()
        made = [await jobs.enqueue(tenant, JobRequest(type="crew.echo")) for _ in range(10)]
        assert time.monotonic() - began < 2
        assert {job.status for job in made} == {"queued"}
        await asyncio.to_thread(own_valkey.start)
        assert {job.status for job in await reach_all(jobs, tenant, made)} == {"completed"}

    @pytest.mark.parametrize("database", ["sqlite"], indirect=True)
    async def test_a_worker_without_redis_stops_in_time(
        self, jobs: Jobs, tenant: str, own_valkey: OwnValkey, launch: Launch
    ) -> None:
        worker = await launch()
        made = await jobs.enqueue(tenant, JobRequest(type="crew.stubborn", payload={"value": 0.5}))
        await reach(jobs, tenant, made.id, "running")
        await asyncio.to_thread(own_valkey.stop)
        assert (await reach(jobs, tenant, made.id)).status == "completed", "an outcome needs the database alone"
        began = time.monotonic()
        worker.terminate()
        assert await worker.wait() == 0
        assert time.monotonic() - began < 10


@asynccontextmanager
async def cancelled_at_end(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
