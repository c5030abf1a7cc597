"""``/v1/tenants``: the administrator's."""

from datetime import datetime

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Struct

from gateway.auth.permissions import requires
from gateway.errors import Absent
from gateway.text import Name
from plugins.storage.database import Database
from plugins.storage.ids import new_id
from plugins.storage.tenants import Tenant, create_tenant, find_tenant


class NewTenant(Struct, frozen=True, forbid_unknown_fields=True):
    name: Name


class TenantBody(Struct, frozen=True, kw_only=True, rename="camel"):
    id: str
    name: str
    created_at: datetime


@post("/v1/tenants", opt=requires("tenants.write"))
async def make_tenant(data: JSONBody[NewTenant], database: NamedDependency[Database]) -> TenantBody:
    """Create a tenant."""
    tenant_id = new_id("ten")
    async with database.transaction(tenant_id) as connection:
        return _body(await create_tenant(connection, data.name, id=tenant_id))


@get("/v1/tenants/{tenant_id:str}", opt=requires("tenants.read"))
async def show_tenant(tenant_id: FromPath[str], database: NamedDependency[Database]) -> TenantBody:
    """Show a tenant."""
    tenant = await find_tenant(database, tenant_id)
    if tenant is None:
        raise Absent(f"There is no tenant {tenant_id}.")
    return _body(tenant)


def _body(tenant: Tenant) -> TenantBody:
    return TenantBody(id=tenant.id, name=tenant.name, created_at=tenant.created_at)


ROUTES = [make_tenant, show_tenant]
