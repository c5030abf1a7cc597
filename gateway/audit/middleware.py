"""Writes every action of a principal to the audit trail, before it is done and after."""

from typing import Any

import msgspec
import structlog
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.status_codes import HTTP_201_CREATED, HTTP_202_ACCEPTED
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from msgspec import Struct
from sqlalchemy.exc import SQLAlchemyError

from gateway.audit.trail import Trail
from gateway.auth.principal import Principal
from gateway.problems import KINDS, describe
from gateway.telemetry.trace import trace_of

log = structlog.get_logger(__name__)

#: for routes whose effect is a record that says as much, and which are called too often to be written down twice
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
        record_id = await trail.begin(
            principal,
            action=handler.handler_name,
            path=scope["path"],
            object_id=ids[0] if ids else None,
            trace_id=trace_of(scope).trace_id,
        )
        answer = _Answer(send)
        try:
            await next_app(scope, receive, answer.send)
        except Exception as error:
            answer.status = KINDS[describe(error).kind][0]
            raise
        finally:
            await _conclude(trail, principal, record_id, answer)


class _Made(Struct):
    """All that the trail wants of an answer."""

    id: str | None = None


_decode = msgspec.json.Decoder(_Made).decode


class _Answer:
    """Passes an answer on, and keeps what the trail is to know of it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 500
        self.made_id: str | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body" and self.status in (HTTP_201_CREATED, HTTP_202_ACCEPTED):
            self.made_id = self.made_id or _id_in(message["body"])
        await self._send(message)


def _id_in(body: bytes) -> str | None:
    try:
        return _decode(body).id
    except msgspec.DecodeError:
        return None


async def _conclude(trail: Trail, principal: Principal, record_id: str, answer: _Answer) -> None:
    try:
        await trail.conclude(principal, record_id, status=answer.status, made_id=answer.made_id)
    except (SQLAlchemyError, OSError) as error:
        # It is done, and was written down before; that its outcome is not known is what the trail then says.
        log.warning("audit.notConcluded", record_id=record_id, error=type(error).__name__)
