"""Heartbeats while a plugin works, so that a lost worker is noticed and a cancellation arrives."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from temporalio import activity

#: seconds between two; calls shorter than this send none
HEARTBEAT_INTERVAL = 4.0


@contextlib.asynccontextmanager
async def heartbeats() -> AsyncIterator[None]:
    """Heartbeat for as long as the block runs."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_INTERVAL)
            activity.heartbeat()

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
