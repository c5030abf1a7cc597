"""Run controls: what can be done to an execution that is under way (design §6)."""

from typing import Any

from sqlalchemy import select, update

from plugins.storage.database import Database
from user_workflows.client import RPC_TIMEOUT, reaching_temporal
from user_workflows.errors import Conflict, InvalidInput
from user_workflows.executions import Executions, or_conflict
from user_workflows.interpreter.messages import ExecutionStatus
from user_workflows.plan.model import PlanGraph
from user_workflows.store import executions, steps
from user_workflows.workflows import Workflows


class Controls:
    """The run controls of all tenants' executions.

    Each raises `NotFound` when this tenant has no such execution, `Conflict` when its present state does not allow it,
    and `EngineUnavailable` when Temporal cannot be reached.
    """

    def __init__(self, *, database: Database, workflows: Workflows, executions: Executions) -> None:
        self._database = database
        self._workflows = workflows
        self._executions = executions

    async def pause(self, tenant_id: str, execution_id: str) -> None:
        """Let nothing new begin; what runs may finish, timers keep counting, signals are kept. Again: no effect."""
        await self._tell(tenant_id, execution_id, "pause")
        await self._mark(tenant_id, execution_id, "paused")

    async def resume(self, tenant_id: str, execution_id: str) -> None:
        """Let a paused execution go on; one that is not paused is left as it is."""
        await self._tell(tenant_id, execution_id, "resume")
        await self._mark(tenant_id, execution_id, "running")

    async def skip(self, tenant_id: str, execution_id: str, node_id: str) -> None:
        """Skip a top-level node that has not settled: it has no output, and the skip travels on as on any dead path.

        One that waits, runs or is between two attempts is stopped first; when it settles meanwhile, that stands.

        Raises:
            InvalidInput: the version has no such node at its top level.
            Conflict: the node has settled already, or the execution is closed.
        """
        execution = await self._executions.get(tenant_id, execution_id)
        published = await self._workflows.recorded_plan(tenant_id, execution.workflow_id, execution.version)
        check_node(published.plan, node_id, "/nodeId")
        query = select(steps.c.status).where(
            steps.c.tenant_id == tenant_id,
            steps.c.execution_id == execution_id,
            steps.c.node_id == node_id,
            steps.c.path == "",
        )
        async with self._database.read() as connection:
            status = (await connection.execute(query)).scalar_one_or_none()
        if not execution.is_closed and status in ("completed", "failed"):
            raise Conflict(f"node {node_id} cannot be skipped any more: it is {status}")
        await self._tell(tenant_id, execution_id, "skip", node_id)

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


def check_node(plan: PlanGraph, node_id: str, pointer: str) -> None:
    """Refuse a node that is not at the top level of a plan.

    Raises:
        InvalidInput: it is inside a loop, or nowhere.
    """
    if any(node.id == node_id for node in plan.nodes):
        return
    for node in plan.nodes:
        if node.body is not None and _holds(node.body, node_id):
            raise InvalidInput(pointer, f"node {node_id!r} is inside the loop {node.id!r}; name the loop")
    raise InvalidInput(pointer, f"there is no node {node_id!r} in this version")


def _holds(graph: PlanGraph, node_id: str) -> bool:
    return any(node.id == node_id or (node.body is not None and _holds(node.body, node_id)) for node in graph.nodes)
