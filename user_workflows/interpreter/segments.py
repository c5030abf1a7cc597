"""Segments: one activity that makes a chain of cheap calls, called again until the chain is at its end."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from msgspec import structs
from temporalio import workflow
from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import ActivityError, CancelledError

from user_workflows.interpreter.messages import SegmentCall, SegmentResult, StartExecution, StepOutcome
from user_workflows.interpreter.steps import GRACE, HEARTBEAT_TIMEOUT, STEP_QUEUE
from user_workflows.interpreter.walk import Walk
from user_workflows.plan.model import PlanGraph, PlanNode

SEGMENT = "segment.run"

#: seconds that a segment has as a local activity; what is not done by then goes on in an ordinary one
LOCAL_BUDGET = 1.5

_LOCAL_TIMEOUT = timedelta(seconds=5)


async def run_segment(
    start: StartExecution, walk: Walk, chain: Sequence[str], given: Any, *, on_marker: Callable[[], None]
) -> tuple[Sequence[StepOutcome], int]:
    """Run a chain of steps and return how they ended, and the billable actions that it took.

    First as a local activity, at the cost of one event; what takes longer goes on in an ordinary activity, and a long
    back-off is a timer: it holds no worker's slot.
    """
    graph = walk.graph.plan.cut_out(chain)
    call = _call(start, walk, graph, given)
    summary = " → ".join(node.label or node.id for node in graph.nodes)
    result = await _run_locally(call, summary)
    on_marker()
    actions = 1
    while result.resume_in is not None:
        stop_if_cancelled()
        if result.resume_in > 0:
            await workflow.sleep(result.resume_in)
            actions += 1
        call = structs.replace(call, local=False, outcomes=result.outcomes, attempt=result.attempt)
        result = await _run_remotely(call, summary)
        actions += 1
    return result.outcomes, actions


def stop_if_cancelled() -> None:
    """Let a cancellation through that came while an activity was ending by itself, and which that end swallowed.

    Raises:
        asyncio.CancelledError: the running task was asked to stop.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _run_locally(call: SegmentCall, summary: str) -> SegmentResult:
    try:
        result: SegmentResult = await workflow.execute_local_activity(
            SEGMENT,
            structs.replace(call, local=True),
            result_type=SegmentResult,
            start_to_close_timeout=_LOCAL_TIMEOUT,
            retry_policy=RetryPolicy(maximum_attempts=1),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=summary,
        )
    except ActivityError as error:
        if isinstance(error.cause, CancelledError):
            raise error.cause from error
        # Nothing in a segment acts: what was cut off here is made again there.
        return SegmentResult(outcomes=(), resume_in=0.0)
    return result


async def _run_remotely(call: SegmentCall, summary: str) -> SegmentResult:
    longest = sum(2 * node.timeout for node in call.graph.nodes if node.home == "segment")
    try:
        result: SegmentResult = await workflow.execute_activity(
            SEGMENT,
            call,
            result_type=SegmentResult,
            task_queue=STEP_QUEUE,
            start_to_close_timeout=timedelta(seconds=longest) + GRACE,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=30)),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=summary,
            priority=Priority(fairness_key=call.tenant_id),
        )
    except ActivityError as error:
        raise error.cause or error from error
    return result


def _call(start: StartExecution, walk: Walk, graph: PlanGraph, given: Any) -> SegmentCall:
    seen, outer = asked_for(walk, graph.nodes)
    return SegmentCall(
        tenant_id=start.tenant_id,
        execution_id=start.execution_id,
        workflow_id=start.workflow_id,
        version=start.version,
        origin_id=start.origin_id,
        generation=start.generation,
        graph=graph,
        given=given,
        seen=seen,
        outer=outer,
        path=walk.graph.path,
        seq=walk.graph.nodes[graph.nodes[0].id].seq,
        traceparent=start.trigger.traceparent,
    )


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
