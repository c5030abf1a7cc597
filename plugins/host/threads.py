"""Runs plain (not async) plugin functions in threads of their own."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Any

import structlog

from plugins.host.metrics import ABANDONED_THREADS

log = structlog.get_logger(__name__)


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

    threading.Thread(target=work, name=name, daemon=True).start()
    try:
        return await done
    except asyncio.CancelledError:
        if done.cancelled():
            ABANDONED_THREADS.inc()
            log.warning("plugin.threadAbandoned", thread=name)
        raise
