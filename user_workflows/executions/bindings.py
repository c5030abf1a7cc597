"""Which credentials the steps of an execution may borrow: those that its version binds, until it has ended."""

import re

from sqlalchemy import bindparam, select

from plugins.storage.database import Database
from plugins.vault.lending import Borrower
from user_workflows.errors import NotFound
from user_workflows.executions.tables import OPEN_STATUSES, executions
from user_workflows.plan.model import Plan, PlanNode
from user_workflows.recent import Recent
from user_workflows.workflows.workflows import Workflows

#: name of a step, plugin, slot, credential id
Binding = tuple[str, str, str, str]

# Built once: every step that binds a credential asks.
_EXECUTION = select(executions.c.status, executions.c.workflow_id, executions.c.version).where(
    executions.c.tenant_id == bindparam("tenant_id"), executions.c.id == bindparam("id")
)

#: item and round numbers at the end of a step
_PATH = re.compile(r"(\.\d+)+$")


class ExecutionBindings:
    """Asks the records, whatever a step's message says of itself."""

    def __init__(self, *, database: Database, workflows: Workflows) -> None:
        self._database = database
        self._workflows = workflows
        self._recent: Recent[tuple[str, str, int], frozenset[Binding]] = Recent(512)

    async def refusal(self, borrower: Borrower, slot: str, credential_id: str) -> str | None:
        """Say why a step of an execution may not have a credential; ``None``: it may."""
        id = borrower.execution_id
        async with self._database.read(borrower.tenant_id) as connection:
            found = await connection.execute(_EXECUTION, {"tenant_id": borrower.tenant_id, "id": id})
            row = found.one_or_none()
        if row is None:
            return f"there is no execution {id}"
        if row.status not in OPEN_STATUSES:
            return f"execution {id} is {row.status}, and nothing of it may act any more"
        step = _PATH.sub("", borrower.step)
        if (step, borrower.plugin_id, slot, credential_id) in await self._of(
            borrower.tenant_id, row.workflow_id, row.version
        ):
            return None
        return f"version {row.version} of {row.workflow_id} does not bind it to slot {slot!r} of {step}"

    async def _of(self, tenant_id: str, workflow_id: str, version: int) -> frozenset[Binding]:
        key = (tenant_id, workflow_id, version)
        known = self._recent.get(key)
        if known is None:
            try:
                plan = (await self._workflows.recorded_plan(*key)).plan
            except NotFound:
                return frozenset()
            known = self._recent.put(key, _bindings(plan))
        return known


def _bindings(plan: Plan) -> frozenset[Binding]:
    nodes = [node for graph in plan.graphs() for node in graph.nodes]
    nodes += [node.compensate for node in nodes if node.compensate is not None]
    return frozenset(binding for node in nodes for binding in _of_node(node))


def _of_node(node: PlanNode) -> list[Binding]:
    return [(node.acts_as or node.id, node.plugin, slot, id) for slot, id in node.credentials.items()]
