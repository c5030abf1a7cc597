"""Executions and steps as the API shows them, read from their rows."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Row

from plugins.vault.cipher import Sealer
from user_workflows.admission.queue import Place
from user_workflows.executions.beginnings import input_place
from user_workflows.executions.rounds import Path
from user_workflows.executions.tables import OPEN_STATUSES, executions, result_place, step_place
from user_workflows.interpreter.messages import Compensation, ExecutionError, ExecutionStatus, StepError, StepStatus


class Stuck(Struct, frozen=True, kw_only=True):
    """An execution does not move though it should."""

    #: and what to do about it
    reason: str
    since: datetime


#: what is shown of the trigger in a row
_TRIGGER = ("type", "id", "executionId")


class Execution(Struct, frozen=True, kw_only=True, rename="camel"):
    """One run of one version."""

    id: str
    workflow_id: str
    version: int
    origin_id: str | None
    status: ExecutionStatus
    input: Any
    output: Any
    error: ExecutionError | None
    trigger: dict[str, Any]
    tags: tuple[str, ...]
    created_at: datetime
    started_at: datetime | None
    closed_at: datetime | None
    history_events: int | None
    billable_actions: int | None
    #: who started it, or sent its event: the id of a key, or whose token it was, as on the audit trail, which knows who
    #: asked for reruns, replays and redeliveries
    actor: str | None = None
    #: set while it does not move though it should
    stuck: Stuck | None = None
    #: of one execution alone: where it stands in the queue, while it waits for a slot
    queue: Place | None = None

    @property
    def is_closed(self) -> bool:
        return self.status not in OPEN_STATUSES


class Step(Struct, frozen=True, kw_only=True, rename="camel"):
    """One node within one execution."""

    node_id: str
    path: Path = ()
    status: StepStatus = "pending"
    attempt: int = 0
    input: Any = None
    output: Any = None
    port: str | None = None
    error: StepError | None = None
    reason: str | None = None
    started_at: datetime | None = None
    closed_at: datetime | None = None
    #: of a completed step of a failed execution that has a `compensate` action: how it went to undo it
    compensation: Compensation | None = None


class StepPage(Struct, frozen=True, kw_only=True):
    items: tuple[Step, ...]
    #: give it back as `cursor` for what follows; ``None`` at the end
    next_cursor: str | None


class Page(Struct, frozen=True, kw_only=True):
    items: tuple[Execution, ...]
    #: give it back as `cursor` for what follows; ``None`` at the end
    next_cursor: str | None


#: what of a row is read for it, beside its tags
SHOWN = (
    *(executions.c.id, executions.c.workflow_id, executions.c.version, executions.c.origin_id, executions.c.status),
    *(executions.c.trigger, executions.c.actor, executions.c.input_sealed, executions.c.result_sealed),
    *(executions.c.created_at, executions.c.started_at, executions.c.closed_at),
    *(executions.c.history_events, executions.c.billable_actions),
    *(executions.c.stuck_reason, executions.c.stuck_since),
)


def read_execution(row: "Row[Any]", sealer: Sealer) -> Execution:
    """Return the execution of a row of `SHOWN` and its `tags`, joined with commas; opened."""
    result: dict[str, Any] = {}
    if row.result_sealed is not None:
        result = sealer.open_json(row.result_sealed, result_place(row.id))
    error = result.get("error")
    return Execution(
        id=row.id,
        workflow_id=row.workflow_id,
        version=row.version,
        origin_id=row.origin_id,
        status=row.status,
        input=sealer.open_json(row.input_sealed, input_place(row.id)),
        output=result.get("output"),
        error=None if error is None else msgspec.convert(error, ExecutionError),
        trigger=_shown(row.trigger),
        actor=row.actor,
        tags=() if row.tags is None else tuple(sorted(row.tags.split(","))),
        created_at=row.created_at,
        started_at=row.started_at,
        closed_at=row.closed_at,
        history_events=row.history_events,
        billable_actions=row.billable_actions,
        stuck=None if row.stuck_reason is None else Stuck(reason=row.stuck_reason, since=row.stuck_since),
    )


def queued_execution(row: Mapping[str, Any], input: Any, tags: Sequence[str]) -> Execution:
    """Return the execution of a row that has just been inserted, without a look at it."""
    return Execution(
        id=row["id"],
        workflow_id=row["workflow_id"],
        version=row["version"],
        origin_id=row["origin_id"],
        status=row["status"],
        input=input,
        output=None,
        error=None,
        trigger=_shown(row["trigger"]),
        actor=row["actor"],
        tags=tuple(sorted({*tags})),
        created_at=row["created_at"],
        started_at=None,
        closed_at=None,
        history_events=None,
        billable_actions=None,
    )


def unreached_step(node_id: str, execution: Execution, path: Path = ()) -> Step:
    """Return the step of a node that nothing was recorded of."""
    if not execution.is_closed:
        return Step(node_id=node_id, path=path)
    reason = f"the execution was {execution.status} before this node was reached"
    return Step(node_id=node_id, path=path, status="skipped", reason=reason, closed_at=execution.closed_at)


def _shown(trigger: Mapping[str, Any]) -> dict[str, Any]:
    return {name: trigger[name] for name in _TRIGGER if trigger.get(name) is not None}


def read_step(row: "Row[Any]", sealer: Sealer) -> Step:
    """Return the step of a row, opened."""
    place = step_place(row.execution_id, row.node_id, row.path)
    detail = sealer.open_json(row.detail_sealed, place)
    error = detail["error"]
    return Step(
        node_id=row.node_id,
        path=tuple(int(part) for part in row.path.split(".") if part),
        status=row.status,
        attempt=row.attempt,
        input=None if row.input_sealed is None else sealer.open_json(row.input_sealed, place),
        output=detail["output"],
        port=detail["port"],
        error=None if error is None else StepError(**error),
        reason=detail["reason"],
        started_at=row.started_at,
        closed_at=row.closed_at,
        # Rows of earlier releases do not have it.
        compensation=msgspec.convert(detail.get("compensation"), Compensation | None),
    )
