"""``/v1/inbound-events``: what webhooks and CloudEvents brought, as it came, to be delivered again."""

from datetime import datetime
from typing import Annotated, Literal

import structlog
from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.status_codes import HTTP_202_ACCEPTED
from msgspec import Meta, Struct

from gateway.auth.permissions import requires
from gateway.auth.principal import Principal
from gateway.idempotency.middleware import effect_key
from gateway.moments import moment
from gateway.rates import PACED, rate_headers
from gateway.routes.pages import Cursor, Limit, Page, position
from gateway.telemetry.trace import trace_of
from gateway.text import PRINTABLE
from user_workflows.admission.tenant_caps import TenantCaps
from user_workflows.executions.views import Execution
from user_workflows.inbox.event import Verdict
from user_workflows.inbox.inbox import InboundEvent, InboundEventDetail, Inbox

OfWorkflow = Annotated[str | None, QueryParameter(name="workflowId", max_length=40, pattern=PRINTABLE)]
OfTrigger = Annotated[str | None, QueryParameter(name="triggerId", max_length=64, pattern=PRINTABLE)]
OfVerdict = Annotated[Verdict | None, QueryParameter(name="verdict", description="what became of it when it came")]
ReceivedAfter = Annotated[datetime | None, QueryParameter(name="receivedAfter", description="RFC 3339, with an offset")]


class Redelivery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    #: what runs: a version by its number, the draft as it is, or what is published
    version: Annotated[int, Meta(ge=1, le=2**31 - 1)] | Literal["draft", "published"] = "published"


@get("/v1/inbound-events", opt=requires("executions.read"))
async def list_inbound_events(
    *,
    principal: NamedDependency[Principal],
    inbox: NamedDependency[Inbox],
    workflow_id: OfWorkflow = None,
    trigger_id: OfTrigger = None,
    verdict: OfVerdict = None,
    received_after: ReceivedAfter = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[InboundEvent]:
    """List what came in, newest first: signed deliveries, and CloudEvents that a trigger listens to."""
    page = await inbox.list(
        principal.tenant_id,
        workflow_id=workflow_id,
        trigger_id=trigger_id,
        verdict=verdict,
        received_after=moment("receivedAfter", received_after),
        limit=limit,
        cursor=position(cursor),
    )
    return Page(items=page.items, next_cursor=page.next_cursor)


@get("/v1/inbound-events/{event_id:str}", opt=requires("executions.read"))
async def show_inbound_event(
    event_id: FromPath[str], principal: NamedDependency[Principal], inbox: NamedDependency[Inbox]
) -> InboundEventDetail:
    """Show an event as it came: headers but those that carry secrets, and the body as text or base64."""
    return await inbox.get(principal.tenant_id, event_id)


@post(
    "/v1/inbound-events/{event_id:str}/redeliver",
    opt=requires("executions.start") | PACED,
    status_code=HTTP_202_ACCEPTED,
)
async def redeliver_inbound_event(
    *,
    request: Request[Principal, Principal, State],
    event_id: FromPath[str],
    principal: NamedDependency[Principal],
    inbox: NamedDependency[Inbox],
    tenant_caps: NamedDependency[TenantCaps],
    data: JSONBody[Redelivery | None] = None,
) -> Response[Execution]:
    """Start a new execution with an event as its trigger: of any version, or of the draft, active or not.

    One that a cap refused is accepted by that: when its sender tries again it is told of this execution.
    """
    execution = await inbox.redeliver(
        principal.tenant_id,
        event_id,
        to=(data or Redelivery()).version,
        key=effect_key(request, "redeliver", event_id),
        traceparent=trace_of(request.scope).traceparent,
    )
    structlog.contextvars.bind_contextvars(execution_id=execution.id)
    rate = await tenant_caps.rate(principal.tenant_id)
    headers = {"Location": f"/v1/executions/{execution.id}", **rate_headers(rate)}
    return Response(execution, status_code=HTTP_202_ACCEPTED, headers=headers)


ROUTES = [list_inbound_events, show_inbound_event, redeliver_inbound_event]
