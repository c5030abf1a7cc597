"""Waiting for what a workflow answers to the webhook that started it.

The answer is the output of the first `respond` node that was reached, read from the record of its step. Who waits is
told when records are committed, and looks by itself as well, ever more seldom: nothing of it depends on Redis.
"""

from typing import Any

from msgspec import Struct
from sqlalchemy import bindparam, select

from plugins.storage.database import Database
from plugins.vault.keys import Vault
from user_workflows.executions.executions import Executions
from user_workflows.executions.tables import steps
from user_workflows.executions.views import Execution, read_step
from user_workflows.plan.model import PlanGraph
from user_workflows.workflows.workflows import Workflows

#: seconds until the first look at the steps that nobody asked for
FIRST_PAUSE = 0.03

_FIRST_ANSWER = (
    select(steps)
    .where(steps.c.tenant_id == bindparam("tenant_id"), steps.c.execution_id == bindparam("execution_id"))
    .where(steps.c.node_id.in_(bindparam("nodes", expanding=True)), steps.c.status == "completed")
    .order_by(steps.c.closed_at, steps.c.seq)
    .limit(1)
)


class Answer(Struct, frozen=True, kw_only=True):
    """What a `respond` node made."""

    status: int = 200
    headers: dict[str, str] = {}
    body: Any = None


class Responses:
    """Reads the answers of executions."""

    def __init__(self, *, database: Database, vault: Vault, workflows: Workflows, executions: Executions) -> None:
        self._database = database
        self._vault = vault
        self._workflows = workflows
        self._executions = executions

    async def wait(self, execution: Execution, tenant_id: str, timeout: float) -> Answer | Execution:
        """Return the answer of an execution as soon as it is there; without one, the execution.

        It is closed then, or as it is after `timeout` seconds.
        """
        plan = (await self._workflows.recorded_plan(tenant_id, execution.workflow_id, execution.version)).plan
        nodes = _responding(plan)

        async def find() -> Answer | None:
            return await self._find(tenant_id, execution.id, nodes)

        pause = FIRST_PAUSE if nodes else None
        answer = await self._executions.until(find, tenant_id, execution.id, timeout=timeout, pause=pause)
        return await self._executions.get(tenant_id, execution.id) if answer is None else answer

    async def _find(self, tenant_id: str, execution_id: str, nodes: list[str]) -> Answer | None:
        """Return the first answer that is recorded."""
        if not nodes:
            return None
        async with self._database.read(tenant_id) as connection:
            asked = {"tenant_id": tenant_id, "execution_id": execution_id, "nodes": nodes}
            row = (await connection.execute(_FIRST_ANSWER, asked)).one_or_none()
        if row is None:
            return None
        output = read_step(row, await self._vault.sealer(tenant_id)).output
        return Answer(status=output["status"], headers=output["headers"], body=output["body"])


def _responding(graph: PlanGraph) -> list[str]:
    """Return the ids of the nodes that answer, in the bodies of loops too."""
    found = [node.id for node in graph.nodes if node.plugin == "respond" and not node.disabled]
    return found + [id for node in graph.nodes if node.body is not None for id in _responding(node.body)]
