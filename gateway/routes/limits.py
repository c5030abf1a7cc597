"""``/v1/limits``: the largest of everything, and how much of it the tenant has left."""

from litestar import get
from litestar.di import NamedDependency
from msgspec import Struct

from gateway.auth.permissions import requires
from gateway.auth.principal import Principal
from gateway.body import MAX_BODY
from gateway.routes.executions import MAX_WAIT
from gateway.routes.hooks import MAX_DELIVERY
from gateway.routes.jobs import MAX_BATCH
from gateway.routes.tenant_limits import TenantLimits, limits_of
from internal_jobs.jobs import MAX_PAYLOAD, MAX_RESULT
from internal_jobs.limits import Limits as JobLimits
from plugins.host.perform import MAX_OUTPUT
from user_workflows.admission.tenant_caps import TenantCaps
from user_workflows.codec import MAX_PAYLOAD as MAX_HANDED_ON
from user_workflows.definition.model import MAX_BYTES, MAX_DEPTH, MAX_NODES
from user_workflows.interpreter.loops import MAX_ITEMS, MAX_RESULTS


class Limits(Struct, frozen=True, kw_only=True, rename="camel"):
    """Sizes are in bytes, waits in seconds."""

    body_bytes: int = MAX_BODY
    definition_bytes: int = MAX_BYTES
    definition_nodes: int = MAX_NODES
    definition_depth: int = MAX_DEPTH
    #: of one plugin call
    step_output_bytes: int = MAX_OUTPUT
    foreach_items: int = MAX_ITEMS
    #: of all items of one `foreach` together
    foreach_results_bytes: int = MAX_RESULTS
    #: of what is handed from one part of an execution to another at once, and of its output
    payload_bytes: int = MAX_HANDED_ON
    webhook_bytes: int = MAX_DELIVERY
    job_payload_bytes: int = MAX_PAYLOAD
    job_result_bytes: int = MAX_RESULT
    job_batch_items: int = MAX_BATCH
    wait_seconds: float = MAX_WAIT
    #: how much of everything the tenant may have, and has now
    tenant: TenantLimits


@get("/v1/limits", opt=requires("limits.read"))
async def show_limits(
    principal: NamedDependency[Principal],
    tenant_caps: NamedDependency[TenantCaps],
    job_limits: NamedDependency[JobLimits],
) -> Limits:
    """Show what is refused for being too large, and the caps of the tenant with what is used of them now."""
    return Limits(tenant=await limits_of(principal.tenant_id, tenant_caps, job_limits))


ROUTES = [show_limits]
