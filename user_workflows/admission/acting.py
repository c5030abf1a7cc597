"""Executions that were ended by force stay inside while steps of them may act: until each has stopped, or timed out."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import select, update

from plugins.storage.database import Database, now
from user_workflows.admission.gate import Gate
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
        mine = executions.c.tenant_id == tenant_id, executions.c.id == execution_id
        query = select(executions.c.admission, executions.c.acting, executions.c.closed_at).where(*mine)
        async with self._database.transaction(tenant_id) as connection:
            await self._gate.lock(connection, (tenant_id,))
            row = (await connection.execute(query)).one_or_none()
            if row is None or row.admission != "ending":
                return row is None or row.closed_at is not None
            acting: Mapping[str, str] = row.acting or {}
            left = {id: until for id, until in acting.items() if id != activity_id}
            due_at = max(map(datetime.fromisoformat, left.values()), default=now())
            await connection.execute(update(executions).where(*mine).values(acting=left, due_at=due_at))
        if not left:
            await self._gate.call_up(tenant_id)
            self._gate.stir()
        return True
