"""Everything that a promoted job passes through, in one process: the API on a real port, both workers, a target."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import uvicorn
from msgspec import Struct, structs

from gateway.auth.keys import create_key
from gateway.compose import Platform, open_platform
from gateway.handover import ApiHandover
from gateway.settings import Settings
from gateway.up.ports import free_port
from internal_jobs.engines import NOTHING_SET, Engines
from internal_jobs.jobs import Queue
from internal_jobs.promotion.promoter import Handover
from internal_jobs.worker import WorkerOptions, run_worker
from plugins.egress.client import EgressClient
from plugins.egress.guard import Guard
from plugins.storage.tenants import create_tenant
from tests.gateway.application import application
from tests.gateway.working import working
from tests.plugins.target import Target

SETTLED = ("completed", "dead", "canceled", "expired")
SLOTS: dict[Queue, int] = {"critical": 2, "default": 4, "bulk": 2}


class PromotionLane(Struct):
    platform: Platform
    #: of the API
    url: str
    tenant_id: str
    client: httpx.AsyncClient
    target: Target
    #: the way of a jobs worker to the API
    handover: Handover

    async def enqueue(self, path: str = "/hook", **options: Any) -> str:
        """Enqueue a POST to the target, which tells by its key whether it has come before."""
        payload = {"method": "POST", "url": self.target.url + path, "idempotent": True}
        body = {"type": "http.request", "payload": payload} | options
        answer = await self.client.post("/v1/jobs", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def get(self, path: str) -> Any:
        answer = await self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def reach(self, job_id: str, *statuses: str, seconds: float = 40) -> Any:
        """Return a job once it has one of the statuses, a settled one if none is named."""
        return await self.until(
            lambda: self.get(f"/v1/jobs/{job_id}"), lambda job: job["status"] in (statuses or SETTLED)
        )

    async def until(
        self, look: Callable[[], Awaitable[Any]], wanted: Callable[[Any], bool], *, seconds: float = 40
    ) -> Any:
        deadline = time.monotonic() + seconds
        while not wanted(found := await look()):
            assert time.monotonic() < deadline, f"not as wanted after {seconds} s: {found}"
            await asyncio.sleep(0.03)
        return found

    @asynccontextmanager
    async def jobs_worker(
        self, *, engines: Engines = NOTHING_SET, handover: Handover | None = None
    ) -> AsyncIterator[None]:
        stop = asyncio.Event()
        running = asyncio.create_task(
            run_worker(
                database=self.platform.database,
                vault=self.platform.vault,
                host=self.platform.host,
                registry=self.platform.registry,
                redis_url=self.platform.settings.redis_url,
                cell=(sys.executable, "-c", "raise SystemExit('no suspects here')"),
                options=WorkerOptions(slots=SLOTS, lease=3.0, drain=1.0),
                engines=engines,
                handover=handover or self.handover,
                stop=stop,
            )
        )
        try:
            yield
        finally:
            stop.set()
            await running

    @asynccontextmanager
    async def workflows_worker(self) -> AsyncIterator[None]:
        async with working(self.platform):
            yield


@asynccontextmanager
async def open_lane(settings: Settings, target: Target) -> AsyncIterator[PromotionLane]:
    """The API and a tenant; workers are started by the test."""
    port = await free_port()
    url = f"http://127.0.0.1:{port}"
    settings = structs.replace(settings, egress_allow=(f"127.0.0.1:{target.port}",), api_url=url)
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(open_platform(settings, lazy=False))
        async with platform.database.across.transaction() as connection:
            tenant = await create_tenant(connection, "Acme")
            made = await create_key(connection, tenant.id, name="test", role="owner")
        app = stack.enter_context(application(platform))
        config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, lifespan="off")
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        serving = asyncio.create_task(server.serve())
        while not server.started:
            assert not serving.done()
            await asyncio.sleep(0.01)
        http = EgressClient(Guard(allow=[f"127.0.0.1:{port}"]))
        headers = {"Authorization": f"Bearer {made.key}"}
        # A connection each: on a busy machine the server closes an idle one just when it is used again.
        limits = httpx.Limits(max_keepalive_connections=0)
        asking = httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=30, limits=limits)
        client = await stack.enter_async_context(asking)
        yield PromotionLane(platform, url, tenant.id, client, target, ApiHandover(url, platform.service_tokens, http))
        await http.close()
        await client.aclose()
        server.should_exit = True
        await serving
