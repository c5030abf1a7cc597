"""A worker of user workflows for a platform, in the process of the test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.compose import Platform
from user_workflows.builds import Builds
from user_workflows.worker import run_worker


@asynccontextmanager
async def working(platform: Platform) -> AsyncIterator[None]:
    """Serve the platform's executions; then drain."""
    stop = asyncio.Event()
    worker = asyncio.create_task(
        run_worker(
            temporal=platform.temporal,
            database=platform.database,
            vault=platform.vault,
            registry=platform.registry,
            host=platform.host,
            starts=platform.starts,
            approvals=platform.approvals,
            builds=Builds(platform.temporal, "test", is_alone=True),
            feed=platform.feed,
            announcements=platform.announcements,
            stop=stop,
        )
    )
    try:
        yield
    finally:
        stop.set()
        await worker
