"""Finds an open execution that has not moved when it should have, and says why (design §6, Why).

What heals by itself is left to Temporal: a lost worker is noticed by its heartbeats, a failed attempt is made again.
What is found here waits for somebody: a worker that is not there, or one that cannot go on.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp
from msgspec import Struct
from temporalio.api.enums.v1 import PendingActivityState, PendingWorkflowTaskState
from temporalio.api.workflow.v1 import PendingActivityInfo, PendingWorkflowTaskInfo
from temporalio.client import WorkflowExecutionDescription

from user_workflows.interpreter.queues import dedicated_queue

#: how long a task may lie there before somebody has to look
PATIENCE = timedelta(seconds=60)

#: failures of a workflow task in a row: one or two may be a busy machine
FAILURES = 3

#: what `Trouble.reason` may take, in characters
REASON_LENGTH = 500


class Trouble(Struct, frozen=True, kw_only=True):
    """Why an execution does not move. In the clear: ids and figures, nothing of a payload or an error."""

    reason: str
    since: datetime


def find_trouble(
    description: WorkflowExecutionDescription, at: datetime, *, patience: timedelta = PATIENCE
) -> Trouble | None:
    """Return why an execution does not move though it should; ``None``: it moves, or rightly waits.

    Args:
        description: of an execution that is open.
        at: the present moment.
        patience: how long a task may wait for a worker.
    """
    raw = description.raw_description
    worker = _worker_of(description.task_queue)
    found = [_of_call(call, worker, at, patience) for call in raw.pending_activities]
    if raw.HasField("pending_workflow_task"):
        found.insert(0, _of_interpreter(raw.pending_workflow_task, worker, at, patience))
    troubles = [trouble for trouble in found if trouble is not None]
    if not troubles:
        return None
    reason = "; ".join(_told(troubles))
    return Trouble(reason=reason[:REASON_LENGTH], since=min(trouble.since for trouble in troubles))


def _of_interpreter(task: PendingWorkflowTaskInfo, worker: str, at: datetime, patience: timedelta) -> Trouble | None:
    since = _moment(task.original_scheduled_time)
    if task.attempt > FAILURES:
        reason = (
            f"its interpreter failed {task.attempt - 1} times in a row and is tried again; the worker's log says why, "
            "and it goes on by itself once a mended worker runs"
        )
        return Trouble(reason=reason, since=since)
    if task.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED and at - since > patience:
        reason = f"no {worker} has taken it up; start one, or more"
        return Trouble(reason=reason, since=since)
    return None


def _of_call(call: PendingActivityInfo, worker: str, at: datetime, patience: timedelta) -> Trouble | None:
    name = call.activity_type.name
    if call.last_failure.application_failure_info.type == "NotFoundError":
        reason = f"no worker knows {name}, which step {call.activity_id} calls; install it on the workers"
        return Trouble(reason=reason, since=_moment(call.last_started_time))
    due = _moment(call.scheduled_time)
    if call.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED and at - due > patience:
        reason = f"no worker has taken up {name} of step {call.activity_id}; start a {worker}, or more"
        return Trouble(reason=reason, since=due)
    return None


def _worker_of(queue: str) -> str:
    """Name the worker that serves a queue, as its command does."""
    if not queue.startswith(dedicated_queue("")):
        return "user-workflows worker"
    return f"user-workflows worker with --queue {queue.removeprefix(dedicated_queue(''))}"


def _told(troubles: list[Trouble], most: int = 3) -> Iterator[str]:
    """Yield the reasons that fit, and how many more there are."""
    for trouble in troubles[:most]:
        yield trouble.reason
    if len(troubles) > most:
        yield f"and {len(troubles) - most} more"


def _moment(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(UTC)
