"""Tenants: who owns everything else."""

from datetime import datetime

from msgspec import Struct
from sqlalchemy import Column, String, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from plugins.storage.database import Database, Instant, metadata, now
from plugins.storage.ids import new_id

#: stands where a tenant's id is needed and there is no tenant: the installation itself
INSTALLATION = "ten_installation"

tenants = Table(
    "tenants",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("created_at", Instant, nullable=False),
)


class Tenant(Struct, frozen=True, kw_only=True):
    id: str
    name: str
    created_at: datetime


async def create_tenant(connection: AsyncConnection, name: str, *, id: str | None = None) -> Tenant:
    """Insert a tenant; give an `id` only for one that must be found again by it."""
    tenant = Tenant(id=id or new_id("ten"), name=name, created_at=now())
    await connection.execute(tenants.insert().values(id=tenant.id, name=tenant.name, created_at=tenant.created_at))
    return tenant


async def find_tenant(database: Database, tenant_id: str) -> Tenant | None:
    async with database.read(tenant_id) as connection:
        row = (await connection.execute(select(tenants).where(tenants.c.id == tenant_id))).one_or_none()
    return None if row is None else Tenant(id=row.id, name=row.name, created_at=row.created_at)
