"""``/v1/limits``: the largest of everything."""

from litestar import get
from msgspec import Struct

from gateway.auth.permissions import requires
from gateway.body import MAX_BODY
from gateway.routes.executions import MAX_WAIT
from gateway.routes.hooks import MAX_DELIVERY
from gateway.routes.jobs import MAX_BATCH
from internal_jobs.jobs import MAX_PAYLOAD, MAX_RESULT
from user_workflows.definition.model import MAX_BYTES, MAX_DEPTH, MAX_NODES


class Limits(Struct, frozen=True, kw_only=True, rename="camel"):
    """Sizes are in bytes, waits in seconds."""

    body_bytes: int = MAX_BODY
    definition_bytes: int = MAX_BYTES
    definition_nodes: int = MAX_NODES
    definition_depth: int = MAX_DEPTH
    webhook_bytes: int = MAX_DELIVERY
    job_payload_bytes: int = MAX_PAYLOAD
    job_result_bytes: int = MAX_RESULT
    job_batch_items: int = MAX_BATCH
    wait_seconds: float = MAX_WAIT


@get("/v1/limits", opt=requires("limits.read"))
async def show_limits() -> Limits:
    """Show what is refused for being too large."""
    return Limits()


ROUTES = [show_limits]
