"""API keys: ``gw_<id>_<secret>``, of which only the SHA-256 is stored."""

import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

from msgspec import Struct
from sqlalchemy import JSON, Column, ForeignKey, Index, LargeBinary, Row, String, Table, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.auth.permissions import TenantRole
from plugins.storage.database import Database, Instant, metadata, now
from plugins.storage.ids import new_id

api_keys = Table(
    "api_keys",
    metadata,
    Column("tenant_id", String(40), ForeignKey("tenants.id"), primary_key=True),
    Column("id", String(40), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("role", String(20), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("key_sha256", LargeBinary(32), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
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

    def is_valid(self, at: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


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
            key_sha256=digest(key),
            created_at=record.created_at,
            expires_at=expires_at,
        )
    )
    return NewKey(record=record, key=key)


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


async def find_by_key(database: Database, key: str) -> ApiKey | None:
    """Return the record of a presented key, valid or not; ``None`` for one that was never issued."""
    prefix, _, rest = key.partition("_")
    ulid, _, secret = rest.partition("_")
    if prefix != "gw" or not secret or not ulid.isalnum() or not ulid.isascii():
        return None
    async with database.across.read() as connection:
        row = (await connection.execute(select(api_keys).where(api_keys.c.id == f"key_{ulid}"))).one_or_none()
    if row is None or not hmac.compare_digest(row.key_sha256, digest(key)):
        return None
    return _record(row)


def digest(key: str) -> bytes:
    """Return what is stored of a key. Its 256 random bits need no slow hash."""
    return sha256(key.encode()).digest()


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
    )
