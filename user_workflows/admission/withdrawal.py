"""Closing what has not begun: it never gets to Temporal, and its last record is written here."""

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from plugins.storage.database import Database, now
from plugins.vault.keys import Vault
from user_workflows.admission.gate import UNBEGUN, Gate
from user_workflows.admission.tables import tenant_gates
from user_workflows.executions.tables import executions, result_place
from user_workflows.interpreter.messages import ExecutionError, ExecutionStatus
from user_workflows.records.announcements import Announcements, Ending


class Withdrawals:
    """Args:
    database: holds the rows.
    vault: seals what they say.
    gate: that they wait at.
    announcements: tell of executions that have ended, in the transaction that closes their records.
    """

    def __init__(
        self, database: Database, vault: Vault, gate: Gate, announcements: Announcements | None = None
    ) -> None:
        self._database = database
        self._vault = vault
        self._gate = gate
        self._announcements = announcements

    async def withdraw(self, tenant_id: str, execution_id: str, status: ExecutionStatus, error: ExecutionError) -> bool:
        """Close an execution that has not begun; return whether it had not."""
        # Its key is at hand then, and nothing but the database is awaited inside.
        await self._vault.sealer(tenant_id)
        async with self._database.transaction(tenant_id) as connection:
            await self._gate.lock(connection, (tenant_id,))
            return bool(await self.close(connection, tenant_id, [execution_id], status, error))

    async def close(
        self,
        connection: AsyncConnection,
        tenant_id: str,
        execution_ids: Sequence[str],
        status: ExecutionStatus,
        error: ExecutionError,
    ) -> int:
        """Close those of these executions that have not begun, in a transaction that holds the tenant's lock."""
        sealer, at = await self._vault.sealer(tenant_id), now()
        endings, waiting = [], 0
        for execution_id in execution_ids:
            mine = executions.c.tenant_id == tenant_id, executions.c.id == execution_id
            found = await connection.execute(select(executions.c.admission).where(*mine, UNBEGUN))
            if (admission := found.scalar_one_or_none()) is None:
                continue
            # What is put off is not in the queue yet.
            waiting += int(admission == "waiting")
            await connection.execute(
                update(executions)
                .where(*mine)
                .values(
                    status=status,
                    admission=None,
                    seq=executions.c.seq + 1,
                    result_sealed=sealer.seal_json({"output": None, "error": error}, result_place(execution_id)),
                    error_type=error.type,
                    closed_at=at,
                    checked_at=at,
                )
            )
            endings.append(
                Ending(tenant_id=tenant_id, execution_id=execution_id, status=status, closed_at=at, error=error)
            )
        if waiting:
            await connection.execute(
                update(tenant_gates)
                .where(tenant_gates.c.tenant_id == tenant_id)
                .values(waiting=tenant_gates.c.waiting - waiting)
            )
        if endings and self._announcements is not None:
            await self._announcements.tell_ends(connection, {tenant_id: sealer}, endings)
        return len(endings)
