"""Probes, and the figures of this process."""

import asyncio
from typing import Literal

from litestar import Response, get
from litestar.di import NamedDependency
from msgspec import Struct
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway.auth.permissions import PUBLIC, requires
from gateway.compose import Probe, Probes

#: seconds that a part has to answer a probe
PATIENCE = 2.0

State = Literal["ok", "down"]


class Health(Struct, frozen=True):
    #: `degraded`: something is down that the API can do without for a while
    status: Literal["ok", "degraded", "down"]
    parts: dict[str, State] = {}


@get("/health/live", opt=requires(PUBLIC))
async def live() -> Health:
    """Say that the process answers."""
    return Health("ok")


@get("/health/ready", opt=requires(PUBLIC))
async def ready(probes: NamedDependency[Probes]) -> Response[Health]:
    """Say which parts answer: 503 when nothing can be accepted, 200 when something can."""
    states = await asyncio.gather(*(_ask(probe) for probe in probes.values()))
    parts = dict(zip(probes, states, strict=True))
    if parts["database"] == "down":
        return Response(Health("down", parts), status_code=503)
    return Response(Health("ok" if set(states) == {"ok"} else "degraded", parts))


@get("/metrics", opt=requires(PUBLIC), media_type=CONTENT_TYPE_LATEST)
async def show_metrics() -> Response[bytes]:
    """Show this process's figures in Prometheus' text format."""
    return Response(generate_latest())


async def _ask(probe: Probe) -> State:
    try:
        await asyncio.wait_for(probe(), PATIENCE)
    except Exception:  # whatever keeps a part from answering, it is down
        return "down"
    return "ok"


ROUTES = [live, ready, show_metrics]
