"""The caps of one workflow that are set live, in place of what its published version draws."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from plugins.storage.database import Database, now
from user_workflows.admission.caps import Caps, Policy
from user_workflows.admission.drawn import remove_bare
from user_workflows.admission.gate import Gate
from user_workflows.admission.standing import Standing, workflow_standings
from user_workflows.admission.tables import LIVE, workflow_gates
from user_workflows.admission.tenant_caps import WorkflowCaps, workflow_caps
from user_workflows.errors import NotFound
from user_workflows.workflows.tables import workflows


class GivenCaps(Caps, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Where nothing is said, what is drawn holds."""

    policy: Policy | None = None


class LiveCaps:
    """Reads and sets the caps of workflows. A change holds from the next start on, and for those that wait."""

    def __init__(self, database: Database, gate: Gate) -> None:
        self._database = database
        self._gate = gate

    async def put(self, tenant_id: str, workflow_id: str, caps: GivenCaps) -> None:
        """Set all caps of a workflow, and its policy, which is that of later starts: who waits goes on waiting.

        Raises:
            NotFound: no such workflow of this tenant.
        """
        live = {LIVE + name: getattr(caps, name) for name in GivenCaps.__struct_fields__}
        bare = {"policy": "queue", "month": "", "month_count": 0}
        insert = self._database.insert(workflow_gates).values(
            tenant_id=tenant_id, workflow_id=workflow_id, **bare, **live
        )
        async with self._database.transaction(tenant_id) as connection:
            await _require(connection, tenant_id, workflow_id)
            # Its lock first, as everybody who lets somebody in does.
            await self._gate.lock(connection, (tenant_id,))
            await connection.execute(
                insert.on_conflict_do_update(index_elements=["tenant_id", "workflow_id"], set_=live)
            )
            await remove_bare(connection, tenant_id, workflow_id)
            is_stirred = bool(await self._gate.let_in(connection, tenant_id))
        self._gate.stir(is_stirred)

    async def get(self, tenant_id: str, workflow_id: str) -> WorkflowCaps:
        """Return the caps of a workflow, where each comes from, and what is used of it now.

        Raises:
            NotFound: no such workflow of this tenant.
        """
        async with self._database.read(tenant_id) as connection:
            await _require(connection, tenant_id, workflow_id)
            found = await workflow_standings(connection, tenant_id, [workflow_id], now())
        bare = Standing(scope="workflow", caps=Caps(), inside=0, month_count=0)
        return workflow_caps(workflow_id, found.get(workflow_id, bare))


async def _require(connection: AsyncConnection, tenant_id: str, workflow_id: str) -> None:
    mine = workflows.c.tenant_id == tenant_id, workflows.c.id == workflow_id, workflows.c.deleted_at.is_(None)
    if (await connection.execute(select(workflows.c.id).where(*mine))).first() is None:
        raise NotFound("workflow", workflow_id)
