"""``/v1/job-limits``: how many jobs run at a time and how many start in a while; a change counts at once.

An owner limits the own tenant's jobs by type and by host. The administrator limits whole tenants, and, naming no
tenant, types and hosts for all tenants together.
"""

from typing import Annotated

from litestar import delete, get, put
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter
from litestar.status_codes import HTTP_204_NO_CONTENT

from gateway.auth.permissions import requires
from gateway.auth.principal import Principal
from gateway.errors import Absent, BodyFault, Forbidden, InvalidBody
from gateway.installation import register_installation
from gateway.routes.pages import Page
from gateway.text import PRINTABLE
from internal_jobs.limits import Limit, Limits, Scope
from plugins.storage.database import Database
from plugins.storage.tenants import find_tenant

TenantFilter = Annotated[
    str | None, QueryParameter(name="tenantId", pattern=PRINTABLE, description="whose: for the administrator")
]
Of = Annotated[Scope, QueryParameter(name="scope", description="what is limited")]
Subject = Annotated[str, QueryParameter(max_length=200, pattern=PRINTABLE, description="the type, or the host")]


@get("/v1/job-limits", opt=requires("jobs.limit"))
async def list_job_limits(
    principal: NamedDependency[Principal],
    database: NamedDependency[Database],
    job_limits: NamedDependency[Limits],
    tenant_id: TenantFilter = None,
) -> Page[Limit]:
    """List the limits of a tenant, or of the installation."""
    owner = await _owner(tenant_id, principal, database)
    return Page(items=await job_limits.list(owner), next_cursor=None)


@put("/v1/job-limits", opt=requires("jobs.limit"))
async def put_job_limit(
    data: JSONBody[Limit],
    principal: NamedDependency[Principal],
    database: NamedDependency[Database],
    job_limits: NamedDependency[Limits],
    tenant_id: TenantFilter = None,
) -> Limit:
    """Set a limit, in place of an earlier one on the same."""
    owner = await _owner(tenant_id, principal, database)
    _check_scope(data.scope, tenant_id, principal)
    return await job_limits.put(owner, data)


@delete("/v1/job-limits", opt=requires("jobs.limit"), status_code=HTTP_204_NO_CONTENT)
async def remove_job_limit(
    *,
    of: Of,
    principal: NamedDependency[Principal],
    database: NamedDependency[Database],
    job_limits: NamedDependency[Limits],
    subject: Subject = "",
    tenant_id: TenantFilter = None,
) -> None:
    """Lift a limit."""
    owner = await _owner(tenant_id, principal, database)
    _check_scope(of, tenant_id, principal)
    if not await job_limits.remove(owner, of, subject):
        raise Absent("There is no such limit.")


async def _owner(named: str | None, principal: Principal, database: Database) -> str:
    """Whose limits they are: the principal's own tenant's, or those that the administrator names."""
    if not principal.is_admin:
        if named not in (None, principal.tenant_id):
            raise Forbidden("Only the administrator's key works for other tenants.")
    elif named is None:
        await register_installation(database)
    elif await find_tenant(database, named) is None:
        raise InvalidBody("There is no such tenant.", errors=[BodyFault("/tenantId", "is not a tenant")])
    else:
        return named
    return principal.tenant_id


def _check_scope(scope: Scope, tenant_id: str | None, principal: Principal) -> None:
    if scope == "tenant" and not principal.is_admin:
        raise Forbidden("Only the administrator limits a whole tenant.")
    if scope == "tenant" and tenant_id is None:
        detail = "names the tenant that is limited"
        raise InvalidBody("A tenant is needed.", errors=[BodyFault("/tenantId", detail)])


ROUTES = [list_job_limits, put_job_limit, remove_job_limit]
