"""``/v1/workflows/{id}/limits``: the caps of one workflow, changed without a new version; a change holds at once."""

from litestar import get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from gateway.auth.permissions import requires
from gateway.auth.principal import Principal
from user_workflows.admission.live_caps import GivenCaps, LiveCaps
from user_workflows.admission.tenant_caps import WorkflowCaps


@get("/v1/workflows/{workflow_id:str}/limits", opt=requires("workflows.read"))
async def show_workflow_limits(
    workflow_id: FromPath[str], principal: NamedDependency[Principal], live_caps: NamedDependency[LiveCaps]
) -> WorkflowCaps:
    """Show the caps of a workflow, where each comes from, and what is used of it now."""
    return await live_caps.get(principal.tenant_id, workflow_id)


@put("/v1/workflows/{workflow_id:str}/limits", opt=requires("workflows.write"))
async def put_workflow_limits(
    workflow_id: FromPath[str],
    data: JSONBody[GivenCaps],
    principal: NamedDependency[Principal],
    live_caps: NamedDependency[LiveCaps],
) -> WorkflowCaps:
    """Set all caps of a workflow and its policy, in place of what its versions draw, now and later.

    Where nothing is said, the published version holds again. Who waits for a higher cap is let in at once; nobody is
    put out by a lower one, and a new policy is that of later starts.
    """
    await live_caps.put(principal.tenant_id, workflow_id, data)
    return await live_caps.get(principal.tenant_id, workflow_id)


ROUTES = [show_workflow_limits, put_workflow_limits]
