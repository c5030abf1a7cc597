"""What surrounds every request, the refused and unroutable ones too: its trace, its figures, its log line."""

import time

import structlog
from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from gateway.telemetry import metrics
from gateway.telemetry.trace import continue_trace

log = structlog.get_logger("gateway.access")

#: asked every few seconds by machines: not worth a line at the usual level
_QUIET = frozenset({"/health/live", "/health/ready", "/metrics"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Observed:
    """An ASGI application whose every request is traced, counted, timed and logged."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        headers = MutableScopeHeaders(scope)
        trace = continue_trace(headers.get("traceparent"))
        scope["trace"] = trace  # type: ignore[typeddict-unknown-key]  # ASGI lets a server add keys of its own
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(trace_id=trace.trace_id)
        status = 500
        began = time.perf_counter()

        async def send_traced(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableScopeHeaders.from_message(message)["traceparent"] = trace.traceparent
            await send(message)

        metrics.IN_PROGRESS.inc()
        try:
            await self._app(scope, receive, send_traced)
        finally:
            metrics.IN_PROGRESS.dec()
            self._record(scope, status, time.perf_counter() - began)

    @staticmethod
    def _record(scope: Scope, status: int, seconds: float) -> None:
        # Labels come from our own tables, never from the caller: series must stay few.
        route = scope.get("path_template") or "unmatched"
        method = scope["method"] if scope["method"] in _METHODS else "other"  # type: ignore[typeddict-item]  # HTTP only
        metrics.REQUESTS.labels(method, route, str(status)).inc()
        metrics.SECONDS.labels(method, route).observe(seconds)
        record = log.debug if route in _QUIET else log.info
        record("request.answered", method=method, route=route, status=status, ms=round(seconds * 1000, 1))
