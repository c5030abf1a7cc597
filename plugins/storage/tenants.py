"""Tenants: who owns everything else."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import Column, Row, String, Table, select, update
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
    #: since when it is being shredded: it is absent for everybody but the administrator
    Column("closed_at", Instant),
    #: when that was done
    Column("shredded_at", Instant),
)


class Tenant(Struct, frozen=True, kw_only=True):
    id: str
    name: str
    created_at: datetime
    closed_at: datetime | None = None
    shredded_at: datetime | None = None


async def create_tenant(connection: AsyncConnection, name: str, *, id: str | None = None) -> Tenant:
    """Insert a tenant; give an `id` only for one that must be found again by it."""
    tenant = Tenant(id=id or new_id("ten"), name=name, created_at=now())
    await connection.execute(tenants.insert().values(id=tenant.id, name=tenant.name, created_at=tenant.created_at))
    return tenant


async def find_tenant(database: Database, tenant_id: str) -> Tenant | None:
    """Return a tenant; one that is being shredded is absent."""
    tenant = await read_tenant(database, tenant_id)
    return tenant if tenant is not None and tenant.closed_at is None else None


async def read_tenant(database: Database, tenant_id: str) -> Tenant | None:
    """Return a tenant, in whatever state it is."""
    async with database.read(tenant_id) as connection:
        row = (await connection.execute(select(tenants).where(tenants.c.id == tenant_id))).one_or_none()
    return None if row is None else _tenant(row)


async def close_tenant(connection: AsyncConnection, tenant_id: str) -> None:
    """Make a tenant absent for good; it may be already."""
    one = update(tenants).where(tenants.c.id == tenant_id, tenants.c.closed_at.is_(None))
    await connection.execute(one.values(closed_at=now()))


async def note_shredded(connection: AsyncConnection, tenant_id: str) -> None:
    """Write down that nothing of a tenant is left, its name included."""
    one = update(tenants).where(tenants.c.id == tenant_id)
    await connection.execute(one.values(shredded_at=now(), name="(shredded)"))


async def closing_tenants(database: Database) -> Sequence[str]:
    """Return the tenants that are being shredded."""
    query = select(tenants.c.id).where(tenants.c.closed_at.is_not(None), tenants.c.shredded_at.is_(None))
    async with database.across.read() as connection:
        return (await connection.execute(query.order_by(tenants.c.id))).scalars().all()


def _tenant(row: Row[Any]) -> Tenant:
    return Tenant(
        id=row.id, name=row.name, created_at=row.created_at, closed_at=row.closed_at, shredded_at=row.shredded_at
    )
