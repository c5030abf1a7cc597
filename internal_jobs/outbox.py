"""The relay's half of the table `jobs`: what may be published, and what was published in vain."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, bindparam, exists, func, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from internal_jobs.clock import moment
from internal_jobs.jobs import QUEUES, Publication, Queue
from internal_jobs.table import BACKLOG, RIPENING, WINDOW, jobs
from internal_jobs.turns import take_turns
from plugins.storage.database import Database

#: One relay dispatches at a time, so that window and turns are those of the whole installation.
_LOCK = text("SELECT pg_advisory_xact_lock(7305437)")

#: The tenants with a backlog, each found by one look into the index however long the backlog is.
_TENANTS = text(
    f"""
    WITH RECURSIVE waiting (tenant_id) AS (
        SELECT min(tenant_id) FROM jobs WHERE {BACKLOG} AND queue = :queue AND tenant_id > :after
        UNION ALL
        SELECT (SELECT min(tenant_id) FROM jobs WHERE {BACKLOG} AND queue = :queue AND tenant_id > waiting.tenant_id)
        FROM waiting WHERE waiting.tenant_id IS NOT NULL
    )
    SELECT tenant_id FROM waiting WHERE tenant_id IS NOT NULL LIMIT :limit
    """  # noqa: S608 - a condition of our own
).bindparams(bindparam("queue"), bindparam("after"), bindparam("limit"))

_PUBLICATION = (jobs.c.tenant_id, jobs.c.id, jobs.c.queue, jobs.c.sequence)


class Outlook(Struct, frozen=True):
    """What a relay has to do."""

    #: queues with a backlog and room in their window
    queues: tuple[Queue, ...]
    #: seconds until the next delayed or failed job is due; not above zero when one is
    due_in: float | None

    @property
    def ripe(self) -> bool:
        return self.due_in is not None and self.due_in <= 0

    @property
    def ready(self) -> bool:
        """Whether something can be published now."""
        return self.ripe or bool(self.queues)


#: To be taken as: anything may have happened.
EVERYTHING = Outlook(QUEUES, 0.0)


class Outbox:
    """Moves jobs from the backlog into the window, tenants taking turns.

    Args:
        database: where the jobs are.
        window: jobs of one queue that are published and not begun. Enough to keep workers busy, and no more: what is
            in the window is past all fairness.
    """

    def __init__(self, database: Database, *, window: int) -> None:
        self._database = database
        self._window = window
        # While this much of the window is still filled nobody starves, and refilling can wait for a larger batch.
        self._refill_at = window - max(1, window // 3)
        self._last_served: dict[Queue, str] = {}

    async def outlook(self) -> Outlook:
        """Look, without writing, whether `take` has anything to do."""
        looks: list[ColumnElement[Any]] = [
            select(func.min(jobs.c.available_at)).where(RIPENING).scalar_subquery(),
            moment(self._database),
        ]
        for queue in QUEUES:
            looks.append(exists().where(BACKLOG, jobs.c.queue == queue))
            looks.append(select(func.count()).where(WINDOW, jobs.c.queue == queue).scalar_subquery())
        async with self._database.read() as connection:
            due_at, present, *queues = (await connection.execute(select(*looks))).one()
        due_in = None if due_at is None else (due_at - present).total_seconds()
        found = zip(QUEUES, queues[::2], queues[1::2], strict=True)
        return Outlook(tuple(queue for queue, waits, held in found if waits and held <= self._refill_at), due_in)

    async def take(self, outlook: Outlook = EVERYTHING) -> list[Publication]:
        """Move what is due into the window, in one transaction, and return what must now be given to Redis."""
        ripen = (
            update(jobs)
            .where(RIPENING, jobs.c.available_at <= moment(self._database))
            .values(status="queued", published_at=None)
        )
        taken: list[Publication] = []
        async with self._database.transaction() as connection:
            if not self._database.is_sqlite:
                await connection.execute(_LOCK)
            if outlook.ripe:
                await connection.execute(ripen)
            for queue in QUEUES if outlook.ripe else outlook.queues:
                taken += await self._take_from(connection, queue)
        return taken

    async def give_back(self, publications: Sequence[Publication]) -> int:
        """Put publications that did not reach a worker back into the backlog; return how many were still waiting."""
        if not publications:
            return 0
        keys = [(one.tenant_id, one.job_id, one.sequence) for one in publications]
        back = (
            update(jobs)
            .where(tuple_(jobs.c.tenant_id, jobs.c.id, jobs.c.sequence).in_(keys), WINDOW)
            .values(published_at=None)
        )
        async with self._database.transaction() as connection:
            return (await connection.execute(back)).rowcount

    async def published_before(self, seconds: float, limit: int = 500) -> list[Publication]:
        """Return what has been in the window for at least `seconds`."""
        query = select(*_PUBLICATION).where(WINDOW, jobs.c.published_at < moment(self._database, -seconds)).limit(limit)
        async with self._database.read() as connection:
            return [Publication(*row) for row in await connection.execute(query)]

    async def _take_from(self, connection: AsyncConnection, queue: Queue) -> list[Publication]:
        in_window = await self._in_window(connection, queue)
        free = self._window - sum(in_window.values())
        if free <= 0:
            return []
        tenants = await self._tenants_in_turn(connection, queue, free)
        keys: list[tuple[str, str]] = []
        for tenant_id, share in take_turns(tenants, in_window, free).items():
            oldest = (
                select(jobs.c.tenant_id, jobs.c.id)
                .where(BACKLOG, jobs.c.queue == queue, jobs.c.tenant_id == tenant_id)
                .order_by(jobs.c.available_at, jobs.c.id)
                .limit(share)
            )
            keys += [tuple(row) for row in await connection.execute(oldest)]
            self._last_served[queue] = tenant_id
        if not keys:
            return []
        publish = (
            update(jobs)
            .where(tuple_(jobs.c.tenant_id, jobs.c.id).in_(keys), BACKLOG)
            .values(published_at=moment(self._database), sequence=jobs.c.sequence + 1)
            .returning(*_PUBLICATION)
        )
        published = {(row[0], row[1]): Publication(*row) for row in await connection.execute(publish)}
        return [published[key] for key in keys if key in published]

    async def _tenants_in_turn(self, connection: AsyncConnection, queue: Queue, limit: int) -> list[str]:
        """Return up to `limit` tenants with a backlog, beginning after the one served last."""
        last = self._last_served.get(queue, "")
        after = list((await connection.execute(_TENANTS, {"queue": queue, "after": last, "limit": limit})).scalars())
        if not last or len(after) == limit:
            return after
        around = (await connection.execute(_TENANTS, {"queue": queue, "after": "", "limit": limit})).scalars()
        return after + [tenant for tenant in around if tenant <= last][: limit - len(after)]

    async def _in_window(self, connection: AsyncConnection, queue: Queue) -> dict[str, int]:
        count: ColumnElement[int] = func.count()
        query = select(jobs.c.tenant_id, count).where(WINDOW, jobs.c.queue == queue).group_by(jobs.c.tenant_id)
        return {row[0]: row[1] for row in await connection.execute(query)}
