"""A gateway with a worker of its own, asked without the network between: what a caller waits for.

Executions are started and waited for as its routes do; its webhook is called over ASGI: every delivery is signed,
starts an execution, and gets what its `respond` node says.
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
from plugins.storage.tenants import create_tenant
from tests import servers
from tests.gateway.application import asking, settings_over
from tests.gateway.working import working
from tests.sqlite import new_sqlite
from tests.user_workflows.drawing import edges, node
from user_workflows.interpreter.messages import TriggerCall

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"order": 4711}'

Run = Callable[[], Awaitable[None]]


@asynccontextmanager
async def open_installation(redis_url: str, temporal_address: str, folder: Path) -> AsyncIterator["Installation"]:
    """Open a gateway with a worker over SQLite, all in this process."""
    settings = settings_over(new_sqlite(folder / "installation.db"), redis_url, folder)
    settings = structs.replace(settings, temporal=await servers.own_namespace(temporal_address))
    async with open_platform(settings, lazy=False) as platform:
        app = create_app(platform)
        async with platform.database.across.transaction() as connection:
            tenant = await create_tenant(connection, "Acme")
        async with working(platform), asking(app):
            yield Installation(platform, app, tenant.id)


class Installation:
    """A gateway, its worker and one tenant."""

    def __init__(self, platform: Platform, app: Litestar, tenant_id: str) -> None:
        self._platform = platform
        self._app = app
        self._tenant_id = tenant_id

    async def published(self, definition: dict[str, Any]) -> Run:
        """Publish a workflow, and return what starts it and waits for its end, as ``Prefer: wait`` does."""
        executions, workflow_id = self._platform.executions, await self._publish(definition)

        async def run() -> None:
            started = await executions.start(self._tenant_id, workflow_id, trigger=TriggerCall(type="manual"))
            ended = await executions.wait(self._tenant_id, started.id, 30)
            assert ended.status == "completed", ended

        return run

    async def hook(self) -> Run:
        """Activate a hook that three inline nodes and a `respond` answer, and return a delivery to it."""
        data = {"secret": SECRET}
        secret = await self._platform.credentials.create(self._tenant_id, type="signing", name="hook", data=data)
        definition = {
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
        }
        active = await self._platform.workflows.activate(self._tenant_id, await self._publish(definition))
        (trigger,) = active.triggers
        numbers = itertools.count()

        async def deliver() -> None:
            await _post(self._app, f"/hooks/{trigger.token}", f"msg_{next(numbers)}")

        return deliver

    async def _publish(self, definition: dict[str, Any]) -> str:
        workflows = self._platform.workflows
        workflow = await workflows.create(self._tenant_id, name="Benchmark", definition=definition)
        await workflows.publish(self._tenant_id, workflow.id)
        return workflow.id


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
