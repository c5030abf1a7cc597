import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import pytest
import structlog

from plugins import Context, Plugin
from plugins.egress.client import EgressClient
from plugins.sdk.conform import conform
from plugins.sdk.credential import Credential

Run = Callable[..., Awaitable[Any]]

#: as the host makes it: the same on every attempt
KEY = "3f2a9c"


@pytest.fixture
def run(egress: EgressClient) -> Run:
    """Call a plugin once, as the host does: config and output as JSON, the real `Context`, the real way out."""

    async def call(
        plugin: Plugin,
        config: Mapping[str, Any],
        *,
        http: EgressClient = egress,
        credentials: Mapping[str, Credential] | None = None,
        attempt: int = 1,
        tenant_id: str = "ten_1",
    ) -> Any:
        context = Context(
            tenant_id=tenant_id,
            execution_id="ex_1",
            job_id=None,
            step="node",
            attempt=attempt,
            idempotency_key=KEY,
            http=http,
            credentials=credentials or {},
            log=structlog.get_logger(),
            heartbeat=lambda progress: None,
            is_cancelled=lambda: False,
            loop=asyncio.get_running_loop(),
        )
        return msgspec.to_builtins(await plugin(conform(plugin.config, config), context))

    return call
