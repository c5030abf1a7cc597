"""Published versions: immutable, sealed, and kept at hand once read."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import select

from plugins.storage.database import Database
from plugins.vault.cipher import Sealer
from plugins.vault.keys import Vault
from user_workflows.definition.model import Definition
from user_workflows.errors import NotFound
from user_workflows.plan.model import Plan
from user_workflows.recent import Recent
from user_workflows.workflow_store import workflow_versions


class PublishedPlan(Struct, frozen=True, kw_only=True):
    """A version as the engine needs it."""

    workflow_id: str
    version: int
    plan: Plan
    definition: Definition


class PublishedPlans:
    """Reads the plans of published versions and keeps those used last: they never change."""

    def __init__(self, *, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._kept: Recent[tuple[str, str, int], PublishedPlan] = Recent(512)

    async def get(self, tenant_id: str, workflow_id: str, version: int) -> PublishedPlan:
        """Return a version's plan, whether its workflow is deleted or not.

        Raises:
            NotFound: no such version of this tenant.
        """
        key = (tenant_id, workflow_id, version)
        return self._kept.get(key) or self._kept.put(key, await self._read(tenant_id, workflow_id, version))

    async def _read(self, tenant_id: str, workflow_id: str, version: int) -> PublishedPlan:
        query = select(workflow_versions).where(
            workflow_versions.c.tenant_id == tenant_id,
            workflow_versions.c.workflow_id == workflow_id,
            workflow_versions.c.version == version,
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise NotFound("version", f"{workflow_id}/{version}")
        sealer = await self._vault.sealer(tenant_id)
        return PublishedPlan(
            workflow_id=workflow_id,
            version=version,
            plan=msgspec.convert(sealer.open_json(row.plan_sealed, plan_place(workflow_id, version)), Plan),
            definition=msgspec.convert(open_definition(sealer, row), Definition),
        )


def version_row(
    sealer: Sealer, *, workflow_id: str, version: int, definition: Any, plan: Plan, published_at: datetime
) -> dict[str, Any]:
    """Return the row of a new version, sealed."""
    return {
        "tenant_id": sealer.tenant_id,
        "workflow_id": workflow_id,
        "version": version,
        "definition_sealed": sealer.seal_json(definition, definition_place(workflow_id, version)),
        "plan_sealed": sealer.seal_json(plan, plan_place(workflow_id, version)),
        "published_at": published_at,
    }


def open_definition(sealer: Sealer, row: Any) -> Any:
    """Return the definition in a row of `workflow_versions`, as it was published."""
    return sealer.open_json(row.definition_sealed, definition_place(row.workflow_id, row.version))


def definition_place(workflow_id: str, version: int) -> str:
    return f"workflow.definition:{workflow_id}:{version}"


def plan_place(workflow_id: str, version: int) -> str:
    return f"workflow.plan:{workflow_id}:{version}"
