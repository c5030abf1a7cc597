"""What happens to executions, told in the transaction that records it: to the webhook endpoints that subscribed to it,
and to the job that went on as the execution.

The events: ``execution.completed``, ``.failed``, ``.canceled``, ``.timedOut``, ``.terminated`` and
``.waitingForApproval``. Inputs and outputs stay where they are: who is told reads them by the API, under a key.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from internal_jobs.promotion.record import PromotedEnd, settle_on
from internal_jobs.webhooks.desk import Occurrence, Webhooks, is_listening, message_id
from plugins.storage.database import now
from plugins.vault.cipher import Sealer
from user_workflows.executions.tables import executions
from user_workflows.interpreter.approvals import OpenApproval
from user_workflows.interpreter.messages import ExecutionError, ExecutionStatus
from user_workflows.promotion.single_step import NODE

#: characters of an error's message that are told
_LONGEST = 2_000


class Ending(Struct, frozen=True, kw_only=True):
    """An execution that has just been recorded as closed."""

    tenant_id: str
    execution_id: str
    status: ExecutionStatus
    closed_at: datetime
    output: Any = None
    error: ExecutionError | None = None
    #: whether a job may have gone on as it
    may_be_a_job: bool = True
    #: whether an endpoint may be told of it
    may_be_heard: bool = True


class Announcements:
    def __init__(self, webhooks: Webhooks) -> None:
        self._publisher = webhooks.publisher

    async def tell_ends(
        self, connection: AsyncConnection, sealers: Mapping[str, Sealer], endings: Sequence[Ending]
    ) -> None:
        """Tell that executions have ended, in the transaction that closes their records.

        The jobs that went on as them end with them.
        """
        if promoted := [_end_of_job(ending) for ending in endings if ending.may_be_a_job]:
            await settle_on(connection, sealers, promoted)
        heard = [ending for ending in endings if ending.may_be_heard]
        for tenant_id in sorted({ending.tenant_id for ending in heard}):
            told = []
            for ending in heard:
                if ending.tenant_id == tenant_id:
                    row = await _find(connection, tenant_id, ending.execution_id)
                    told.append(_ended(ending, row))
            await self._publisher.publish_on(connection, sealers[tenant_id], told)

    async def tell_approval(self, connection: AsyncConnection, sealer: Sealer, call: OpenApproval) -> None:
        """Tell that an execution waits for an approval, in the transaction that makes its links."""
        if not (await connection.execute(select(is_listening(call.tenant_id)))).scalar_one():
            return
        row = await _find(connection, call.tenant_id, call.execution_id)
        path = ".".join(map(str, call.path))
        waiting = Occurrence(
            id=message_id("approval", call.execution_id, str(call.generation), call.node_id, path),
            type="execution.waitingForApproval",
            source=f"/v1/workflows/{row.workflow_id}",
            subject=call.execution_id,
            time=now(),
            data={
                **_about(row),
                "nodeId": call.node_id,
                "path": list(call.path),
                "title": call.title,
                "required": call.required,
                "deadline": call.until,
            },
        )
        await self._publisher.publish_on(connection, sealer, [waiting])


def _end_of_job(ending: Ending) -> PromotedEnd:
    """Return what the end of an execution would be for a job that went on as it."""
    error = ending.error
    status: Literal["completed", "dead", "canceled"] = "dead"
    if ending.status == "completed":
        status = "completed"
    elif ending.status in ("canceled", "terminated"):
        status = "canceled"
    return PromotedEnd(
        tenant_id=ending.tenant_id,
        execution_id=ending.execution_id,
        status=status,
        closed_at=ending.closed_at,
        result=ending.output.get(NODE) if isinstance(ending.output, dict) else None,
        error_type=None if error is None else error.type,
        message=None if error is None else error.message[:_LONGEST],
    )


def _ended(ending: Ending, row: Row[Any]) -> Occurrence:
    error = ending.error
    told = None
    if error is not None:
        told = {"type": error.type, "message": error.message[:_LONGEST], "nodeId": error.node_id}
    return Occurrence(
        # One that is retried ends again, at another moment.
        id=message_id("execution", ending.execution_id, ending.closed_at.isoformat()),
        type=f"execution.{ending.status}",
        source=f"/v1/workflows/{row.workflow_id}",
        subject=ending.execution_id,
        time=ending.closed_at,
        data={**_about(row), "status": ending.status, "closedAt": ending.closed_at, "error": told},
    )


def _about(row: Row[Any]) -> dict[str, Any]:
    return {
        "executionId": row.id,
        "workflowId": row.workflow_id,
        "version": row.version,
        "startedAt": row.started_at,
    }


async def _find(connection: AsyncConnection, tenant_id: str, execution_id: str) -> Row[Any]:
    columns: tuple[Any, ...] = (
        executions.c.id,
        executions.c.workflow_id,
        executions.c.version,
        executions.c.started_at,
    )
    query = select(*columns).where(executions.c.tenant_id == tenant_id, executions.c.id == execution_id)
    return (await connection.execute(query)).one()
