"""The `timeout` of a control node: how long the whole of it may take, from its beginning, over all runs."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.exceptions import is_cancelled_exception

from user_workflows.interpreter.errors import StepFailed, is_cancelled
from user_workflows.interpreter.figures import Figures
from user_workflows.interpreter.messages import StepError
from user_workflows.interpreter.node import NodeState

T = TypeVar("T")


async def within_limit(state: NodeState, work: Awaitable[T], figures: Figures) -> T:
    """Await the work of a node, and stop it when the node's limit has passed, for which a timer is counted.

    Raises:
        StepFailed: it was stopped, and has come to rest.
    """
    limit = state.node.limit
    if limit is None:
        return await work
    task = figures.task
    begun = state.started_at or workflow.now()
    left = (begun + timedelta(seconds=limit) - workflow.now()).total_seconds()
    try:
        async with asyncio.timeout(left) as clock:
            return await work
    except Exception as ending:
        # An activity that was stopped tells so by an error of its own.
        was_stopped = isinstance(ending, TimeoutError) or is_cancelled_exception(ending)
        if not (clock.expired() and was_stopped) or is_cancelled():
            raise
        raise StepFailed(StepError(type="node.timeout", message=f"not done within {limit:g} s")) from ending
    finally:
        figures.count_timer(task, is_taken_back=not clock.expired())
