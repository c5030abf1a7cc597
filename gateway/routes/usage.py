"""``/v1/usage``: what a tenant has used, and what that may cost."""

from datetime import datetime
from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Struct

from gateway.auth.permissions import requires
from gateway.auth.principal import Principal
from gateway.errors import BadRequest, BodyFault
from gateway.prices import Cost, cost_of
from gateway.routes.api_keys import TenantFilter, tenant_of
from gateway.settings import Settings
from internal_jobs.usage import JobUsage, job_usage
from plugins.storage.database import Database, now
from user_workflows.executions.usage import ExecutionUsage, execution_usage

Since = Annotated[datetime | None, QueryParameter(description="by default the beginning of this month, in UTC")]
Until = Annotated[datetime | None, QueryParameter(description="by default now")]


class Usage(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What was started and accepted from `since` on and before `until`, as far as retention has left it."""

    since: datetime
    until: datetime
    executions: ExecutionUsage
    jobs: JobUsage
    #: absent without a price table
    estimated_cost: Cost | None = None


@get("/v1/usage", opt=requires("usage.read"))
async def show_usage(
    *,
    principal: NamedDependency[Principal],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    since: Since = None,
    until: Until = None,
    tenant_id: TenantFilter = None,
) -> Usage:
    """Count executions, steps, history events, billable actions, jobs and attempts."""
    owner = await tenant_of(tenant_id, principal, database)
    end = until or now()
    start = since or now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    _check(start, end)
    executions = await execution_usage(database, owner, since=start, until=end)
    jobs = await job_usage(database, owner, since=start, until=end)
    cost = None if settings.prices is None else cost_of(settings.prices, executions, jobs)
    return Usage(since=start, until=end, executions=executions, jobs=jobs, estimated_cost=cost)


def _check(since: datetime, until: datetime) -> None:
    """See that both are moments, and the one after the other.

    Raises:
        BadRequest: they are not.
    """
    faults = [
        BodyFault(name, "must have its offset and be after 1970, e.g. 2030-01-01T00:00:00Z")
        for name, moment in (("since", since), ("until", until))
        if moment.tzinfo is None or moment.year < 1971
    ]
    if not faults and since > until:
        faults = [BodyFault("since", "must not be after `until`")]
    if faults:
        raise BadRequest("This is no time that can be counted in.", errors=faults)


ROUTES = [show_usage]
