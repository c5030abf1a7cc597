"""API keys: ``gw_<id>_<secret>``, of which only a hash is stored."""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from sqlalchemy import JSON, Column, ForeignKey, Index, LargeBinary, Row, String, Table, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.auth.pepper import NO_PEPPER, Pepper
from gateway.auth.permissions import TenantRole
from plugins.storage.database import Database, Instant, metadata, now
from plugins.storage.ids import new_id
from plugins.storage.tenants import tenants

api_keys = Table(
    "api_keys",
    metadata,
    Column("tenant_id", String(40), ForeignKey("tenants.id"), primary_key=True),
    Column("id", String(40), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("role", String(20), nullable=False),
    Column("scopes", JSON, nullable=False),
    #: see `gateway.auth.pepper`
    Column("key_sha256", LargeBinary(32), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
    Column("last_used_at", Instant),
    # A presented key names its id, not its tenant.
    Index("ix_api_keys_id", "id", unique=True),
)


class ApiKey(Struct, frozen=True, kw_only=True):
    """A key as it is listed: everything but the key itself."""

    id: str
    tenant_id: str
    name: str
    role: TenantRole
    #: permissions that narrow the role; empty: all of the role's
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    #: to the minute
    last_used_at: datetime | None = None

    def is_valid(self, at: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


#: valid keys of one name: one, and the one that takes over from it
MOST_OF_ONE_NAME = 2


class NewKey(Struct, frozen=True, kw_only=True):
    record: ApiKey
    #: the only time the key is seen
    key: str


async def create_key(
    connection: AsyncConnection,
    tenant_id: str,
    *,
    name: str,
    role: TenantRole,
    scopes: Sequence[str] = (),
    expires_at: datetime | None = None,
    pepper: Pepper = NO_PEPPER,
) -> NewKey:
    """Make a key for a tenant that exists."""
    id = new_id("key")
    key = f"gw_{id.removeprefix('key_')}_{secrets.token_urlsafe(32)}"
    record = ApiKey(
        id=id,
        tenant_id=tenant_id,
        name=name,
        role=role,
        scopes=tuple(scopes),
        created_at=now(),
        expires_at=expires_at,
        revoked_at=None,
    )
    await connection.execute(
        api_keys.insert().values(
            tenant_id=tenant_id,
            id=id,
            name=name,
            role=role,
            scopes=list(scopes),
            key_sha256=pepper.digest(key),
            created_at=record.created_at,
            expires_at=expires_at,
        )
    )
    return NewKey(record=record, key=key)


async def hold_names(connection: AsyncConnection, tenant_id: str) -> None:
    """Keep others from making keys of this tenant until the transaction ends, so that what is counted stays true.

    Take it before any key: whoever closes a tenant comes by the same way. What else belongs to the tenant may be
    inserted meanwhile.
    """
    await connection.execute(select(tenants.c.id).where(tenants.c.id == tenant_id).with_for_update(key_share=True))


async def count_valid(connection: AsyncConnection, tenant_id: str, name: str) -> int:
    """Return how many keys of this name are valid now; it stays so for a transaction that has `hold_names`."""
    valid = select(func.count()).where(
        api_keys.c.tenant_id == tenant_id,
        api_keys.c.name == name,
        api_keys.c.revoked_at.is_(None),
        or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > now()),
    )
    return int((await connection.execute(valid)).scalar_one())


async def find_key(connection: AsyncConnection, tenant_id: str, key_id: str) -> ApiKey | None:
    """Return a key of this tenant, and keep others from rotating it at the same time."""
    query = select(api_keys).where(api_keys.c.tenant_id == tenant_id, api_keys.c.id == key_id).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _record(row)


async def rotate_key(
    connection: AsyncConnection, old: ApiKey, *, overlap: timedelta, expires_at: datetime | None, pepper: Pepper
) -> tuple[NewKey, datetime]:
    """Make a key that takes over from a valid one; return it, and when the old one ends.

    Args:
        connection: of a transaction that has the old key from `find_key`.
        old: whose name, role and scopes the new one gets.
        overlap: how long both are valid, at most.
        expires_at: of the new one; ``None``: it lives as long as the old one was made to.
        pepper: hashes the new one.
    """
    moment = now()
    until = moment + overlap if old.expires_at is None else min(old.expires_at, moment + overlap)
    if expires_at is None and old.expires_at is not None:
        expires_at = moment + (old.expires_at - old.created_at)
    await connection.execute(
        update(api_keys).where(api_keys.c.tenant_id == old.tenant_id, api_keys.c.id == old.id).values(expires_at=until)
    )
    made = await create_key(
        connection,
        old.tenant_id,
        name=old.name,
        role=old.role,
        scopes=old.scopes,
        expires_at=expires_at,
        pepper=pepper,
    )
    return made, until


async def revoke_key(connection: AsyncConnection, tenant_id: str, key_id: str) -> bool:
    """Revoke a key for good; ``False``: this tenant has no such key."""
    found = await connection.execute(
        update(api_keys)
        .where(api_keys.c.tenant_id == tenant_id, api_keys.c.id == key_id)
        # The first revocation is the one that counts.
        .values(revoked_at=now())
        .where(api_keys.c.revoked_at.is_(None))
    )
    if found.rowcount:
        return True
    known = select(api_keys.c.id).where(api_keys.c.tenant_id == tenant_id, api_keys.c.id == key_id)
    return (await connection.execute(known)).first() is not None


async def list_keys(database: Database, tenant_id: str, *, limit: int, before: str | None = None) -> list[ApiKey]:
    """Return a tenant's keys, newest first, those older than the id `before`."""
    query = select(api_keys).where(api_keys.c.tenant_id == tenant_id).order_by(api_keys.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(api_keys.c.id < before)
    async with database.read(tenant_id) as connection:
        return [_record(row) for row in await connection.execute(query)]


async def find_by_key(database: Database, key: str, pepper: Pepper = NO_PEPPER) -> ApiKey | None:
    """Return the record of a presented key, valid or not; ``None`` for one that was never issued."""
    prefix, _, rest = key.partition("_")
    ulid, _, secret = rest.partition("_")
    if prefix != "gw" or not secret or not ulid.isalnum() or not ulid.isascii():
        return None
    async with database.across.read() as connection:
        row = (await connection.execute(select(api_keys).where(api_keys.c.id == f"key_{ulid}"))).one_or_none()
    if row is None or not pepper.matches(key, row.key_sha256):
        return None
    return _record(row)


def _record(row: Row[tuple[object, ...]]) -> ApiKey:
    return ApiKey(
        id=row.id,
        tenant_id=row.tenant_id,
        name=row.name,
        role=row.role,
        scopes=tuple(row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )
