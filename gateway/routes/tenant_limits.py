"""``/v1/tenants/{id}/limits``: the caps of a tenant, which the administrator sets; a change holds at once."""

from typing import Annotated

from litestar import get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from gateway.auth.permissions import requires
from gateway.routes.tenants import require_tenant
from internal_jobs.limits import Limit, Rate
from internal_jobs.limits import Limits as JobLimits
from plugins.storage.database import Database
from user_workflows.admission.caps import Caps
from user_workflows.admission.tenant_caps import CapInUse, CapsInUse, TenantCaps, WorkflowCaps


class TenantLimits(Struct, frozen=True, kw_only=True, rename="camel"):
    caps: CapsInUse
    #: started within any minute, evenly spread
    jobs_per_minute: CapInUse
    #: executions that wait for a slot
    queued: int
    #: workflows that have caps, or a policy
    workflows: tuple[WorkflowCaps, ...]


class NewCaps(Caps, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Where nothing is said, the installation's cap holds."""

    jobs_per_minute: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


@get("/v1/tenants/{tenant_id:str}/limits", opt=requires("tenants.read"))
async def show_tenant_limits(
    tenant_id: FromPath[str],
    database: NamedDependency[Database],
    tenant_caps: NamedDependency[TenantCaps],
    job_limits: NamedDependency[JobLimits],
) -> TenantLimits:
    """Show the caps of a tenant, where each comes from, and what is used of it now."""
    await require_tenant(database, tenant_id)
    return await limits_of(tenant_id, tenant_caps, job_limits)


@put("/v1/tenants/{tenant_id:str}/limits", opt=requires("tenants.write"))
async def put_tenant_limits(
    tenant_id: FromPath[str],
    data: JSONBody[NewCaps],
    database: NamedDependency[Database],
    tenant_caps: NamedDependency[TenantCaps],
    job_limits: NamedDependency[JobLimits],
) -> TenantLimits:
    """Set all caps of a tenant; who waits for a higher one is let in at once, and nobody is put out by a lower one."""
    await require_tenant(database, tenant_id)
    await _put_jobs(job_limits, tenant_id, data.jobs_per_minute)
    await tenant_caps.put(tenant_id, data)
    return await limits_of(tenant_id, tenant_caps, job_limits)


async def limits_of(tenant_id: str, tenant_caps: TenantCaps, job_limits: JobLimits) -> TenantLimits:
    used = await tenant_caps.get(tenant_id)
    limit = await _jobs(job_limits, tenant_id)
    rate = None if limit is None else limit.rate
    return TenantLimits(
        caps=used.caps,
        jobs_per_minute=CapInUse(
            limit=None if rate is None else rate.per_minute,
            used=None,
            source="installation" if rate is None else "tenant",
        ),
        queued=used.queued,
        workflows=used.workflows,
    )


async def _put_jobs(job_limits: JobLimits, tenant_id: str, per_minute: int | None) -> None:
    """Set how many jobs of a tenant start in a minute; how many run at a time stays as it is."""
    limit = await _jobs(job_limits, tenant_id)
    concurrent = None if limit is None else limit.max_concurrent
    rate = None if per_minute is None else Rate(count=per_minute, per="1m")
    if rate is None and concurrent is None:
        await job_limits.remove(tenant_id, "tenant", "")
    else:
        await job_limits.put(tenant_id, Limit(scope="tenant", max_concurrent=concurrent, rate=rate))


async def _jobs(job_limits: JobLimits, tenant_id: str) -> Limit | None:
    return next((limit for limit in await job_limits.list(tenant_id) if limit.scope == "tenant"), None)


ROUTES = [show_tenant_limits, put_tenant_limits]
