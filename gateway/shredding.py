"""Shredding a tenant: it is absent at once, what it has going is ended, its keys are destroyed, its rows deleted.

The order makes every step repeatable. A process may die anywhere: the tenant stays closed, and the chore goes on.
"""

import asyncio
from datetime import timedelta
from typing import Any

from msgspec import Struct
from sqlalchemy import Table, delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.auth.authentication import TRUST
from gateway.auth.keys import api_keys
from gateway.compose import Platform
from gateway.installation import INSTALLATION, register_installation
from internal_jobs.client import JobRequest
from internal_jobs.closure import end_jobs
from plugins.sdk.context import Context
from plugins.sdk.errors import Permanent, Transient
from plugins.sdk.plugin import Plugin, plugin
from plugins.storage.database import Database, metadata, now
from plugins.storage.tenants import close_tenant, closing_tenants, note_shredded, read_tenant
from user_workflows.errors import EngineUnavailable

SHRED = "tenants.shred"

#: after this no process serves a tenant any more that was closed: keys are trusted for as long once they were found,
#: and requests under way need a moment
SETTLED = timedelta(seconds=2 * TRUST)

#: what stays: that there was a tenant, that its keys are gone, and who did what
_KEPT = frozenset({"tenants", "tenant_keys", "audit_records", "audit_outcomes"})
_BATCH = 1_000


class ShredConfig(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    tenant_id: str


def shred_plugin(platform: Platform) -> Plugin:
    """Make the chore over the stores of this process."""

    @plugin(SHRED, version="1.0.0", effect="idempotent")
    async def tenants_shred(config: ShredConfig, ctx: Context) -> dict[str, int]:
        """End what a closed tenant has going, destroy its keys, delete its rows."""
        if ctx.tenant_id != INSTALLATION:
            raise Permanent("this chore is the installation's own", type="chore.forbidden")
        try:
            return {"rows": await shred(platform, config.tenant_id, heartbeat=ctx.heartbeat)}
        except EngineUnavailable as error:
            raise Transient(error.message, type="engine.unavailable", effect="unknown") from None

    return tenants_shred


async def begin_shredding(platform: Platform, tenant_id: str) -> None:
    """Make a tenant absent, and enqueue the chore for the rest, at once or not at all."""
    await register_installation(platform.database)
    # Before the transaction: a key may have to be made, in one of its own.
    await platform.vault.sealer(INSTALLATION)
    async with platform.database.transaction(tenant_id, INSTALLATION) as connection:
        await close_tenant(connection, tenant_id)
        await connection.execute(delete(api_keys).where(api_keys.c.tenant_id == tenant_id))
        await _enqueue(platform, tenant_id, key=f"{SHRED}:{tenant_id}", connection=connection)
    platform.jobs.wake()
    await platform.closure.switch_off(tenant_id)


async def ask_for_shredding(platform: Platform, period: int) -> None:
    """Enqueue the chore for every tenant that is closed and not shredded yet, unless somebody has in this period."""
    for tenant_id in await closing_tenants(platform.database):
        await _enqueue(platform, tenant_id, key=f"{SHRED}:{tenant_id}:{period}")


async def shred(platform: Platform, tenant_id: str, *, heartbeat: Any = lambda _: None) -> int:
    """Shred a closed tenant and return how many rows were deleted.

    Raises:
        EngineUnavailable: Temporal cannot be reached; a repetition goes on.
        Permanent: the tenant is not closed.
    """
    tenant = await read_tenant(platform.database, tenant_id)
    if tenant is None or tenant.closed_at is None:
        raise Permanent("only a tenant that was closed is shredded", type="chore.forbidden")
    await _end(platform, tenant_id)
    if (rest := (tenant.closed_at + SETTLED - now()).total_seconds()) > 0:
        heartbeat({"waiting": rest})
        await asyncio.sleep(rest)
        # What a process began that had not heard of it yet.
        await _end(platform, tenant_id)
    await platform.vault.destroy(tenant_id)
    deleted = 0
    for table in reversed(metadata.sorted_tables):
        if table.name not in _KEPT and "tenant_id" in table.c:
            deleted += await _erase(platform.database, tenant_id, table)
            heartbeat({"rows": deleted})
    async with platform.database.transaction(tenant_id) as connection:
        await note_shredded(connection, tenant_id)
    return deleted


async def _end(platform: Platform, tenant_id: str) -> None:
    await platform.closure.end(tenant_id)
    await end_jobs(platform.database, tenant_id)


async def _erase(database: Database, tenant_id: str, table: Table) -> int:
    key = tuple_(*table.primary_key)
    some = select(*table.primary_key).where(table.c.tenant_id == tenant_id).limit(_BATCH)
    deleted = 0
    while True:
        # A bounded number at a time, so that nobody waits long for its locks.
        async with database.transaction(tenant_id) as connection:
            count = (await connection.execute(delete(table).where(key.in_(some)))).rowcount
        deleted += count
        if count < _BATCH:
            return deleted


async def _enqueue(platform: Platform, tenant_id: str, *, key: str, connection: AsyncConnection | None = None) -> None:
    request = JobRequest(type=SHRED, payload={"tenantId": tenant_id}, timeout="60m", max_attempts=50)
    await platform.jobs.enqueue(INSTALLATION, request, key=key, connection=connection)
