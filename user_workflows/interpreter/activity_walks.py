"""Walks over many steps that an activity carries out: a segment, or a batch of a loop's items."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, CancelledError

from user_workflows.interpreter import steps
from user_workflows.interpreter.activity_calls import BatchCall, SegmentCall
from user_workflows.interpreter.errors import is_too_large
from user_workflows.interpreter.queues import step_priority, step_queue
from user_workflows.interpreter.steps import LOST_WORKERS
from user_workflows.interpreter.walk import Walk
from user_workflows.plan.model import PlanNode

R = TypeVar("R")

#: so many lost workers, or faults of ours, end the step that comes next
MOST_LOSSES = 1 + LOST_WORKERS


async def run_walk(
    activity: str,
    call: SegmentCall | BatchCall,
    result_type: type[R],
    *,
    longest: timedelta,
    summary: str,
    path: tuple[int, ...],
) -> R:
    """Have an activity walk, and return how far it came.

    Args:
        activity: its type.
        call: what it walks.
        result_type: what it returns.
        longest: how long it may take; a lost worker is noticed by its heartbeats.
        summary: for Temporal's UI.
        path: by which its place in the queue is found.

    Raises:
        ActivityError: it was given up.
        CancelledError: it was cancelled, and has acknowledged.
        ApplicationError: what it was given, or came to, is too large to travel.
    """
    try:
        result: R = await workflow.execute_activity(
            activity,
            call,
            result_type=result_type,
            task_queue=step_queue(),
            start_to_close_timeout=longest,
            heartbeat_timeout=steps.HEARTBEAT_TIMEOUT,
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=30), maximum_attempts=MOST_LOSSES),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=summary,
            priority=step_priority(call.tenant_id, path),
        )
    except ActivityError as error:
        if isinstance(error.cause, CancelledError) or is_too_large(error.cause):
            raise error.cause from error
        raise
    return result


def asked_for(walk: Walk, nodes: Sequence[PlanNode]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the part of the scope that the expressions of these nodes refer to: what is `seen`, and outputs."""
    seen: dict[str, Any] = {}
    outer: dict[str, dict[str, Any]] = {}
    for node in nodes:
        for reference in walk.templates.at(node).references:
            if reference.root in walk.seen:
                seen[reference.root] = walk.seen[reference.root]
            elif reference.root == "nodes" and reference.path and reference.path[0] in walk.graph.outputs:
                outer[reference.path[0]] = walk.graph.outputs[reference.path[0]]
    return seen, outer
