"""Probes, and the figures of this process."""

import asyncio
from collections.abc import Awaitable
from typing import Literal

from litestar import Response, get
from litestar.di import NamedDependency
from msgspec import Struct
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from redis.asyncio import Redis
from sqlalchemy import text

from gateway.auth.permissions import PUBLIC, requires
from plugins.storage.database import Database

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
async def ready(database: NamedDependency[Database], redis: NamedDependency[Redis]) -> Response[Health]:
    """Say which parts answer: 503 when requests cannot be served, 200 when they can, if in part."""
    names = ("database", "redis")
    states = await asyncio.gather(_probe(_ask_database(database)), _probe(redis.ping()))
    parts = dict(zip(names, states, strict=True))
    if parts["database"] == "down":
        return Response(Health("down", parts), status_code=503)
    return Response(Health("ok" if set(states) == {"ok"} else "degraded", parts))


@get("/metrics", opt=requires(PUBLIC))
async def show_metrics() -> Response[bytes]:
    """Show this process's figures in Prometheus' text format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _ask_database(database: Database) -> None:
    async with database.read() as connection:
        await connection.execute(text("SELECT 1"))


async def _probe(question: Awaitable[object]) -> State:
    try:
        await asyncio.wait_for(question, PATIENCE)
    except Exception:  # whatever keeps a part from answering, it is down
        return "down"
    return "ok"


ROUTES = [live, ready, show_metrics]
