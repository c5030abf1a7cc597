"""A gateway whose webhook a workflow answers: what a caller waits for, without the network between them.

The whole application is asked over ASGI, with a worker and Valkey of its own; every delivery is signed, starts an
execution, and gets what its `respond` node says.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from litestar import Litestar
from msgspec import structs

from gateway.app import create_app
from gateway.compose import Platform, open_platform
from plugins.sdk.credential import Secret
from plugins.signing import StandardWebhooks
from plugins.storage.database import metadata
from plugins.storage.tenants import create_tenant
from tests import servers
from tests.gateway.application import asking, settings_over
from tests.user_workflows.drawing import edges, node
from user_workflows.builds import Builds
from user_workflows.worker import run_worker

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"order": 4711}'

Deliver = Callable[[], Awaitable[None]]


@asynccontextmanager
async def open_hook(database_url: str, temporal_address: str, folder: Path) -> AsyncIterator[Deliver]:
    """Open a gateway, and yield a delivery to a hook that three inline nodes and a `respond` answer."""
    valkey = servers.valkey_server(folder / "valkey")
    process = await asyncio.to_thread(servers.start, valkey)
    settings = settings_over(database_url, valkey.url, folder)
    settings = structs.replace(settings, temporal=await servers.own_namespace(temporal_address))
    stop = asyncio.Event()
    try:
        async with open_platform(settings, lazy=False) as platform:
            async with platform.database.engine.begin() as connection:
                await connection.run_sync(metadata.create_all)
            worker = asyncio.create_task(_work(platform, stop))
            app = create_app(platform)
            async with asking(app):
                path = await _activate(platform)
                numbers = itertools.count()

                async def deliver() -> None:
                    await _post(app, path, f"msg_{next(numbers)}")

                yield deliver
            stop.set()
            await worker
    finally:
        await asyncio.to_thread(servers.stop, process)


async def _work(platform: Platform, stop: asyncio.Event) -> None:
    await run_worker(
        temporal=platform.temporal,
        database=platform.database,
        vault=platform.vault,
        registry=platform.registry,
        host=platform.host,
        starts=platform.starts,
        approvals=platform.approvals,
        builds=Builds(platform.temporal, "bench", is_alone=True),
        feed=platform.feed,
        stop=stop,
    )


async def _activate(platform: Platform) -> str:
    """Activate a workflow with a webhook trigger, and return the path of its URL."""
    async with platform.database.transaction() as connection:
        tenant = await create_tenant(connection, "Acme")
    secret = await platform.credentials.create(tenant.id, type="signing", name="hook", data={"secret": SECRET})
    workflow = await platform.workflows.create(
        tenant.id,
        name="Hook",
        definition={
            "triggers": [
                {"id": "order", "type": "webhook", "config": {"secret": secret.id, "respond": "workflow"}},
            ],
            "nodes": [
                node("order", values={"number": "{{ trigger.body.order }}"}),
                node("known", "if", condition="{{ nodes.order.output.number > 0 }}"),
                node("reply", values={"text": "{{ 'order ' + string(nodes.order.output.number) }}"}),
                node("answer", "respond", body="{{ input }}"),
            ],
            "edges": edges("order>known", "known.true>reply", "reply>answer"),
        },
    )
    await platform.workflows.publish(tenant.id, workflow.id)
    active = await platform.workflows.activate(tenant.id, workflow.id)
    (trigger,) = active.triggers
    return f"/hooks/{trigger.token}"


async def _post(app: Litestar, path: str, id: str) -> None:
    """Post a signed delivery, and check its answer."""
    signed = StandardWebhooks().sign(Secret(SECRET), id=id, timestamp=int(time.time()), body=BODY)
    headers = {"host": "gateway", "content-type": "application/json", "content-length": str(len(BODY)), **signed}
    scope: Any = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("gateway", 80),
    }
    incoming = iter([{"type": "http.request", "body": BODY, "more_body": False}])
    sent: list[Any] = []

    async def receive() -> Any:
        for message in incoming:
            return message
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    assert (sent[0]["status"], body) == (200, b'{"text":"order 4711"}'), (sent[0], body)
