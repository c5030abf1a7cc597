"""The end of all that a tenant has going in workflows, before its keys are destroyed."""

import asyncio
import re
from collections.abc import AsyncIterator

from sqlalchemy import select, update
from temporalio.client import Client
from temporalio.service import RPCError

from plugins.storage.database import Database, now
from user_workflows.client import RPC_TIMEOUT, is_not_found, reaching_temporal
from user_workflows.executions.tables import OPEN_STATUSES, executions
from user_workflows.interpreter.messages import workflow_id
from user_workflows.triggers.schedules import Schedules
from user_workflows.workflows.tables import workflow_triggers, workflows

REASON = "the tenant is shredded"
#: calls of Temporal at a time
_AT_ONCE = 20
_BATCH = 500

_TENANT_ID = re.compile(r"[A-Za-z0-9_]+")


class Closure:
    """Switches triggers off, removes schedules, terminates executions. All of it may be repeated."""

    def __init__(self, database: Database, temporal: Client) -> None:
        self._database = database
        self._temporal = temporal
        self._schedules = Schedules(temporal)

    async def switch_off(self, tenant_id: str) -> None:
        """Let no trigger of a tenant start anything any more: its webhooks lead nowhere from now on."""
        off = update(workflows).where(workflows.c.tenant_id == tenant_id)
        no_tokens = update(workflow_triggers).where(workflow_triggers.c.tenant_id == tenant_id)
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(off.values(active=False))
            await connection.execute(no_tokens.values(token_hash=None, token_sealed=None, event_digest=None))

    async def end(self, tenant_id: str) -> None:
        """Remove the tenant's schedules and terminate its executions.

        Raises:
            EngineUnavailable: Temporal cannot be reached; what was ended is.
        """
        await self.switch_off(tenant_id)
        await self._remove_schedules(tenant_id)
        await self._terminate_all([id async for id in self._running(tenant_id)])
        while ids := await self._open_executions(tenant_id):
            # Also those that Temporal does not list yet.
            await self._terminate_all([workflow_id(tenant_id, id) for id in ids])
            await self._close(tenant_id, ids)

    async def _remove_schedules(self, tenant_id: str) -> None:
        mine = workflow_triggers.c.tenant_id == tenant_id
        query = select(workflow_triggers.c.workflow_id, workflow_triggers.c.trigger_id)
        async with self._database.read(tenant_id) as connection:
            rows = (await connection.execute(query.where(mine, workflow_triggers.c.scheduled))).all()
        for row in rows:
            await self._schedules.remove(tenant_id, row.workflow_id, row.trigger_id)
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(update(workflow_triggers).where(mine).values(scheduled=False))
            # Nothing of it is left to be put right by others.
            await connection.execute(update(workflows).where(workflows.c.tenant_id == tenant_id).values(settled=True))

    async def _running(self, tenant_id: str) -> AsyncIterator[str]:
        """Yield the ids of everything that runs for a tenant on Temporal: executions, and what fires them."""
        async with reaching_temporal():
            async for found in self._temporal.list_workflows(running_of(tenant_id), rpc_timeout=RPC_TIMEOUT):
                yield found.id

    async def _open_executions(self, tenant_id: str) -> list[str]:
        query = select(executions.c.id).where(
            executions.c.tenant_id == tenant_id, executions.c.status.in_(OPEN_STATUSES)
        )
        async with self._database.read(tenant_id) as connection:
            return list((await connection.execute(query.limit(_BATCH))).scalars())

    async def _terminate_all(self, ids: list[str]) -> None:
        for start in range(0, len(ids), _AT_ONCE):
            await asyncio.gather(*(self._terminate(id) for id in ids[start : start + _AT_ONCE]))

    async def _terminate(self, id: str) -> None:
        async with reaching_temporal():
            try:
                await self._temporal.get_workflow_handle(id).terminate(reason=REASON, rpc_timeout=RPC_TIMEOUT)
            except RPCError as error:
                if not is_not_found(error):
                    raise

    async def _close(self, tenant_id: str, ids: list[str]) -> None:
        """Write down that executions are over, in the clear: there is no key for more."""
        closed = update(executions).where(
            executions.c.tenant_id == tenant_id, executions.c.id.in_(ids), executions.c.status.in_(OPEN_STATUSES)
        )
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(closed.values(status="terminated", closed_at=now(), admission=None))


def running_of(tenant_id: str) -> str:
    """Return the visibility query for what runs of a tenant.

    Raises:
        ValueError: that is no tenant's id; it might say something else in a query.
    """
    if not _TENANT_ID.fullmatch(tenant_id):
        raise ValueError(f"{tenant_id[:50]!r} is not the id of a tenant")
    return f"WorkflowId STARTS_WITH '{tenant_id}/' AND ExecutionStatus = 'Running'"
