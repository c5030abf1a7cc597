"""``/v1/tenants``: the administrator's."""

from datetime import datetime

from litestar import delete, get, post, put
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_202_ACCEPTED
from msgspec import Struct

from gateway.auth.authentication import Authenticator
from gateway.auth.permissions import requires
from gateway.errors import Absent
from gateway.installation import INSTALLATION
from gateway.shredding import begin_shredding
from gateway.text import Name
from plugins.storage.database import Database
from plugins.storage.ids import new_id
from plugins.storage.tenants import Tenant, create_tenant, find_tenant, read_tenant
from user_workflows.fairness.tiers import Tier, Tiers


class NewTenant(Struct, frozen=True, forbid_unknown_fields=True):
    name: Name


class TenantBody(Struct, frozen=True, kw_only=True, rename="camel"):
    id: str
    name: str
    created_at: datetime
    #: since when it is being shredded
    closed_at: datetime | None
    #: when that was done
    shredded_at: datetime | None


@post("/v1/tenants", opt=requires("tenants.write"))
async def make_tenant(data: JSONBody[NewTenant], database: NamedDependency[Database]) -> TenantBody:
    """Create a tenant."""
    tenant_id = new_id("ten")
    async with database.transaction(tenant_id) as connection:
        return _body(await create_tenant(connection, data.name, id=tenant_id))


@get("/v1/tenants/{tenant_id:str}", opt=requires("tenants.read"))
async def show_tenant(tenant_id: FromPath[str], database: NamedDependency[Database]) -> TenantBody:
    """Show a tenant."""
    return _body(await _read(database, tenant_id))


@delete("/v1/tenants/{tenant_id:str}", opt=requires("tenants.shred"), status_code=HTTP_202_ACCEPTED)
async def shred_tenant(
    tenant_id: FromPath[str],
    state: State,
    database: NamedDependency[Database],
    authenticator: NamedDependency[Authenticator],
) -> TenantBody:
    """Shred a tenant for good: it is absent at once, and what it has is unreadable as soon as `shreddedAt` says so.

    Its keys and tokens are unknown, its webhooks lead nowhere; executions, schedules and jobs are ended, its data keys
    destroyed, its rows deleted. Repeated, it changes nothing.
    """
    await _read(database, tenant_id)
    if tenant_id == INSTALLATION:
        raise Absent(f"There is no tenant {tenant_id}.")
    await begin_shredding(state.platform, tenant_id)
    authenticator.forget_tenant(tenant_id)
    return _body(await _read(database, tenant_id))


@get("/v1/tenants/{tenant_id:str}/tier", opt=requires("tenants.read"))
async def show_tier(
    tenant_id: FromPath[str], database: NamedDependency[Database], tiers: NamedDependency[Tiers]
) -> Tier:
    """Show what a tenant is granted of busy workers."""
    await require_tenant(database, tenant_id)
    return await tiers.get(tenant_id)


@put("/v1/tenants/{tenant_id:str}/tier", opt=requires("tenants.write"))
async def put_tier(
    tenant_id: FromPath[str],
    data: JSONBody[Tier],
    database: NamedDependency[Database],
    tiers: NamedDependency[Tiers],
) -> Tier:
    """Grant a tenant a share of busy workers, or workers of its own; it counts for what starts two seconds later.

    Within ten seconds the share counts for what its open executions do next, too; they stay on the queue on which they
    began.

    The share is the tier's (`basic` 0.25, `standard` 1, `premium` 4) unless there is a `weight`. With a `queue` its
    executions start on that, and wait there for `gateway worker user-workflows --queue NAME`.
    """
    await require_tenant(database, tenant_id)
    await tiers.put(tenant_id, data)
    return data


async def _read(database: Database, tenant_id: str) -> Tenant:
    tenant = await read_tenant(database, tenant_id)
    if tenant is None:
        raise Absent(f"There is no tenant {tenant_id}.")
    return tenant


async def require_tenant(database: Database, tenant_id: str) -> Tenant:
    """Return a tenant that a path names.

    Raises:
        Absent: there is none, or it is being shredded.
    """
    tenant = await find_tenant(database, tenant_id)
    if tenant is None:
        raise Absent(f"There is no tenant {tenant_id}.")
    return tenant


def _body(tenant: Tenant) -> TenantBody:
    return TenantBody(
        id=tenant.id,
        name=tenant.name,
        created_at=tenant.created_at,
        closed_at=tenant.closed_at,
        shredded_at=tenant.shredded_at,
    )


ROUTES = [make_tenant, show_tenant, shred_tenant, show_tier, put_tier]
