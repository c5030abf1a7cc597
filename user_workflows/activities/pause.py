"""Whether an execution is paused, asked by activities that make many of its steps."""

import time

from sqlalchemy import select

from plugins.storage.database import Database
from user_workflows.executions.tables import executions
from user_workflows.interpreter.activity_calls import GraphCall
from user_workflows.records.writer import OUTAGE

#: seconds in which the record is not asked again: a few cheap steps are over by then
PATIENCE = 0.02


class Pause:
    """Looks at the record of one execution, which says so before whoever paused it is answered."""

    def __init__(self, database: Database, call: GraphCall) -> None:
        self._database = database
        self._tenant_id = call.tenant_id
        self._asked = select(executions.c.status).where(
            executions.c.tenant_id == call.tenant_id, executions.c.id == call.execution_id
        )
        self._asked_at = time.monotonic()
        self._is_on = False

    async def is_on(self, *, surely: bool = False) -> bool:
        """Tell whether nothing new may begin; without `surely`, what was so a moment ago is good enough."""
        if surely or time.monotonic() - self._asked_at > PATIENCE:
            self._asked_at = time.monotonic()
            try:
                async with self._database.read(self._tenant_id) as connection:
                    self._is_on = (await connection.execute(self._asked)).scalar_one_or_none() == "paused"
            except OUTAGE:
                self._is_on = False
        return self._is_on
