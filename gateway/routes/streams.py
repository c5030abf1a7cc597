"""Live updates by Server-Sent Events: of one execution, and of all of a tenant."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter
from litestar.response import ServerSentEvent
from litestar.response.sse import ServerSentEventMessage
from msgspec import Meta, Struct

from gateway.audit.middleware import UNAUDITED
from gateway.auth.permissions import requires
from gateway.auth.principal import Principal
from gateway.auth.tickets import Tickets
from gateway.routes.steps import step_body
from user_workflows.errors import FeedUnavailable
from user_workflows.executions.executions import Executions
from user_workflows.live.watch import Notice, Watch

#: milliseconds after which a client that lost its connection comes back
RETRY = 1_000

#: of each comment that keeps the connection open there are several in 15 seconds, as `feed.PATIENCE` says
_HEADERS = {"Cache-Control": "no-store"}

_WATCHABLE = requires("executions.read") | {"takes_ticket": True}

LastEventId = Annotated[
    str | None, HeaderParameter(name="Last-Event-ID", description="`id` of the last event seen: goes on after it")
]
TicketParameter = Annotated[
    str | None, QueryParameter(name="ticket", description="instead of a header, from `POST /v1/stream-tickets`")
]


class TicketRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    #: to watch this one; without it, all of the tenant
    execution_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_]{1,40}$")] | None = None


class TicketBody(Struct, frozen=True, kw_only=True, rename="camel"):
    ticket: str
    expires_at: datetime
    #: where it may be shown, as ``?ticket=``
    path: str


@post("/v1/stream-tickets", opt=requires("executions.read") | UNAUDITED)
async def issue_ticket(
    request: Request[Principal, Principal, State],
    principal: NamedDependency[Principal],
    executions: NamedDependency[Executions],
    tickets: NamedDependency[Tickets],
    data: JSONBody[TicketRequest | None] = None,
) -> TicketBody:
    """Issue a ticket for one stream, good for a minute: a browser's EventSource cannot send a key."""
    path = "/v1/events/stream"
    if data is not None and data.execution_id is not None:
        execution = await executions.get(principal.tenant_id, data.execution_id)
        path = f"/v1/executions/{execution.id}/events"
    issued = await tickets.issue(principal, path)
    return TicketBody(ticket=issued.ticket, expires_at=issued.expires_at, path=path)


@get("/v1/executions/{execution_id:str}/events", opt=_WATCHABLE, media_type="text/event-stream")
async def watch_execution(
    *,
    state: State,
    execution_id: FromPath[str],
    principal: NamedDependency[Principal],
    executions: NamedDependency[Executions],
    watch: NamedDependency[Watch],
    last_event_id: LastEventId = None,
    ticket: TicketParameter = None,
) -> Response[Any]:
    """Tell what happens in an execution, as it happens, until it is closed.

    Events: `snapshot` (`{execution, steps}`; the first one, and whenever events may be missing), `execution` and
    `step`. An output that is large is left out of an event; the steps have it. 204: the client has seen the end.
    """
    tenant_id = principal.tenant_id
    await executions.get(tenant_id, execution_id)
    place, is_complete = await watch.place(tenant_id, last_event_id)
    if is_complete and await watch.knows_the_end(tenant_id, execution_id, place):
        return Response(None, status_code=204, media_type="text/event-stream")
    notices = watch.execution(tenant_id, execution_id, place, is_complete=is_complete)

    async def snapshot(notice: Notice) -> Any:
        steps = await executions.steps(tenant_id, execution_id)
        return {"execution": notice.executions[0], "steps": [step_body(step) for step in steps.items]}

    return _stream(notices, snapshot, state)


@get("/v1/events/stream", opt=_WATCHABLE, media_type="text/event-stream")
async def watch_all(
    *,
    state: State,
    principal: NamedDependency[Principal],
    watch: NamedDependency[Watch],
    last_event_id: LastEventId = None,
    ticket: TicketParameter = None,
) -> Response[Any]:
    """Tell what happens in all executions, as it happens.

    Events: `snapshot` (`{executions}`, the newest 50; the first one, and whenever events may be missing), `execution`
    and `step`.
    """
    place, is_complete = await watch.place(principal.tenant_id, last_event_id)
    notices = watch.tenant(principal.tenant_id, place, is_complete=is_complete)

    async def snapshot(notice: Notice) -> Any:
        return {"executions": notice.executions}

    return _stream(notices, snapshot, state)


def _stream(
    notices: AsyncIterator[Notice], snapshot: Callable[[Notice], Awaitable[Any]], state: State
) -> ServerSentEvent:
    is_stopping: Callable[[], bool] = state.get("is_stopping", lambda: False)

    async def messages() -> AsyncIterator[ServerSentEventMessage]:
        yield ServerSentEventMessage(data=None, retry=RETRY)
        try:
            async for notice in notices:
                if is_stopping():
                    # The client comes back with its last id, to another process.
                    return
                if notice.type == "idle":
                    # The client moves on too: it need not hear again of what is not its own.
                    yield ServerSentEventMessage(data=None, comment="", id=notice.id)
                    continue
                data = await snapshot(notice) if notice.type == "snapshot" else notice.data
                yield ServerSentEventMessage(data=msgspec.json.encode(data), event=notice.type, id=notice.id)
        except FeedUnavailable:
            # The client comes back, and hears then that it has to wait.
            return

    return ServerSentEvent(messages(), headers=_HEADERS)


ROUTES = [issue_ticket, watch_execution, watch_all]
