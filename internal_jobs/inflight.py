"""What is in flight: published and not begun, or running. A few hundred jobs, however long the backlog is."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Boolean, Select, func, literal, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from internal_jobs.jobs import Queue
from internal_jobs.table import LEASED, WINDOW, jobs

_WHAT = (jobs.c.queue, jobs.c.tenant_id, jobs.c.type, jobs.c.destination, jobs.c.express)


class InFlight(Struct, frozen=True):
    """So many jobs of one kind."""

    queue: Queue
    tenant_id: str
    type: str
    destination: str | None
    express: bool
    is_running: bool
    count: int


def _some(condition: Any, *, is_running: bool) -> Select[Any]:
    query = select(*_WHAT, literal(is_running, Boolean), func.count()).where(condition)
    return query.group_by(*_WHAT)


# Apart, so that each is answered from the partial index of its condition.
_ALL = union_all(_some(WINDOW, is_running=False), _some(LEASED, is_running=True))


async def in_flight(connection: AsyncConnection) -> Sequence[InFlight]:
    return [InFlight(*row) for row in await connection.execute(_ALL)]
