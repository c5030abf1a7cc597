"""Identifiers in paths: what cannot be one names nothing, and never reaches a database."""

import re

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.errors import Absent

_FORM = re.compile(r"[A-Za-z0-9._~-]{1,200}")
_MOST = 2**31 - 1


class WellFormedPath(ASGIMiddleware):
    """Answers a path with a malformed identifier as it answers one with an unknown identifier."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        for value in scope["path_params"].values():
            if not _FORM.fullmatch(value) if isinstance(value, str) else not 0 <= value <= _MOST:
                raise Absent("There is nothing under this path.")
        await next_app(scope, receive, send)
