"""``/v1/api-keys``: an owner's for the own tenant, the administrator's for any."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated

from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.status_codes import HTTP_204_NO_CONTENT
from msgspec import Meta, Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.auth.authentication import Authenticator
from gateway.auth.keys import (
    MOST_OF_ONE_NAME,
    ApiKey,
    count_valid,
    create_key,
    find_key,
    hold_names,
    list_keys,
    revoke_key,
    rotate_key,
)
from gateway.auth.pepper import Pepper
from gateway.auth.permissions import KNOWN, TenantRole, granted, requires
from gateway.auth.principal import Principal
from gateway.errors import Absent, BodyFault, Forbidden, InvalidBody, KeyEnded, TooManyKeys
from gateway.routes.pages import Cursor, Limit, Page, page_of, position
from gateway.text import PRINTABLE, Id, Name
from plugins.sdk.duration import DURATION_PATTERN, parse_duration
from plugins.storage.database import Database, now
from plugins.storage.tenants import find_tenant

_LONGEST_OVERLAP = 30 * 86_400.0

TenantFilter = Annotated[
    str | None, QueryParameter(name="tenantId", pattern=PRINTABLE, description="whose: for the administrator")
]


class NewApiKey(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    name: Name
    role: TenantRole
    #: for the administrator; others make keys of their own tenant only
    tenant_id: Id | None = None
    #: permissions that narrow the role
    scopes: tuple[str, ...] = ()
    expires_at: datetime | None = None


class ApiKeyBody(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    id: str
    tenant_id: str
    name: str
    role: TenantRole
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    #: to the minute
    last_used_at: datetime | None
    #: shown once, when it is made
    key: str | None = None
    #: when the key that it takes over from ends
    previous_expires_at: datetime | None = None


class Rotation(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    #: for how long the old key goes on working, at most 30 days
    overlap: Annotated[str, Meta(pattern=DURATION_PATTERN)] = "24h"
    #: of the new key; without it, it lives as long as the old one was made to
    expires_at: datetime | None = None


@post("/v1/api-keys", opt=requires("keys.write"))
async def make_api_key(
    data: JSONBody[NewApiKey],
    principal: NamedDependency[Principal],
    database: NamedDependency[Database],
    pepper: NamedDependency[Pepper],
) -> ApiKeyBody:
    """Make a key; it can do no more than the key that makes it, and two valid ones have one name."""
    _check(data)
    tenant_id = await tenant_of(data.tenant_id, principal, database)
    if not principal.is_admin and not granted(data.role, data.scopes) <= principal.permissions:
        raise Forbidden("A key cannot make a key that may do more than itself.")
    async with database.transaction(tenant_id) as connection:
        await hold_names(connection, tenant_id)
        await _refuse_a_third(connection, tenant_id, data.name)
        made = await create_key(
            connection,
            tenant_id,
            name=data.name,
            role=data.role,
            scopes=data.scopes,
            expires_at=data.expires_at,
            pepper=pepper,
        )
    return _body(made.record, made.key)


@get("/v1/api-keys", opt=requires("keys.read"))
async def list_api_keys(
    principal: NamedDependency[Principal],
    database: NamedDependency[Database],
    limit: Limit = 50,
    cursor: Cursor = None,
    tenant_id: TenantFilter = None,
) -> Page[ApiKeyBody]:
    """List the keys of a tenant, newest first, the revoked ones too."""
    owner = await tenant_of(tenant_id, principal, database)
    found = await list_keys(database, owner, limit=limit + 1, before=position(cursor))
    items, next_cursor = page_of(found, limit, lambda key: key.id)
    return Page(items=[_body(key) for key in items], next_cursor=next_cursor)


@post("/v1/api-keys/{key_id:str}/rotate", opt=requires("keys.write"))
async def rotate_api_key(
    *,
    key_id: FromPath[str],
    principal: NamedDependency[Principal],
    database: NamedDependency[Database],
    pepper: NamedDependency[Pepper],
    data: JSONBody[Rotation | None] = None,
    tenant_id: TenantFilter = None,
) -> ApiKeyBody:
    """Make a key that takes over from this one: the same name, role and scopes. Both work until `previousExpiresAt`."""
    asked = data or Rotation()
    faults = [*_expiry_faults(asked.expires_at)]
    if parse_duration(asked.overlap) > _LONGEST_OVERLAP:
        faults.append(BodyFault("/overlap", "must be at most 30d"))
    if faults:
        raise InvalidBody("The key cannot be rotated like this.", errors=faults)
    owner = await tenant_of(tenant_id, principal, database)
    async with database.transaction(owner) as connection:
        await hold_names(connection, owner)
        old = await find_key(connection, owner, key_id)
        if old is None:
            raise Absent(f"There is no API key {key_id}.")
        if not principal.is_admin and not granted(old.role, old.scopes) <= principal.permissions:
            raise Forbidden("A key cannot rotate a key that may do more than itself.")
        if not old.is_valid(now()):
            raise KeyEnded("This key is not valid any more; make a new one.")
        await _refuse_a_third(connection, owner, old.name)
        made, until = await rotate_key(
            connection,
            old,
            overlap=timedelta(seconds=parse_duration(asked.overlap)),
            expires_at=asked.expires_at,
            pepper=pepper,
        )
    return _body(made.record, made.key, previous_expires_at=until)


@delete("/v1/api-keys/{key_id:str}", opt=requires("keys.write"), status_code=HTTP_204_NO_CONTENT)
async def revoke_api_key(
    key_id: FromPath[str],
    principal: NamedDependency[Principal],
    database: NamedDependency[Database],
    authenticator: NamedDependency[Authenticator],
    tenant_id: TenantFilter = None,
) -> None:
    """Revoke a key for good."""
    owner = await tenant_of(tenant_id, principal, database)
    async with database.transaction(owner) as connection:
        found = await revoke_key(connection, owner, key_id)
    if not found:
        raise Absent(f"There is no API key {key_id}.")
    authenticator.forget(key_id)


def _check(data: NewApiKey) -> None:
    faults = [
        BodyFault(f"/scopes/{index}", f"{scope!r} is not a permission")
        for index, scope in enumerate(data.scopes)
        if scope not in KNOWN
    ]
    faults += _expiry_faults(data.expires_at)
    if faults:
        raise InvalidBody("The key cannot be made as described.", errors=faults)


def _expiry_faults(expires_at: datetime | None) -> Iterator[BodyFault]:
    if expires_at is not None and (expires_at.tzinfo is None or expires_at <= now()):
        yield BodyFault("/expiresAt", "must be a time to come, with its offset, e.g. 2030-01-01T00:00:00Z")


async def _refuse_a_third(connection: AsyncConnection, tenant_id: str, name: str) -> None:
    if await count_valid(connection, tenant_id, name) >= MOST_OF_ONE_NAME:
        raise TooManyKeys(f"{MOST_OF_ONE_NAME} valid keys have the name {name!r} already; revoke one of them first.")


async def tenant_of(named: str | None, principal: Principal, database: Database) -> str:
    """Return whose things are meant: the principal's own tenant's, or those of the one that the administrator names.

    Raises:
        Forbidden: another tenant, for anybody else.
        InvalidBody: the administrator names none, or none that there is.
    """
    if not principal.is_admin:
        if named not in (None, principal.tenant_id):
            raise Forbidden("Only the administrator's key works for other tenants.")
        return principal.tenant_id
    if named is None or await find_tenant(database, named) is None:
        detail = "names the tenant that is meant" if named is None else "is not a tenant"
        raise InvalidBody("There is no such tenant.", errors=[BodyFault("/tenantId", detail)])
    return named


def _body(record: ApiKey, key: str | None = None, *, previous_expires_at: datetime | None = None) -> ApiKeyBody:
    return ApiKeyBody(
        id=record.id,
        tenant_id=record.tenant_id,
        name=record.name,
        role=record.role,
        scopes=record.scopes,
        created_at=record.created_at,
        expires_at=record.expires_at,
        revoked_at=record.revoked_at,
        last_used_at=record.last_used_at,
        key=key,
        previous_expires_at=previous_expires_at,
    )


ROUTES = [make_api_key, list_api_keys, rotate_api_key, revoke_api_key]
