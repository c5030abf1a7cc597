"""The caps of a tenant: what they are, where each comes from, and what is used of it now."""

from datetime import datetime
from typing import Literal

from msgspec import Struct
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from plugins.storage.database import Database, now
from user_workflows.admission.caps import Caps, Policy, Rate
from user_workflows.admission.gate import Gate
from user_workflows.admission.standing import Standing, tenant_standing, workflow_standings
from user_workflows.admission.tables import tenant_gates, workflow_gates

#: ``workflow``: its published version; ``override``: it is set live, in place of that
Source = Literal["installation", "tenant", "workflow", "override"]


class CapInUse(Struct, frozen=True, kw_only=True, rename="camel"):
    #: null: there is none
    limit: int | None
    #: now; null: it is not counted
    used: int | None
    #: who says so
    source: Source


class CapsInUse(Struct, frozen=True, kw_only=True, rename="camel"):
    concurrent_executions: CapInUse
    starts_per_minute: CapInUse
    #: of one input, as JSON
    payload_bytes: CapInUse
    #: since the first of the month, in UTC
    monthly_executions: CapInUse


class WorkflowCaps(Struct, frozen=True, kw_only=True, rename="camel"):
    workflow_id: str
    policy: Policy
    policy_source: Source
    caps: CapsInUse


class TenantCapsInUse(Struct, frozen=True, kw_only=True, rename="camel"):
    caps: CapsInUse
    #: executions that wait for a slot
    queued: int
    #: workflows that have caps, or a policy
    workflows: tuple[WorkflowCaps, ...]


class TenantCaps:
    """Reads and sets the caps of tenants. A change holds from the next start on, and for those that wait."""

    def __init__(self, database: Database, gate: Gate) -> None:
        self._database = database
        self._gate = gate

    async def put(self, tenant_id: str, caps: Caps) -> None:
        """Set all caps of a tenant; where one is ``None``, that of the installation holds."""
        set_ = {name: getattr(caps, name) for name in Caps.__struct_fields__}
        row = {"tenant_id": tenant_id, "inside": 0, "waiting": 0, "month": "", "month_count": 0, **set_}
        insert = self._database.insert(tenant_gates).values(row)
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(insert.on_conflict_do_update(index_elements=["tenant_id"], set_=set_))
            await self._gate.let_in(connection, tenant_id)
        self._gate.stir()

    async def get(self, tenant_id: str) -> TenantCapsInUse:
        """Return the caps that hold for a tenant and its workflows, and their use."""
        at = now()
        ids = select(workflow_gates.c.workflow_id).where(workflow_gates.c.tenant_id == tenant_id)
        async with self._database.read(tenant_id) as connection:
            workflows = [*(await connection.execute(ids.order_by(workflow_gates.c.workflow_id))).scalars()]
            tenant, queued = await self._tenant(connection, tenant_id, at)
            found = await workflow_standings(connection, tenant_id, workflows, at)
        return TenantCapsInUse(
            caps=in_use(tenant),
            queued=queued,
            workflows=tuple(workflow_caps(id, each) for id, each in sorted(found.items())),
        )

    async def rate(self, tenant_id: str) -> Rate | None:
        """Return how a tenant stands with its starts per minute now; ``None``: they are not capped."""
        at = now()
        async with self._database.read(tenant_id) as connection:
            tenant, _ = await self._tenant(connection, tenant_id, at)
        return tenant.rate(at)

    async def _tenant(self, connection: AsyncConnection, tenant_id: str, at: datetime) -> tuple[Standing, int]:
        query = select(tenant_gates).where(tenant_gates.c.tenant_id == tenant_id)
        row = (await connection.execute(query)).one_or_none()
        if row is None:
            return Standing(scope="tenant", caps=self._gate.defaults, inside=0, month_count=0), 0
        return await tenant_standing(connection, row, self._gate.defaults, at), row.waiting


def workflow_caps(workflow_id: str, standing: Standing) -> WorkflowCaps:
    return WorkflowCaps(
        workflow_id=workflow_id,
        policy=standing.policy,
        policy_source="override" if standing.is_policy_own else "workflow",
        caps=in_use(standing),
    )


def in_use(standing: Standing) -> CapsInUse:
    used = {
        "concurrent_executions": standing.inside,
        "starts_per_minute": standing.starts,
        "monthly_executions": standing.month_count,
    }
    mine: Source = "tenant" if standing.scope == "tenant" else "override"
    others: Source = "installation" if standing.scope == "tenant" else "workflow"
    caps = {}
    for name in Caps.__struct_fields__:
        limit = getattr(standing.caps, name)
        source = others if getattr(standing.own, name) is None else mine
        # Starts are counted where there is a cap to hold them against; those inside a workflow likewise.
        is_counted = name != "payload_bytes" and (
            limit is not None or (standing.scope == "tenant" and name != "starts_per_minute")
        )
        caps[name] = CapInUse(limit=limit, used=used.get(name) if is_counted else None, source=source)
    return CapsInUse(**caps)
