"""Executions that were ended by force stay inside while steps of them may act: until each has stopped, or timed out."""

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from plugins.storage.database import Database, now
from user_workflows.admission.gate import Gate
from user_workflows.admission.sharing import acting_key, holder_of, last_of
from user_workflows.executions.tables import executions


class Acknowledgements:
    """Hears of steps that have stopped.

    Args:
        database: holds who is inside.
        gate: gets back what is held for them.
    """

    def __init__(self, database: Database, gate: Gate) -> None:
        self._database = database
        self._gate = gate

    async def take(self, tenant_id: str, execution_id: str, activity_id: str) -> bool:
        """Note that a step acts no more, and give the slot of its execution back if it was the last that might.

        Return whether there is nothing more to say: ``False`` while the record of the execution is open.
        """
        async with self._database.transaction(tenant_id) as connection:
            await self._gate.lock(connection, (tenant_id,))
            row = await _find(connection, tenant_id, execution_id)
            if row is None or row.closed_at is None:
                return row is None
            holder_id = await holder_of(connection, tenant_id, execution_id)
            holder = await _find(connection, tenant_id, holder_id)
            acting: dict[str, str] = dict(holder.acting or {})
            if acting.pop(acting_key(execution_id, activity_id), None) is None:
                return True
            is_ending = holder.admission == "ending"
            due = {"due_at": last_of(acting) if acting else now()} if is_ending else {}
            mine = executions.c.tenant_id == tenant_id, executions.c.id == holder_id
            await connection.execute(update(executions).where(*mine).values(acting=acting, **due))
        if is_ending and not acting:
            await self._gate.call_up(tenant_id)
            self._gate.stir()
        return True


async def _find(connection: AsyncConnection, tenant_id: str, execution_id: str) -> Any:
    query = select(executions.c.admission, executions.c.acting, executions.c.closed_at)
    mine = executions.c.tenant_id == tenant_id, executions.c.id == execution_id
    return (await connection.execute(query.where(*mine))).one_or_none()
