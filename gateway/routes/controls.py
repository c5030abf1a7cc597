"""``/v1/executions/{id}/…``: run controls of an execution that is under way."""

from typing import Annotated

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK, HTTP_202_ACCEPTED
from msgspec import Meta, Struct

from gateway.auth.permissions import requires
from gateway.auth.principal import Principal
from gateway.body import NoFields
from gateway.text import PRINTABLE
from user_workflows.controls import Controls
from user_workflows.executions import Execution, Executions
from user_workflows.redo import Redo

NodeId = Annotated[str, Meta(min_length=1, max_length=64, pattern=PRINTABLE)]

DryRun = Annotated[bool, QueryParameter(name="dryRun", description="tell what would happen, and do nothing")]


class Skip(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    node_id: NodeId


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


@post("/v1/executions/{execution_id:str}/skip", opt=requires("executions.control"), status_code=HTTP_202_ACCEPTED)
async def skip_node(
    execution_id: FromPath[str],
    data: JSONBody[Skip],
    principal: NamedDependency[Principal],
    controls: NamedDependency[Controls],
    executions: NamedDependency[Executions],
) -> Execution:
    """Skip a node that has not settled: it has no output, and what hangs on it alone is skipped too."""
    await controls.skip(principal.tenant_id, execution_id, data.node_id)
    return await executions.get(principal.tenant_id, execution_id)


@post("/v1/executions/{execution_id:str}/retry", opt=requires("executions.control"), status_code=HTTP_202_ACCEPTED)
async def retry_execution(
    *,
    execution_id: FromPath[str],
    principal: NamedDependency[Principal],
    controls: NamedDependency[Controls],
    executions: NamedDependency[Executions],
    dry_run: DryRun = False,
    data: JSONBody[NoFields | None] = None,
) -> Response[Execution | Redo]:
    """Let a failed or timed-out execution go on from its failed nodes; completed steps are kept."""
    if dry_run:
        return Response(await controls.plan_retry(principal.tenant_id, execution_id), status_code=HTTP_200_OK)
    await controls.retry(principal.tenant_id, execution_id)
    return Response(await executions.get(principal.tenant_id, execution_id), status_code=HTTP_202_ACCEPTED)


ROUTES = [pause_execution, resume_execution, skip_node, retry_execution]
