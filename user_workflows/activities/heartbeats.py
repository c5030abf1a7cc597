"""Heartbeats while a plugin works, so that a lost worker is noticed and a cancellation arrives."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from temporalio import activity

#: seconds between two; calls shorter than this send none
HEARTBEAT_INTERVAL = 4.0


@contextlib.asynccontextmanager
async def heartbeats(checkpoint: Callable[[], Any] = lambda: None) -> AsyncIterator[None]:
    """Heartbeat for as long as the block runs, each time with what `checkpoint` returns."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_INTERVAL)
            activity.heartbeat(checkpoint())

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
