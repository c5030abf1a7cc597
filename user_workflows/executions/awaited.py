"""Executions that another one waits for: they end with it, whoever ends it.

The interpreter cancels the children of what it closes itself. What is terminated, or is lost, runs no code at its end:
the reconciler stops its children before it closes the record, and the sweep those that were started meanwhile.
"""

from collections.abc import Sequence

from sqlalchemy import exists, or_, select
from temporalio.client import Client
from temporalio.service import RPCError

from plugins.storage.database import Database
from user_workflows.client import RPC_TIMEOUT, is_not_found, reaching_temporal
from user_workflows.executions.tables import OPEN_STATUSES, executions
from user_workflows.interpreter.messages import workflow_id


class Awaited:
    """Finds and stops what executions wait for."""

    def __init__(self, database: Database, temporal: Client) -> None:
        self._database = database
        self._temporal = temporal

    async def of(self, tenant_id: str, execution_id: str) -> Sequence[str]:
        """Return the open executions that this one waits for."""
        query = select(executions.c.id).where(
            executions.c.tenant_id == tenant_id,
            executions.c.awaited_by == execution_id,
            executions.c.status.in_(OPEN_STATUSES),
        )
        async with self._database.read(tenant_id) as connection:
            return (await connection.execute(query.order_by(executions.c.id))).scalars().all()

    async def is_unwanted(self, tenant_id: str, execution_id: str) -> bool:
        """Return whether the execution that waited for this one is over, or another is to take its place."""
        caller = executions.alias()
        is_awaited = exists().where(
            caller.c.tenant_id == tenant_id,
            caller.c.id == executions.c.awaited_by,
            caller.c.status.in_(OPEN_STATUSES),
        )
        query = select(executions.c.id).where(
            executions.c.tenant_id == tenant_id,
            executions.c.id == execution_id,
            or_(executions.c.replaced_by.is_not(None), executions.c.awaited_by.is_not(None) & ~is_awaited),
        )
        async with self._database.read(tenant_id) as connection:
            return (await connection.execute(query)).first() is not None

    async def stop(self, tenant_id: str, execution_id: str, *, at_once: bool) -> None:
        """Terminate an execution, or ask it to cancel; one that has ended meanwhile does not mind.

        Raises:
            EngineUnavailable: Temporal cannot be reached.
        """
        handle = self._temporal.get_workflow_handle(workflow_id(tenant_id, execution_id))
        async with reaching_temporal():
            try:
                if at_once:
                    await handle.terminate(reason="what waited for it was terminated", rpc_timeout=RPC_TIMEOUT)
                else:
                    await handle.cancel(rpc_timeout=RPC_TIMEOUT)
            except RPCError as error:
                if not is_not_found(error):
                    raise
