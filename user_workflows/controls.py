"""Run controls: what can be done to an execution that is under way (design §6)."""

from typing import Any

from sqlalchemy import update

from plugins.storage.database import Database
from user_workflows.client import RPC_TIMEOUT, reaching_temporal
from user_workflows.executions import Executions, or_conflict
from user_workflows.interpreter.messages import ExecutionStatus
from user_workflows.store import executions


class Controls:
    """The run controls of all tenants' executions.

    Each raises `NotFound` when this tenant has no such execution, `Conflict` when its present state does not allow it,
    and `EngineUnavailable` when Temporal cannot be reached.
    """

    def __init__(self, *, database: Database, executions: Executions) -> None:
        self._database = database
        self._executions = executions

    async def pause(self, tenant_id: str, execution_id: str) -> None:
        """Let nothing new begin; what runs may finish, timers keep counting, signals are kept. Again: no effect."""
        await self._tell(tenant_id, execution_id, "pause")
        await self._mark(tenant_id, execution_id, "paused")

    async def resume(self, tenant_id: str, execution_id: str) -> None:
        """Let a paused execution go on; one that is not paused is left as it is."""
        await self._tell(tenant_id, execution_id, "resume")
        await self._mark(tenant_id, execution_id, "running")

    async def _tell(self, tenant_id: str, execution_id: str, signal: str, *args: Any) -> None:
        handle = await self._executions.open_handle(tenant_id, execution_id)
        async with reaching_temporal():
            await or_conflict(handle.signal(signal, args=args, rpc_timeout=RPC_TIMEOUT), execution_id)

    async def _mark(self, tenant_id: str, execution_id: str, status: ExecutionStatus) -> None:
        """Show at once what the interpreter is about to tell."""
        shown = ("queued", "running") if status == "paused" else ("paused",)
        async with self._database.transaction() as connection:
            await connection.execute(
                update(executions)
                .where(executions.c.tenant_id == tenant_id, executions.c.id == execution_id)
                .where(executions.c.status.in_(shown))
                .values(status=status)
            )
