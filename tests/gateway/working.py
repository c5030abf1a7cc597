"""A worker of user workflows for a platform, in the process of the test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.compose import Platform
from gateway.processes import work_on_executions
from user_workflows.builds import Builds


@asynccontextmanager
async def working(platform: Platform) -> AsyncIterator[None]:
    """Serve the platform's executions; then drain."""
    stop = asyncio.Event()
    builds = Builds(platform.temporal, "test", is_alone=True)
    worker = asyncio.create_task(work_on_executions(platform, builds, stop))
    try:
        yield
    finally:
        stop.set()
        await worker
