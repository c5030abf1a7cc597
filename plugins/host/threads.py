"""Runs plain (not async) plugin functions in threads of their own."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Any

import structlog

from plugins.host.metrics import ABANDONED_THREADS

log = structlog.get_logger(__name__)

#: threads left behind, and the seconds of processor time that they had used by then
_abandoned: dict[threading.Thread, float] = {}


def left_behind() -> dict[int, float]:
    """Return the threads that outlived their call, and the seconds of processor time each has used since."""
    burned: dict[int, float] = {}
    for thread, before in list(_abandoned.items()):
        if thread.is_alive() and thread.ident is not None:
            burned[thread.ident] = _used(thread) - before
        else:
            _abandoned.pop(thread, None)
    return burned


def _used(thread: threading.Thread) -> float:
    if thread.ident is None or not hasattr(time, "pthread_getcpuclockid"):
        return 0.0
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


async def run_in_thread(function: Callable[..., Any], *arguments: Any, name: str) -> Any:
    """Call `function` in a new daemon thread and return what it returns.

    Python cannot stop a thread: cancelled meanwhile, this leaves it behind, counted until it ends by itself. A daemon
    thread, unlike one of a pool, neither takes a place from later calls nor keeps the process from ending.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    context = copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if done.cancelled():
            ABANDONED_THREADS.dec()
        elif error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)

    def work() -> None:
        result: Any = None
        failure: BaseException | None = None
        try:
            result = context.run(function, *arguments)
        except StopIteration as error:
            failure = RuntimeError(f"StopIteration: {error}")  # a future takes no StopIteration
        except (Exception, SystemExit) as error:
            failure = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, failure)

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        return await done
    except asyncio.CancelledError:
        if done.cancelled():
            ABANDONED_THREADS.inc()
            _abandoned[thread] = _used(thread)
            log.warning("plugin.threadAbandoned", thread=name)
        raise
