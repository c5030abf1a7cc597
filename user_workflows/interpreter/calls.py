"""Executions that an execution starts: the `workflow.call` node, and the error workflow of one that fails."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import msgspec
from msgspec import structs
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, FailureError

from user_workflows.interpreter.activity_calls import CallStart
from user_workflows.interpreter.control import Ports
from user_workflows.interpreter.errors import StepFailed, stop_if_cancelled
from user_workflows.interpreter.messages import (
    CallEnd,
    ExecutionError,
    StartExecution,
    StepError,
    TriggerCall,
    told_about,
    workflow_id,
)
from user_workflows.interpreter.node import NodeState, Waiting
from user_workflows.interpreter.queues import step_priority, step_queue
from user_workflows.interpreter.waits import Signals

CALL = "workflow.call"
ERROR_WORKFLOW = "execution.errorWorkflow"

#: executions inside one another
MAX_CALL_DEPTH = 8


async def run_call(
    start: StartExecution,
    graph: Waiting,
    state: NodeState,
    config: dict[str, Any],
    *,
    told: Signals,
    tell: Callable[[], None],
) -> Ports:
    """Start the execution that the rendered `config` asks for, and return its id, or wait for its output.

    A call that waits keeps its child in `NodeState.kept`, and so goes on where it was. One that is stopped while it
    waits asks the child to cancel.

    Args:
        start: of the calling execution.
        graph: what the node lies in.
        state: of the node.
        config: rendered.
        told: where the end of the child is told.
        tell: called when the node has begun to wait, which nothing else would tell of.

    Raises:
        StepFailed: the child could not be started, or did not complete.
    """
    if not state.kept:
        child_id = await _start_child(start, state, config)
        if config.get("mode") == "detach":
            return {"output": child_id}
        state.kept = {"child": child_id}
        graph.wait(state, f"waiting for execution {child_id}")
        tell()
    child_id = state.kept["child"]
    try:
        # It may have come while the child was being started, which the start has outlived.
        stop_if_cancelled()
        end = msgspec.convert(await told.take(told_about(child_id), None), CallEnd)
    except asyncio.CancelledError:
        await _cancel(start.tenant_id, child_id)
        raise
    if end.status == "completed":
        return {"output": end.output}
    raise StepFailed(_failure(child_id, end))


async def start_error_workflow(start: StartExecution, error: ExecutionError) -> ExecutionError:
    """Start the error workflow of an execution that fails, if it has one; the failure stands whatever comes of it.

    What failed in an error workflow, or is inside of one that this would start again, starts none.

    Returns:
        The error, with a note when the error workflow could not be started.
    """
    target = start.plan.error_workflow
    if target is None or start.trigger.type == "error":
        return error
    failed = {
        "executionId": start.execution_id,
        "workflowId": start.workflow_id,
        "version": start.version,
        "error": {"type": error.type, "message": error.message, "nodeId": error.node_id},
    }
    try:
        _refuse_circles(start, target)
        call = CallStart(
            tenant_id=start.tenant_id,
            workflow_id=target,
            trigger=_trigger(start, type="error", payload=failed),
            key=f"error:{start.execution_id}:{start.generation}",
        )
        await _finish(_execute(ERROR_WORKFLOW, call, activity_id=ERROR_WORKFLOW, summary="error workflow"))
    except StepFailed as refused:
        return structs.replace(error, note=f"its error workflow was not started: {refused.error.message}")
    return error


async def _start_child(start: StartExecution, state: NodeState, config: dict[str, Any]) -> str:
    target, version = config["workflowId"], config.get("version")
    if not isinstance(target, str):
        raise StepFailed(StepError(type="config.type", message="workflowId must be the id of a workflow"))
    if version is not None and (isinstance(version, bool) or not isinstance(version, int)):
        raise StepFailed(StepError(type="config.type", message="version must be the number of a version"))
    _refuse_circles(start, target)
    place = ".".join((state.node.id, *map(str, state.path)))
    call = CallStart(
        tenant_id=start.tenant_id,
        workflow_id=target,
        version=version,
        trigger=_trigger(
            start,
            type="call",
            id=state.node.id,
            payload=config.get("input"),
            is_awaited=config.get("mode") != "detach",
        ),
        key=f"call:{start.origin_id}:{start.generation}:{place}",
    )
    return await _execute(CALL, call, activity_id=place, summary=state.node.label or state.node.id, path=state.path)


async def _execute(
    activity: str, call: CallStart, *, activity_id: str, summary: str, path: tuple[int, ...] = ()
) -> str:
    try:
        started: str = await workflow.execute_activity(
            activity,
            call,
            result_type=str,
            task_queue=step_queue(),
            activity_id=activity_id,
            start_to_close_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30)),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=summary,
            priority=step_priority(call.tenant_id, path),
        )
    except ActivityError as error:
        match error.cause:
            case CancelledError() as cancelled:
                raise cancelled from error
            case ApplicationError() as failure:
                raise StepFailed(StepError(type=failure.type or CALL, message=failure.message)) from error
            case _:
                raise StepFailed(StepError(type=CALL, message=str(error.cause or error))) from error
    return started


async def _finish(starting: Coroutine[Any, Any, str]) -> None:
    """Let a start come to its end though the execution is asked to stop: it is failing already."""
    task = asyncio.create_task(starting)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task


def _refuse_circles(start: StartExecution, target: str) -> None:
    around = (*start.trigger.callers, start.workflow_id)
    if target in around:
        way = " → ".join((*around, target))
        raise StepFailed(
            StepError(type="workflow.call.cycle", message=f"workflows call one another in a circle: {way}")
        )
    if len(around) >= MAX_CALL_DEPTH:
        message = f"executions may be {MAX_CALL_DEPTH} deep inside one another, and this one is: call from further out"
        raise StepFailed(StepError(type="workflow.call.tooDeep", message=message))


def _trigger(start: StartExecution, **about: Any) -> TriggerCall:
    return TriggerCall(
        execution_id=start.execution_id,
        callers=(*start.trigger.callers, start.workflow_id),
        traceparent=start.trigger.traceparent,
        **about,
    )


async def _cancel(tenant_id: str, child_id: str) -> None:
    try:
        await workflow.get_external_workflow_handle(workflow_id(tenant_id, child_id)).cancel()
    except FailureError:
        # It has ended meanwhile.
        return


def _failure(child_id: str, end: CallEnd) -> StepError:
    if end.status in ("canceled", "terminated"):
        return StepError(type=f"workflow.call.{end.status}", message=f"execution {child_id} was {end.status}")
    error = end.error or ExecutionError(type="execution.failed", message="it failed")
    where = "" if error.node_id is None else f" at {error.node_id}"
    return StepError(type=error.type, message=f"execution {child_id} failed{where}: {error.message}")
