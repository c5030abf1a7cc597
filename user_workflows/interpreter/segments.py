"""Segments: one activity that makes a chain of calls, called again until the chain is at its end."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
from msgspec import structs
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, CancelledError, TimeoutError, is_cancelled_exception

from plugins.host.retry import DEFAULT
from user_workflows.interpreter.activity_calls import SegmentCall, SegmentResult
from user_workflows.interpreter.activity_walks import MOST_LOSSES, asked_for, run_walk
from user_workflows.interpreter.errors import stop_if_cancelled
from user_workflows.interpreter.figures import Figures
from user_workflows.interpreter.messages import StartExecution, StepOutcome
from user_workflows.interpreter.node import NodeState
from user_workflows.interpreter.steps import GRACE, ended_error
from user_workflows.interpreter.waits import seconds_until
from user_workflows.interpreter.walk import Walk
from user_workflows.plan.model import PlanGraph, PlanNode

SEGMENT = "segment.run"

#: seconds that a segment has as a local activity; what is not done by then goes on in an ordinary one
LOCAL_BUDGET = 1.5

#: a longer back-off, in seconds, is waited for by the workflow
LONGEST_PAUSE = 1.0

_LOCAL_TIMEOUT = timedelta(seconds=5)

#: events of a history in its first workflow task, unless that is repeated
_FIRST_TASK_EVENTS = 3


async def run_segment(
    start: StartExecution, walk: Walk, chain: Sequence[str], given: Any, *, figures: Figures
) -> Sequence[StepOutcome]:
    """Run a chain of steps and return how they ended.

    First as a local activity, at the cost of one event; what takes longer goes on in an ordinary activity, and a long
    back-off is a timer: it holds no worker's slot. A chain that acts is an ordinary activity from its beginning: a
    local one that is cut off would leave its effect in the dark. Cancelled, such a chain returns what it has settled,
    for that may be committed together with an effect that is under way. Once a worker was lost over it, a segment comes
    back after every step, so that the step over which they are lost is known and fails alone, after `MOST_LOSSES`.
    """
    graph = walk.graph.plan.cut_out(chain)
    call = _call(start, walk, graph, given)
    summary = " → ".join(node.label or node.id for node in graph.nodes)
    head = walk.graph.nodes[chain[0]]
    result = SegmentResult(outcomes=(), resume_in=0.0)
    if head.kept:
        result = msgspec.convert(head.kept["result"], SegmentResult)
    elif graph.acting is None:
        result = await _run_locally(call, summary)
        figures.count_local()
    try:
        while result.resume_in is not None:
            stop_if_cancelled()
            if result.resume_in > 0:
                figures.count()
                await _back_off(head, result, result.resume_in)
            call = structs.replace(
                call, outcomes=result.outcomes, attempt=result.attempt, is_careful=call.is_careful or result.is_careful
            )
            figures.count()
            result = await _run_remotely(call, summary)
    except (Exception, asyncio.CancelledError) as error:
        if graph.acting is None or not result.outcomes or not is_cancelled_exception(error):
            raise
    return result.outcomes


async def _back_off(head: NodeState, result: SegmentResult, seconds: float) -> None:
    """Wait before the next call; another run of the execution may go on with it."""
    if head.kept:
        seconds = max(0.0, seconds_until(head.kept["until"]) or 0.0)
    else:
        until = workflow.now() + timedelta(seconds=seconds)
        head.kept = {"until": until.isoformat(), "result": msgspec.to_builtins(result)}
    try:
        await workflow.sleep(seconds, summary=f"{head.node.label or head.node.id}: another attempt")
    finally:
        head.kept = {}


async def _run_locally(call: SegmentCall, summary: str) -> SegmentResult:
    try:
        result: SegmentResult = await workflow.execute_local_activity(
            SEGMENT,
            structs.replace(
                call, local=True, may_be_repeated=workflow.info().get_current_history_length() > _FIRST_TASK_EVENTS
            ),
            result_type=SegmentResult,
            start_to_close_timeout=_LOCAL_TIMEOUT,
            retry_policy=RetryPolicy(maximum_attempts=1),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=summary,
        )
    except ActivityError as error:
        if isinstance(error.cause, CancelledError):
            raise error.cause from error
        # Nothing acts that runs locally: what was cut off here is made again there.
        return SegmentResult(outcomes=(), resume_in=0.0)
    return result


async def _run_remotely(call: SegmentCall, summary: str) -> SegmentResult:
    longest = sum((_longest(node) for node in call.graph.nodes if node.home == "segment"), timedelta())
    try:
        return await run_walk(SEGMENT, call, SegmentResult, longest=longest, summary=summary, path=call.path)
    except ActivityError as error:
        return _given_up(call, error)


def _given_up(call: SegmentCall, error: ActivityError) -> SegmentResult:
    """Return how far a segment came whose activity was given up: the step that would have come next has failed."""
    come = SegmentResult(outcomes=call.outcomes, attempt=call.attempt)
    if isinstance(error.cause, TimeoutError) and any(told := error.cause.last_heartbeat_details):
        come = msgspec.convert(told[0], SegmentResult)
    settled = {outcome.node_id for outcome in come.outcomes}
    failed = StepOutcome(
        node_id=next(node.id for node in call.graph.nodes if node.id not in settled),
        started_at=workflow.now(),
        closed_at=workflow.now(),
        error=ended_error(error, come.attempt, losses=MOST_LOSSES),
    )
    return SegmentResult(outcomes=(*come.outcomes, failed))


def _longest(node: PlanNode) -> timedelta:
    """How long all attempts of a step may take, with the pauses between them that an activity waits for itself."""
    return (node.retry or DEFAULT).max_attempts * (timedelta(seconds=2 * node.timeout) + GRACE)


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
