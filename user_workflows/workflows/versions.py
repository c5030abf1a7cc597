"""Versions: immutable, sealed, and kept at hand once an execution has asked for one."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Row, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from plugins.storage.database import Database, now
from plugins.vault.cipher import Sealer
from plugins.vault.keys import Vault
from user_workflows.definition.model import Definition
from user_workflows.errors import NotFound
from user_workflows.plan.model import Plan
from user_workflows.recent import Recent
from user_workflows.workflows.tables import definition_place, is_possible_id, plan_place, workflow_versions

#: beyond what the database can count to
_TOO_MANY = 2**31


class Version(Struct, frozen=True, kw_only=True, rename="camel"):
    version: int
    definition: Any
    #: none of one that was only tried
    published_at: datetime | None


class VersionPage(Struct, frozen=True, kw_only=True, rename="camel"):
    items: tuple[Version, ...]
    #: give it as `cursor` for the next page; ``None`` at the end
    next_cursor: str | None


class PublishedPlan(Struct, frozen=True, kw_only=True):
    """A version as the engine needs it."""

    workflow_id: str
    version: int
    plan: Plan
    definition: Definition


class Versions:
    """The versions of all workflows, of deleted ones too: their executions still need them."""

    def __init__(self, *, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._plans: Recent[tuple[str, str, int], PublishedPlan] = Recent(512)

    async def plan(self, tenant_id: str, workflow_id: str, version: int) -> PublishedPlan:
        """Return a version's plan; it is read and decrypted once.

        Raises:
            NotFound: no such version of this tenant.
        """
        key = (tenant_id, workflow_id, version)
        return self._plans.get(key) or self._plans.put(key, await self._read_plan(tenant_id, workflow_id, version))

    async def get(self, tenant_id: str, workflow_id: str, version: int) -> Version:
        """Return one version as it was published.

        Raises:
            NotFound: no such version of this tenant.
        """
        row = await self._row(tenant_id, workflow_id, version)
        return _version(await self._vault.sealer(tenant_id), row)

    async def page(self, tenant_id: str, workflow_id: str, *, limit: int, before: int | None) -> VersionPage:
        """Return versions of one workflow, newest first, those lower than `before` alone."""
        query = select(workflow_versions).where(
            workflow_versions.c.tenant_id == tenant_id, workflow_versions.c.workflow_id == workflow_id
        )
        if before is not None:
            query = query.where(workflow_versions.c.version < min(before, _TOO_MANY - 1))
        async with self._database.read(tenant_id) as connection:
            newest = query.order_by(workflow_versions.c.version.desc()).limit(limit + 1)
            rows = (await connection.execute(newest)).all()
        sealer = await self._vault.sealer(tenant_id)
        items = tuple(_version(sealer, row) for row in rows[:limit])
        return VersionPage(items=items, next_cursor=str(items[-1].version) if len(rows) > limit else None)

    async def last(self, tenant_id: str, workflow_id: str) -> int:
        """Return the highest version there is, 0 when there is none."""
        query = select(func.max(workflow_versions.c.version)).where(
            workflow_versions.c.tenant_id == tenant_id, workflow_versions.c.workflow_id == workflow_id
        )
        async with self._database.read(tenant_id) as connection:
            return (await connection.execute(query)).scalar_one() or 0

    async def _read_plan(self, tenant_id: str, workflow_id: str, version: int) -> PublishedPlan:
        row = await self._row(tenant_id, workflow_id, version)
        sealer = await self._vault.sealer(tenant_id)
        return PublishedPlan(
            workflow_id=workflow_id,
            version=version,
            plan=msgspec.convert(sealer.open_json(row.plan_sealed, plan_place(workflow_id, version)), Plan),
            definition=msgspec.convert(open_definition(sealer, workflow_id, version, row), Definition),
        )

    async def _row(self, tenant_id: str, workflow_id: str, version: int) -> "Row[Any]":
        query = select(workflow_versions).where(
            workflow_versions.c.tenant_id == tenant_id,
            workflow_versions.c.workflow_id == workflow_id,
            workflow_versions.c.version == version,
        )
        row = None
        if is_possible_id(workflow_id) and 0 < version < _TOO_MANY:
            async with self._database.read(tenant_id) as connection:
                row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise NotFound("version", f"{workflow_id}/{version}")
        return row


async def mark_published(connection: AsyncConnection, tenant_id: str, workflow_id: str, version: int) -> None:
    """Say of a version that was only tried that it is published from now on."""
    mine = (workflow_versions.c.tenant_id == tenant_id, workflow_versions.c.workflow_id == workflow_id)
    tried = (workflow_versions.c.version == version, workflow_versions.c.published_at.is_(None))
    await connection.execute(update(workflow_versions).where(*mine, *tried).values(published_at=now()))


async def insert_version(
    connection: AsyncConnection, sealer: Sealer, workflow_id: str, version: Version, plan: Plan
) -> None:
    """Store a new version and its plan, sealed."""
    number = version.version
    row = {
        "tenant_id": sealer.tenant_id,
        "workflow_id": workflow_id,
        "version": number,
        "definition_sealed": sealer.seal_json(version.definition, definition_place(workflow_id, number)),
        "plan_sealed": sealer.seal_json(plan, plan_place(workflow_id, number)),
        "published_at": version.published_at,
    }
    await connection.execute(workflow_versions.insert().values(row))


def open_definition(sealer: Sealer, workflow_id: str, version: int, row: "Row[Any]") -> Any:
    """Return the definition in a row with the column `definition_sealed`, as it was published."""
    return sealer.open_json(row.definition_sealed, definition_place(workflow_id, version))


def _version(sealer: Sealer, row: "Row[Any]") -> Version:
    definition = open_definition(sealer, row.workflow_id, row.version, row)
    return Version(version=row.version, definition=definition, published_at=row.published_at)
