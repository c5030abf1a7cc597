"""One activity per plugin, named by the plugin's id: hands a step's call to the host."""

from collections.abc import Awaitable, Callable
from datetime import UTC, timedelta
from typing import Any

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from plugins.host.invoke import Call, CallFailed, Failure, Host
from plugins.host.registry import Registry
from plugins.trace import logged_trace
from user_workflows.activities.heartbeats import heartbeats
from user_workflows.executions.tables import path_key
from user_workflows.interpreter.activity_calls import StepCall, StepResult
from user_workflows.interpreter.messages import ExecutionRecord, StepError, StepRecord
from user_workflows.records.writer import RecordWriter

StepActivity = Callable[[StepCall], Awaitable[StepResult]]


def step_activities(registry: Registry, host: Host, records: RecordWriter) -> list[Callable[..., Any]]:
    """Return an activity for every registered plugin."""
    return [_step_activity(plugin.id, host, records) for plugin in registry]


def _step_activity(plugin_id: str, host: Host, records: RecordWriter) -> StepActivity:
    async def run(call: StepCall) -> StepResult:
        attempt = activity.info().attempt
        is_recorded = call.seq > 0
        if attempt > 1 and is_recorded:
            records.put(_attempt_record(call, attempt, None))
        with heartbeats():
            structlog.contextvars.bind_contextvars(**logged_trace(call.traceparent))
            try:
                outcome = await host.invoke(
                    _host_call(call, attempt), heartbeat=activity.heartbeat, is_cancelled=activity.is_cancelled
                )
            except CallFailed as failed:
                if failed.failure.retry_in is not None and is_recorded:
                    records.put(_attempt_record(call, attempt, failed.failure))
                raise _application_error(failed.failure) from None
        return StepResult(port=outcome.port, output=outcome.output, attempt=attempt)

    return activity.defn(name=plugin_id)(run)


def _host_call(call: StepCall, attempt: int) -> Call:
    return Call(
        plugin=call.plugin,
        config=call.config,
        tenant_id=call.tenant_id,
        origin=call.origin_id,
        step=".".join(filter(None, (call.acts_as or call.node_id, path_key(call.path)))),
        generation=call.generation,
        attempt=attempt,
        execution_id=call.execution_id,
        credentials=call.credentials,
        timeout=call.timeout,
        retry=call.retry,
        on_unknown=call.on_unknown,
    )


def _application_error(failure: Failure) -> ApplicationError:
    """Tell Temporal when to come back, or that there is no need to."""
    told = {"attempt": failure.attempt, "status": failure.status}
    # Zero would mean "by the retry policy"; a millisecond means now.
    delay = None if failure.retry_in is None else timedelta(seconds=max(failure.retry_in, 0.001))
    return ApplicationError(
        failure.message,
        told,
        type=failure.type,
        non_retryable=delay is None,
        next_retry_delay=delay,
        # The host has logged it, without a traceback of ours: failing is a plugin's right.
        category=ApplicationErrorCategory.BENIGN,
    )


def _attempt_record(call: StepCall, attempt: int, failure: Failure | None) -> ExecutionRecord:
    """Tell that a step is in a later attempt, or between two: the interpreter does not see either."""
    error = None
    reason = None
    if failure is not None:
        error = StepError(type=failure.type, message=failure.message, status=failure.status, attempts=attempt)
        reason = f"attempt {attempt} failed; the next one follows in {failure.retry_in:.1f} s"
    started_at = activity.info().current_attempt_scheduled_time.astimezone(UTC)
    return ExecutionRecord(
        tenant_id=call.tenant_id,
        execution_id=call.execution_id,
        seq=-1,
        status="running",
        started_at=started_at,
        steps=(
            StepRecord(
                node_id=call.node_id,
                path=call.path,
                seq=call.seq + 2 * attempt + (failure is not None),
                status="running",
                attempt=attempt,
                error=error,
                reason=reason,
                started_at=started_at,
            ),
        ),
    )
