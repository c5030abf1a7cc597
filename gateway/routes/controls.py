"""``/v1/executions/{id}/…``: run controls of an execution that is under way."""

from litestar import post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_202_ACCEPTED

from gateway.auth.permissions import requires
from gateway.auth.principal import Principal
from gateway.body import NoFields
from user_workflows.controls import Controls
from user_workflows.executions import Execution, Executions


@post("/v1/executions/{execution_id:str}/pause", opt=requires("executions.control"), status_code=HTTP_202_ACCEPTED)
async def pause_execution(
    execution_id: FromPath[str],
    principal: NamedDependency[Principal],
    controls: NamedDependency[Controls],
    executions: NamedDependency[Executions],
    data: JSONBody[NoFields | None] = None,
) -> Execution:
    """Let nothing new begin: what runs may finish, timers keep counting, signals are kept."""
    await controls.pause(principal.tenant_id, execution_id)
    return await executions.get(principal.tenant_id, execution_id)


@post("/v1/executions/{execution_id:str}/resume", opt=requires("executions.control"), status_code=HTTP_202_ACCEPTED)
async def resume_execution(
    execution_id: FromPath[str],
    principal: NamedDependency[Principal],
    controls: NamedDependency[Controls],
    executions: NamedDependency[Executions],
    data: JSONBody[NoFields | None] = None,
) -> Execution:
    """Let a paused execution go on."""
    await controls.resume(principal.tenant_id, execution_id)
    return await executions.get(principal.tenant_id, execution_id)


ROUTES = [pause_execution, resume_execution]
