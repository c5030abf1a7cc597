"""``/v1/executions/{id}/…``: run controls."""

from typing import Annotated, Any

import structlog
from litestar import Request, Response, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_200_OK, HTTP_202_ACCEPTED
from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.auth.permissions import requires
from gateway.auth.principal import Principal
from gateway.body import NoFields
from gateway.idempotency.middleware import effect_key
from gateway.rates import PACED, rate_headers
from gateway.routes.dry_run import DryRun
from gateway.telemetry.trace import trace_of
from gateway.text import PRINTABLE
from user_workflows.admission.caps import Rate
from user_workflows.admission.tenant_caps import TenantCaps
from user_workflows.executions.controls import Controls
from user_workflows.executions.executions import Executions
from user_workflows.executions.redo import Redo
from user_workflows.executions.views import Execution

NodeId = Annotated[str, Meta(min_length=1, max_length=64, pattern=PRINTABLE)]

#: the other answer of what can be planned first
_PLANNED = {HTTP_200_OK: ResponseSpec(Redo, description="With `dryRun`: what would happen.")}


class Skip(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    node_id: NodeId


class Rerun(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    from_node: NodeId
    #: what the node sees as ``input``, instead of what arrives
    input: Any | UnsetType = UNSET


class Replay(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    #: instead of the same
    version: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None


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


@post(
    "/v1/executions/{execution_id:str}/skip",
    opt=requires("executions.control") | PACED,
    status_code=HTTP_202_ACCEPTED,
)
async def skip_node(
    *,
    execution_id: FromPath[str],
    data: JSONBody[Skip],
    principal: NamedDependency[Principal],
    controls: NamedDependency[Controls],
    executions: NamedDependency[Executions],
    tenant_caps: NamedDependency[TenantCaps],
) -> Response[Execution]:
    """Skip a node that has not settled: it has no output, and what hangs on it alone is skipped too.

    A failed or timed-out execution goes on without the node that failed, otherwise as by a retry.
    """
    await controls.skip(principal.tenant_id, execution_id, data.node_id)
    return Response(
        await executions.get(principal.tenant_id, execution_id),
        status_code=HTTP_202_ACCEPTED,
        headers=rate_headers(await tenant_caps.rate(principal.tenant_id)),
    )


@post(
    "/v1/executions/{execution_id:str}/retry",
    opt=requires("executions.control") | PACED,
    status_code=HTTP_202_ACCEPTED,
    responses=_PLANNED,
)
async def retry_execution(
    *,
    execution_id: FromPath[str],
    principal: NamedDependency[Principal],
    controls: NamedDependency[Controls],
    executions: NamedDependency[Executions],
    tenant_caps: NamedDependency[TenantCaps],
    dry_run: DryRun = False,
    data: JSONBody[NoFields | None] = None,
) -> Response[Execution | Redo]:
    """Let a failed or timed-out execution go on from its failed nodes; completed steps are kept."""
    if dry_run:
        return _foreseen(await controls.plan_retry(principal.tenant_id, execution_id))
    await controls.retry(principal.tenant_id, execution_id)
    return Response(
        await executions.get(principal.tenant_id, execution_id),
        status_code=HTTP_202_ACCEPTED,
        headers=rate_headers(await tenant_caps.rate(principal.tenant_id)),
    )


@post(
    "/v1/executions/{execution_id:str}/rerun",
    opt=requires("executions.start") | PACED,
    status_code=HTTP_202_ACCEPTED,
    responses=_PLANNED,
)
async def rerun_execution(
    *,
    request: Request[Principal, Principal, State],
    execution_id: FromPath[str],
    data: JSONBody[Rerun],
    principal: NamedDependency[Principal],
    controls: NamedDependency[Controls],
    tenant_caps: NamedDependency[TenantCaps],
    dry_run: DryRun = False,
) -> Response[Execution | Redo]:
    """Run a node, and what is downstream of it, again in a new execution; all else is reused."""
    if dry_run:
        return _foreseen(await controls.plan_rerun(principal.tenant_id, execution_id, from_node=data.from_node))
    execution = await controls.rerun(
        principal.tenant_id,
        execution_id,
        from_node=data.from_node,
        input=data.input,
        key=effect_key(request, "rerun", execution_id),
        traceparent=trace_of(request.scope).traceparent,
    )
    return _started(execution, await tenant_caps.rate(principal.tenant_id))


@post(
    "/v1/executions/{execution_id:str}/replay",
    opt=requires("executions.start") | PACED,
    status_code=HTTP_202_ACCEPTED,
    responses=_PLANNED,
)
async def replay_execution(
    *,
    request: Request[Principal, Principal, State],
    execution_id: FromPath[str],
    principal: NamedDependency[Principal],
    controls: NamedDependency[Controls],
    tenant_caps: NamedDependency[TenantCaps],
    dry_run: DryRun = False,
    data: JSONBody[Replay | None] = None,
) -> Response[Execution | Redo]:
    """Run everything again in a new execution, with the same input."""
    version = None if data is None else data.version
    if dry_run:
        return _foreseen(await controls.plan_replay(principal.tenant_id, execution_id, version=version))
    execution = await controls.replay(
        principal.tenant_id,
        execution_id,
        version=version,
        key=effect_key(request, "replay", execution_id),
        traceparent=trace_of(request.scope).traceparent,
    )
    return _started(execution, await tenant_caps.rate(principal.tenant_id))


def _foreseen(redo: Redo) -> Response[Execution | Redo]:
    return Response(redo, status_code=HTTP_200_OK)


def _started(execution: Execution, rate: Rate | None) -> Response[Execution | Redo]:
    structlog.contextvars.bind_contextvars(execution_id=execution.id)
    headers = {"Location": f"/v1/executions/{execution.id}", **rate_headers(rate)}
    return Response(execution, status_code=HTTP_202_ACCEPTED, headers=headers)


ROUTES = [pause_execution, resume_execution, skip_node, retry_execution, rerun_execution, replay_execution]
