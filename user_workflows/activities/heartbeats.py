"""Heartbeats while a plugin works, so that a lost worker is noticed and a cancellation arrives."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from temporalio import activity

#: seconds between two; calls shorter than this send none
HEARTBEAT_INTERVAL = 4.0


@contextmanager
def heartbeats(checkpoint: Callable[[], Any] = lambda: None) -> Iterator[None]:
    """Heartbeat for as long as the block runs, each time with what `checkpoint` returns."""
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def beat() -> None:
        nonlocal timer
        activity.heartbeat(checkpoint())
        timer = loop.call_later(HEARTBEAT_INTERVAL, beat)

    # A timer, which keeps the activity's context; a task for each short call would cost more than the call.
    timer = loop.call_later(HEARTBEAT_INTERVAL, beat)
    try:
        yield
    finally:
        timer.cancel()
