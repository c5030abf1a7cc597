"""What surrounds every request, the refused and unroutable ones too: its trace, its figures, its log line."""

import time
from functools import lru_cache

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import Counter, Histogram

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
        trace = continue_trace(_traceparent(scope))
        scope["trace"] = trace  # type: ignore[typeddict-unknown-key]  # ASGI lets a server add keys of its own
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(trace_id=trace.trace_id)
        status = 500
        began = time.perf_counter()

        async def send_traced(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"traceparent", trace.traceparent.encode())]
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
        _answered(method, route, status).inc()
        _took(method, route).observe(seconds)
        record = log.debug if route in _QUIET else log.info
        record("request.answered", method=method, route=route, status=status, ms=round(seconds * 1000, 1))


def _traceparent(scope: Scope) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"), None)


# Each is looked up among all series, under a lock, when it is asked for by its labels.
@lru_cache(maxsize=4_096)
def _answered(method: str, route: str, status: int) -> Counter:
    return metrics.REQUESTS.labels(method, route, str(status))


@lru_cache(maxsize=1_024)
def _took(method: str, route: str) -> Histogram:
    return metrics.SECONDS.labels(method, route)
