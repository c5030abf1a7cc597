"""One plugin step: its call, and the activity that carries it."""

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, TimeoutError

from plugins.host.retry import DEFAULT
from user_workflows.interpreter.activity_calls import StepCall, StepResult
from user_workflows.interpreter.errors import StepFailed
from user_workflows.interpreter.figures import Figures
from user_workflows.interpreter.messages import StartExecution, StepError
from user_workflows.interpreter.node import NodeState
from user_workflows.interpreter.queues import step_priority, step_queue

#: a worker that is gone is noticed after this long
HEARTBEAT_TIMEOUT = timedelta(seconds=10)

#: beyond a node's own attempts, how often a step is handed out again after its worker died
LOST_WORKERS = 3

#: what the host needs beyond the plugin's own timeout: to wait for a live lease, and to record
GRACE = timedelta(seconds=15)


def step_call(start: StartExecution, state: NodeState, config: Any) -> StepCall:
    node = state.node
    return StepCall(
        tenant_id=start.tenant_id,
        execution_id=start.execution_id,
        origin_id=start.origin_id,
        node_id=node.id,
        path=state.path,
        plugin=node.plugin,
        config=config,
        generation=start.generation,
        credentials=node.credentials,
        timeout=node.timeout,
        retry=node.retry,
        on_unknown=node.on_unknown,
        seq=state.seq,
        traceparent=start.trigger.traceparent,
        acts_as=node.acts_as,
    )


async def run_step(start: StartExecution, state: NodeState, config: Any, figures: Figures) -> StepResult:
    """Run one plugin call in an activity of its own; the activity decides about its retries.

    Each of its attempts is an action.

    Raises:
        StepFailed: the step failed for good.
        temporalio.exceptions.CancelledError: the step was cancelled, and has acknowledged.
    """
    node = state.node
    attempts = (node.retry or DEFAULT).max_attempts
    timeout = timedelta(seconds=node.timeout)
    try:
        result: StepResult = await workflow.execute_activity(
            node.plugin,
            step_call(start, state, config),
            result_type=StepResult,
            task_queue=step_queue(),
            activity_id=".".join((node.id, *map(str, state.path))),
            start_to_close_timeout=2 * timeout + GRACE,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=RetryPolicy(
                initial_interval=timedelta(seconds=1),
                maximum_interval=timedelta(seconds=30),
                maximum_attempts=attempts + LOST_WORKERS,
            ),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=node.label or node.id,
            priority=step_priority(start.tenant_id, state.path),
        )
    except ActivityError as error:
        failed = _step_failed(error, attempts)
        figures.count(failed.error.attempts if isinstance(failed, StepFailed) else 1)
        raise failed from error
    figures.count(result.attempt)
    return result


def _step_failed(error: ActivityError, attempts: int) -> Exception:
    if isinstance(error.cause, CancelledError):
        return error.cause
    return StepFailed(ended_error(error, attempts, losses=attempts + LOST_WORKERS))


def ended_error(error: ActivityError, attempts: int, *, losses: int) -> StepError:
    """Return what a step fails with whose activity failed.

    Args:
        error: of the activity.
        attempts: of the step, unless the error knows better.
        losses: after how many lost workers it was given up.
    """
    match error.cause:
        case ApplicationError() as failure:
            told = failure.details[0] if failure.details and isinstance(failure.details[0], dict) else {}
            return StepError(
                type=failure.type or "step.failed",
                message=failure.message,
                status=told.get("status"),
                attempts=told.get("attempt", attempts),
            )
        case TimeoutError():
            return StepError(
                type="step.lost",
                message="the step's worker was lost, again and again, before it could finish",
                attempts=losses,
            )
        case _:
            return StepError(type="step.failed", message=str(error.cause or error), attempts=attempts)
