"""How an execution ended, as Temporal tells it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import (
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.exceptions import ApplicationError

from plugins.storage.database import now
from user_workflows.client import RPC_TIMEOUT
from user_workflows.interpreter.messages import ExecutionError, ExecutionStatus

_CLOSED: dict[WorkflowExecutionStatus, ExecutionStatus] = {
    WorkflowExecutionStatus.COMPLETED: "completed",
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.CANCELED: "canceled",
    WorkflowExecutionStatus.TERMINATED: "terminated",
    WorkflowExecutionStatus.TIMED_OUT: "timedOut",
}


class End(Struct, frozen=True, kw_only=True):
    status: ExecutionStatus
    output: Any = None
    error: ExecutionError | None = None
    closed_at: datetime
    history_events: int | None = None
    #: which of its steps may still act, and until when at the latest
    acting: Mapping[str, datetime] = {}


def closed_status(description: WorkflowExecutionDescription) -> ExecutionStatus | None:
    """Return the status of an execution that is over; ``None``: it is open."""
    return None if description.status is None else _CLOSED.get(description.status)


async def read_end(
    handle: "WorkflowHandle[Any, Any]", description: WorkflowExecutionDescription, status: ExecutionStatus
) -> End:
    """Return the end of an execution that is over, with what it came to."""
    output, error = await _result(handle, status)
    return End(
        status=status,
        output=output,
        error=error,
        closed_at=description.close_time or now(),
        history_events=description.history_length,
        acting=_acting(description),
    )


async def _result(handle: "WorkflowHandle[Any, Any]", status: ExecutionStatus) -> tuple[Any, ExecutionError | None]:
    try:
        return await handle.result(rpc_timeout=RPC_TIMEOUT), None
    except WorkflowFailureError as failure:
        cause = failure.cause
        if isinstance(cause, ApplicationError):
            return None, ExecutionError(type=cause.type or "execution.failed", message=cause.message)
        return None, ExecutionError(type=f"execution.{status}", message=str(cause))


def _acting(description: WorkflowExecutionDescription) -> Mapping[str, datetime]:
    """Return which steps of an execution that was ended by force may still act, and until when at the latest: they hear
    of it by a heartbeat, and what sends none for as long as its timeout has timed out, as everywhere.
    """
    found = {}
    for each in description.raw_description.pending_activities:
        if each.state != PendingActivityState.PENDING_ACTIVITY_STATE_STARTED:
            continue
        options, ended_at = each.activity_options, description.close_time or now()
        limits = [each.last_started_time.ToDatetime(UTC) + options.start_to_close_timeout.ToTimedelta()]
        if heartbeat := options.heartbeat_timeout.ToTimedelta():
            limits.append(ended_at + heartbeat)
        found[each.activity_id] = min(limits)
    return found
