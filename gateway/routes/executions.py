"""``/v1/executions``: started, waited for, looked at and stopped."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import structlog
from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK, HTTP_202_ACCEPTED
from msgspec import Meta, Struct, structs

from gateway.audit.middleware import UNAUDITED
from gateway.auth.permissions import requires
from gateway.auth.principal import Principal
from gateway.body import NoFields
from gateway.errors import BadRequest, BodyFault, InvalidBody
from gateway.idempotency.middleware import effect_key, read_key, scoped_key
from gateway.moments import moment
from gateway.rates import PACED, rate_headers
from gateway.routes.dry_run import DryRun
from gateway.routes.pages import Cursor, Limit, Page, position
from gateway.telemetry.trace import trace_of
from gateway.text import PRINTABLE, Filter
from internal_jobs.jobs import Tag
from plugins.host.retry import Duration
from plugins.sdk.duration import parse_duration
from user_workflows.errors import NotFound
from user_workflows.executions.beginnings import StartRequest
from user_workflows.executions.executions import Executions
from user_workflows.executions.views import Execution
from user_workflows.interpreter.messages import ExecutionStatus, TriggerCall
from user_workflows.rehearsal.rehearsals import Rehearsal, Rehearsals
from user_workflows.workflows.workflows import Workflows

#: the longest that a start waits for the end, in seconds
MAX_WAIT = 60.0
MAX_BATCH = 1_000

WorkflowFilter = Annotated[str | None, QueryParameter(name="workflowId", max_length=40, pattern=PRINTABLE)]
StartedAfter = Annotated[datetime | None, QueryParameter(name="startedAfter", description="RFC 3339, with an offset")]

Draft = Annotated[
    bool, QueryParameter(name="draft", description="with dryRun: the draft, instead of a published version")
]

_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?(?=$|[,;\s])", re.IGNORECASE)


class Start(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    #: what expressions see as ``trigger``, and ``input`` at roots
    input: Any = None
    #: instead of the published one
    version: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    tags: Annotated[tuple[Tag, ...], Meta(max_length=20)] = ()
    delay: Duration | None = None
    #: starts one execution however often it is sent, as ``Idempotency-Key`` does
    key: Annotated[str, Meta(min_length=1, max_length=255, pattern=PRINTABLE)] | None = None


class StartOrRehearse(Start, frozen=True, kw_only=True, forbid_unknown_fields=True):
    #: with dryRun: node → the output that it is to come to, whatever is drawn
    pins: dict[str, Any] | None = None


class Batch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    items: Annotated[list[Start], Meta(min_length=1, max_length=MAX_BATCH)]


class Started(Struct, frozen=True):
    id: str
    status: ExecutionStatus


class StartedBatch(Struct, frozen=True):
    """In the order of the request."""

    items: list[Started]


class Signal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=100)]
    payload: Any = None


#: a union, which the framework takes although its types do not say so
_WAITED_FOR: Any = Execution | Rehearsal


@post(
    "/v1/workflows/{workflow_id:str}/executions",
    opt=requires("executions.start") | UNAUDITED | PACED,
    status_code=HTTP_202_ACCEPTED,
    responses={
        HTTP_200_OK: ResponseSpec(
            _WAITED_FOR,
            description="With `Prefer: wait`: it has ended. With `dryRun`: what it would have come to.",
        )
    },
)
async def start_execution(
    *,
    request: Request[Principal, Principal, State],
    workflow_id: FromPath[str],
    principal: NamedDependency[Principal],
    executions: NamedDependency[Executions],
    rehearsals: NamedDependency[Rehearsals],
    dry_run: DryRun = False,
    draft: Draft = False,
    data: JSONBody[StartOrRehearse | None] = None,
) -> Response[Execution | Rehearsal]:
    """Start an execution; with ``Prefer: wait=N`` answer with its end when it comes in time.

    With ``dryRun=true`` walk the workflow and start nothing: no plugin is called but pure ones. What would act or read
    comes to its pinned output, by ``pins`` or by the definition, or to one made from its schema.
    """
    start = data or StartOrRehearse()
    if dry_run:
        return Response(await _rehearse(rehearsals, principal, workflow_id, start, draft), status_code=HTTP_200_OK)
    if draft:
        raise _draft_misused("belongs to a dry run; publish the draft to start it")
    if start.pins is not None:
        detail = "belong to a dry run: an execution makes its outputs itself"
        raise BadRequest(f"The pins {detail}.", errors=[BodyFault("/pins", detail)])
    # The workflow is part of the key: one that was used with another workflow is another one.
    asked = _request(request, workflow_id, start, effect_key(request, workflow_id))
    launch = await executions.launch(principal.tenant_id, [structs.replace(asked, is_urgent=True)])
    (execution,) = launch.executions
    structlog.contextvars.bind_contextvars(execution_id=execution.id)
    headers = {"Location": f"/v1/executions/{execution.id}", **rate_headers(launch.rate)}
    wait = preferred_wait(request.headers.getall("prefer", []))
    if wait is None:
        return Response(execution, status_code=HTTP_202_ACCEPTED, headers=headers)
    execution = await executions.wait(principal.tenant_id, execution.id, wait)
    status = HTTP_200_OK if execution.is_closed else HTTP_202_ACCEPTED
    return Response(execution, status_code=status, headers=headers | {"Preference-Applied": f"wait={wait:.0f}"})


@post(
    "/v1/workflows/{workflow_id:str}/executions/batch",
    opt=requires("executions.start") | UNAUDITED | PACED,
    status_code=HTTP_202_ACCEPTED,
)
async def start_batch(
    *,
    request: Request[Principal, Principal, State],
    workflow_id: FromPath[str],
    data: JSONBody[Batch],
    principal: NamedDependency[Principal],
    workflows: NamedDependency[Workflows],
    executions: NamedDependency[Executions],
) -> Response[StartedBatch]:
    """Start up to 1,000 executions, all of them or none."""
    await _refuse_unknown_versions(workflows, principal.tenant_id, workflow_id, data.items)
    key = read_key(request)
    launch = await executions.launch(
        principal.tenant_id,
        [
            _request(
                request,
                workflow_id,
                item,
                None if key is None else scoped_key("batch", workflow_id, str(index), key),
            )
            for index, item in enumerate(data.items)
        ],
    )
    started = StartedBatch([Started(execution.id, execution.status) for execution in launch.executions])
    return Response(started, headers=rate_headers(launch.rate))


@get("/v1/executions", opt=requires("executions.read"))
async def list_executions(
    *,
    principal: NamedDependency[Principal],
    executions: NamedDependency[Executions],
    workflow_id: WorkflowFilter = None,
    status: FromQuery[ExecutionStatus | None] = None,
    tag: Filter = None,
    started_after: StartedAfter = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Execution]:
    """List executions, newest first."""
    page = await executions.list(
        principal.tenant_id,
        workflow_id=workflow_id,
        status=status,
        tag=tag,
        started_after=moment("startedAfter", started_after),
        limit=limit,
        cursor=position(cursor),
    )
    return Page(items=page.items, next_cursor=page.next_cursor)


@get("/v1/executions/{execution_id:str}", opt=requires("executions.read"))
async def show_execution(
    execution_id: FromPath[str], principal: NamedDependency[Principal], executions: NamedDependency[Executions]
) -> Execution:
    """Show an execution."""
    return await executions.get(principal.tenant_id, execution_id)


class CancelRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    #: undo what has completed, by the `compensate` actions of its nodes
    compensate: bool = False


@post("/v1/executions/{execution_id:str}/cancel", opt=requires("executions.control"), status_code=HTTP_202_ACCEPTED)
async def cancel_execution(
    execution_id: FromPath[str],
    principal: NamedDependency[Principal],
    executions: NamedDependency[Executions],
    data: JSONBody[CancelRequest | None] = None,
) -> Execution:
    """Ask an execution to stop; it is ``canceled`` when its running steps have acknowledged."""
    await executions.cancel(principal.tenant_id, execution_id, compensate=data is not None and data.compensate)
    return await executions.get(principal.tenant_id, execution_id)


@post("/v1/executions/{execution_id:str}/terminate", opt=requires("executions.control"), status_code=HTTP_202_ACCEPTED)
async def terminate_execution(
    execution_id: FromPath[str],
    principal: NamedDependency[Principal],
    executions: NamedDependency[Executions],
    data: JSONBody[NoFields | None] = None,
) -> Execution:
    """End an execution at once."""
    await executions.terminate(principal.tenant_id, execution_id)
    return await executions.get(principal.tenant_id, execution_id)


@post("/v1/executions/{execution_id:str}/signal", opt=requires("executions.control"), status_code=HTTP_202_ACCEPTED)
async def signal_execution(
    execution_id: FromPath[str],
    data: JSONBody[Signal],
    principal: NamedDependency[Principal],
    executions: NamedDependency[Executions],
) -> Execution:
    """Send a signal; it is kept until a node awaits it."""
    await executions.signal(principal.tenant_id, execution_id, data.name, data.payload)
    return await executions.get(principal.tenant_id, execution_id)


def _request(
    request: Request[Principal, Principal, State], workflow_id: str, start: Start, key: str | None
) -> StartRequest:
    """Return what a body asks for, under its own key or that of the request."""
    return StartRequest(
        workflow_id=workflow_id,
        trigger=TriggerCall(type="manual", payload=start.input, traceparent=trace_of(request.scope).traceparent),
        actor=request.auth.id,
        version=start.version,
        tags=start.tags,
        delay=None if start.delay is None else parse_duration(start.delay),
        key=key if start.key is None else scoped_key(workflow_id, start.key),
    )


async def _rehearse(
    rehearsals: Rehearsals, principal: Principal, workflow_id: str, start: StartOrRehearse, draft: bool
) -> Rehearsal:
    pins = start.pins or {}
    if not draft:
        return await rehearsals.version(principal.tenant_id, workflow_id, start.version, start.input, pins)
    if start.version is not None:
        raise _draft_misused("has no version; leave one of them out")
    return await rehearsals.draft(principal.tenant_id, workflow_id, start.input, pins)


def _draft_misused(detail: str) -> BadRequest:
    return BadRequest(f"The parameter draft {detail}.", errors=[BodyFault("draft", detail)])


async def _refuse_unknown_versions(
    workflows: Workflows, tenant_id: str, workflow_id: str, items: Sequence[Start]
) -> None:
    unknown = set()
    for version in {item.version for item in items}:
        try:
            await workflows.plan(tenant_id, workflow_id, version)
        except NotFound as error:
            if error.what != "version":
                raise
            unknown.add(version)
    faults = [
        BodyFault(f"/items/{index}/version", f"there is no version {item.version} of this workflow")
        for index, item in enumerate(items)
        if item.version in unknown
    ]
    if faults:
        raise InvalidBody("Some of the items name versions that do not exist; nothing was started.", errors=faults)


def preferred_wait(prefer: Sequence[str]) -> float | None:
    """Return the seconds of ``Prefer: wait=N`` (RFC 7240), at most `MAX_WAIT`."""
    match = _WAIT.search(",".join(prefer))
    return None if match is None else min(float(match.group(1)), MAX_WAIT)


ROUTES = [
    start_execution,
    start_batch,
    list_executions,
    show_execution,
    cancel_execution,
    terminate_execution,
    signal_execution,
]
