"""Writes every action of a principal to the audit trail, before it is done and after."""

from typing import Any

import msgspec
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.status_codes import HTTP_201_CREATED, HTTP_202_ACCEPTED
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from msgspec import Struct

from gateway.audit.acting import Answered, on_the_trail
from gateway.audit.trail import Trail
from gateway.auth.principal import Principal
from gateway.telemetry.trace import trace_of

#: for routes whose effect is a record that says as much, its actor too, and which are called too often to be written
#: down twice
UNAUDITED: dict[str, Any] = {"audited": False}

_READS = frozenset({"GET", "HEAD", "OPTIONS"})


class Audited(ASGIMiddleware):
    """Lets nothing be done that is not on the trail. Its place is the innermost: an answer repeated is no action."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        handler = scope["route_handler"]
        if (
            scope["type"] != ScopeType.HTTP
            or scope["method"] in _READS
            or "auth" not in scope
            or not handler.opt.get("audited", True)
        ):
            await next_app(scope, receive, send)
            return
        trail: Trail = scope["litestar_app"].state.platform.trail
        principal: Principal = scope["auth"]
        ids = [str(value) for name, value in scope["path_params"].items() if name.endswith("_id")]
        acting = on_the_trail(
            trail,
            principal,
            action=handler.handler_name,
            path=scope["path"],
            object_id=ids[0] if ids else None,
            trace_id=trace_of(scope).trace_id,
        )
        async with acting as answered:
            await next_app(scope, receive, _noting(send, answered))


class _Made(Struct):
    """All that the trail wants of an answer."""

    id: str | None = None


_decode = msgspec.json.Decoder(_Made).decode


def _noting(send: Send, answered: Answered) -> Send:
    """Pass an answer on, and keep what the trail is to know of it."""

    async def send_noting(message: Message) -> None:
        if message["type"] == "http.response.start":
            answered.status = message["status"]
        elif message["type"] == "http.response.body" and answered.status in (HTTP_201_CREATED, HTTP_202_ACCEPTED):
            answered.made_id = answered.made_id or _id_in(message["body"])
        await send(message)

    return send_noting


def _id_in(body: bytes) -> str | None:
    try:
        return _decode(body).id
    except msgspec.DecodeError:
        return None
