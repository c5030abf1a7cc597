"""The stall guard: a process whose event loop is blocked does nothing for anybody, so it ends and is started again."""

import asyncio
import faulthandler
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

_log = structlog.get_logger(__name__)

#: Exit code of a process that ended because its event loop was blocked.
STALLED = 70
#: Seconds between two signs of life of the loop.
_BEAT = 0.5


@contextmanager
def ended_by_stall(seconds: float) -> Iterator[None]:
    """End this process if its event loop is blocked for so long, by a plugin that never awaits.

    Suspended as a whole, as by SIGSTOP, it is not blocked: the guard stands still meanwhile, too.
    """
    loop, over = asyncio.get_running_loop(), threading.Event()
    seen = time.monotonic()

    def beat() -> None:
        nonlocal seen
        seen = time.monotonic()

    def watch() -> None:
        looked = time.monotonic()
        while not over.wait(_BEAT):
            present = time.monotonic()
            if present - looked > seconds / 2:
                # This thread did not run either: the whole process stood still.
                beat()
            elif present - seen > seconds:
                _log.critical("jobs.stalled", seconds=seconds, effect="this process ends; its jobs are taken over")
                faulthandler.dump_traceback(sys.stderr)
                os._exit(STALLED)
            looked = present
            loop.call_soon_threadsafe(beat)

    guard = threading.Thread(target=watch, name="jobs-stall-guard", daemon=True)
    guard.start()
    try:
        yield
    finally:
        over.set()
        guard.join()
