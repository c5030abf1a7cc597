"""Runs async plugin functions in tasks of their own, so that one which does not stop holds nobody up."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from plugins.host.metrics import ABANDONED_TASKS

log = structlog.get_logger(__name__)

#: seconds that a cancelled function has to clean up
CLEAN_UP = 1.0

#: tasks left behind; the event loop by itself keeps no hold of them
_abandoned: set["asyncio.Task[Any]"] = set()


async def run_in_task(coroutine: Coroutine[Any, Any, Any], *, name: str) -> Any:
    """Await `coroutine` and return what it returns.

    Cancelled meanwhile, this cancels it too. What then neither ends nor fails within `CLEAN_UP` seconds is left behind,
    counted until it ends by itself.
    """
    task = asyncio.create_task(_contained(coroutine), name=name)
    try:
        # Unlike `asyncio.wait`, it makes no set, no list and no partial for the one that it waits for.
        result, left = await asyncio.shield(task)
    except asyncio.CancelledError:
        task.cancel()
        try:
            await asyncio.wait({task}, timeout=CLEAN_UP)
        finally:
            if not task.done():
                _abandon(task)
        if task.cancelled() or not task.done():
            raise
        result, left = task.result()
    if left is not None:
        raise left
    return result


async def _contained(coroutine: Coroutine[Any, Any, Any]) -> tuple[Any, SystemExit | None]:
    """Return what the coroutine returns, or its exit: one that left a task would end the event loop."""
    try:
        return await coroutine, None
    except SystemExit as error:
        return None, error


def _abandon(task: "asyncio.Task[Any]") -> None:
    _abandoned.add(task)
    ABANDONED_TASKS.inc()
    log.warning("plugin.taskAbandoned", task=task.get_name())
    task.add_done_callback(_forget)


def _forget(task: "asyncio.Task[Any]") -> None:
    _abandoned.discard(task)
    ABANDONED_TASKS.dec()
    if not task.cancelled():
        task.exception()  # seen: nobody is left to tell
