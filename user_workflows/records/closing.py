"""Closing the record of an execution that ended without its last step, which would have closed it."""

from typing import Any

import structlog
from sqlalchemy import select, update
from temporalio.client import Client

from plugins.storage.database import Database, now
from plugins.vault.keys import Vault
from user_workflows.admission.gate import Gate
from user_workflows.executions.callers import restore_trigger, tell_caller
from user_workflows.executions.tables import OPEN_STATUSES, executions, result_place, steps
from user_workflows.interpreter.messages import CallEnd
from user_workflows.metrics import REPAIRED
from user_workflows.records.announcements import Announcements, Ending
from user_workflows.records.ends import End

_log = structlog.get_logger(__name__)


class Closing:
    """Closes records from outside.

    Args:
        database: holds the records.
        vault: seals what they say.
        temporal: hands the news to who waits.
        gate: gets back their slots.
        announcements: tell of executions that have ended, in the transaction that closes their records.
    """

    def __init__(
        self, *, database: Database, vault: Vault, temporal: Client, gate: Gate, announcements: Announcements | None
    ) -> None:
        self._database = database
        self._vault = vault
        self._temporal = temporal
        self._gate = gate
        self._announcements = announcements

    async def close(self, tenant_id: str, execution_id: str, end: End) -> None:
        """Tell who waits for an execution that it has ended, then close its record and what is open of its steps.

        Raises:
            EngineUnavailable: Temporal cannot be reached; the record is open as before.
        """
        await self._tell_caller(tenant_id, execution_id, CallEnd(status=end.status, output=end.output, error=end.error))
        sealer = await self._vault.sealer(tenant_id)
        sealed = sealer.seal_json({"output": end.output, "error": end.error}, result_place(execution_id))
        async with self._database.transaction(tenant_id) as connection:
            await self._gate.lock(connection, (tenant_id,))
            closed = await connection.execute(
                update(executions)
                .where(*_open(tenant_id, execution_id))
                .values(
                    status=end.status,
                    seq=executions.c.seq + 1,
                    result_sealed=sealed,
                    error_type=None if end.error is None else end.error.type,
                    closed_at=end.closed_at,
                    checked_at=now(),
                    stuck_reason=None,
                    stuck_since=None,
                    history_events=end.history_events,
                )
            )
            if not closed.rowcount:
                return
            await connection.execute(
                update(steps)
                .where(steps.c.tenant_id == tenant_id, steps.c.execution_id == execution_id)
                .where(steps.c.status.in_(("running", "waiting", "pending")))
                .values(status="canceled", closed_at=end.closed_at)
            )
            if self._announcements is not None:
                ending = Ending(
                    tenant_id=tenant_id,
                    execution_id=execution_id,
                    status=end.status,
                    closed_at=end.closed_at,
                    output=end.output,
                    error=end.error,
                )
                await self._announcements.tell_ends(connection, {tenant_id: sealer}, [ending])
            is_stirred = await self._gate.release(connection, tenant_id, execution_id, acting=end.acting)
        self._gate.stir(is_stirred)
        REPAIRED.labels(end.status).inc()
        _log.info("execution.repaired", tenant_id=tenant_id, execution_id=execution_id, status=end.status)

    async def _tell_caller(self, tenant_id: str, execution_id: str, end: CallEnd) -> None:
        query = select(executions.c.trigger).where(*_open(tenant_id, execution_id))
        async with self._database.read(tenant_id) as connection:
            kept = (await connection.execute(query)).scalar_one_or_none()
        caller_id = None if kept is None else restore_trigger(kept, None).awaited_by
        if caller_id is not None:
            await tell_caller(self._temporal, tenant_id, caller_id, execution_id, end)


def _open(tenant_id: str, execution_id: str) -> tuple[Any, ...]:
    return (
        executions.c.tenant_id == tenant_id,
        executions.c.id == execution_id,
        executions.c.status.in_(OPEN_STATUSES),
    )
