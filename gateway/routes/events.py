"""``/v1/events``: CloudEvents, each of which may start any number of workflows."""

from dataclasses import dataclass

from litestar import Request, Response, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.status_codes import HTTP_202_ACCEPTED
from msgspec import Struct

from gateway.audit.middleware import UNAUDITED
from gateway.auth.permissions import requires
from gateway.auth.principal import Principal
from gateway.cloudevents import BATCH, MAX_EVENTS, STRUCTURED, read_events
from gateway.rates import PACED, rate_headers
from gateway.telemetry.trace import trace_of
from user_workflows.interpreter.messages import ExecutionStatus
from user_workflows.triggers.events import Events


class StartedByEvent(Struct, frozen=True, kw_only=True, rename="camel"):
    id: str
    workflow_id: str
    trigger_id: str
    #: the `id` of the event
    event_id: str
    status: ExecutionStatus


class Taken(Struct, frozen=True):
    """What the events stand for, in their order: executions that they start, or have started before."""

    executions: list[StartedByEvent]


@dataclass
class _Operation(Operation):
    """The body is read here, and not by the framework, which would describe none."""

    def __post_init__(self) -> None:
        text = Schema(type=OpenAPIType.STRING, min_length=1)
        attributes = {"specversion": Schema(const="1.0"), "id": text, "source": text, "type": text}
        event = Schema(type=OpenAPIType.OBJECT, required=list(attributes), properties=dict(attributes))
        batch = Schema(type=OpenAPIType.ARRAY, items=event, max_items=MAX_EVENTS)
        content = {STRUCTURED: OpenAPIMediaType(schema=event), BATCH: OpenAPIMediaType(schema=batch)}
        self.request_body = RequestBody(content=content, required=True)


@post(
    "/v1/events",
    opt=requires("executions.start") | UNAUDITED | PACED,
    status_code=HTTP_202_ACCEPTED,
    operation_class=_Operation,
)
async def receive_events(
    request: Request[Principal, Principal, State],
    principal: NamedDependency[Principal],
    events: NamedDependency[Events],
) -> Response[Taken]:
    """Start every active workflow that listens to these CloudEvents (1.0: binary, structured or batched).

    One that comes again, by its source and id, starts nothing more.
    """
    received = read_events(dict(request.headers), await request.body())
    traceparent = trace_of(request.scope).traceparent
    receipt = await events.receive(principal.tenant_id, received, actor=principal.id, traceparent=traceparent)
    taken = Taken(
        [
            StartedByEvent(
                id=each.execution.id,
                workflow_id=each.execution.workflow_id,
                trigger_id=each.trigger_id,
                event_id=received[each.event]["id"],
                status=each.execution.status,
            )
            for each in receipt.started
        ]
    )
    return Response(taken, headers=rate_headers(receipt.rate))


ROUTES = [receive_events]
