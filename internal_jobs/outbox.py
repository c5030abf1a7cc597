"""The relay's half of the table `jobs`: what may be published, and what was published in vain."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field, structs
from sqlalchemy import ColumnElement, bindparam, exists, func, not_, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from internal_jobs.allowances import Allowances
from internal_jobs.inflight import InFlight, in_flight
from internal_jobs.jobs import QUEUES, Publication, Queue
from internal_jobs.limits import limits_at, read_allowances, store_spent
from internal_jobs.places import Places
from internal_jobs.table import BACKLOG, RIPENING, WINDOW, YIELDS_KEY, jobs
from internal_jobs.tickets import Ticket, among, listed, listing
from internal_jobs.turns import take_turns
from internal_jobs.wake import SOON
from plugins.storage.clock import moment
from plugins.storage.database import Database

#: One relay dispatches at a time, so that window and turns are those of the whole installation.
_LOCK = text("SELECT pg_advisory_xact_lock(7305437)")

_NEXT_TENANT = (
    f"SELECT tenant_id FROM jobs WHERE {BACKLOG} AND queue = :queue AND tenant_id > {{after}}"  # noqa: S608
    " ORDER BY tenant_id, available_at, id LIMIT 1"
)
#: The tenants with a backlog, each found by one look into the index however long the backlog is.
_TENANTS = text(
    f"""
    WITH RECURSIVE waiting (tenant_id) AS (
        SELECT ({_NEXT_TENANT.format(after=":after")})
        UNION ALL
        SELECT ({_NEXT_TENANT.format(after="waiting.tenant_id")})
        FROM waiting WHERE waiting.tenant_id IS NOT NULL
    )
    SELECT tenant_id FROM waiting WHERE tenant_id IS NOT NULL LIMIT :limit
    """  # noqa: S608 - a condition of our own
).bindparams(bindparam("queue"), bindparam("after"), bindparam("limit"))

_PUBLICATION = (jobs.c.tenant_id, jobs.c.id, jobs.c.queue, jobs.c.sequence, jobs.c.express)

#: that of its index, within a queue
_BACKLOG_ORDER = (jobs.c.tenant_id, jobs.c.available_at, jobs.c.id)

_predecessor = jobs.alias("predecessor")
_KEY_IS_FREE = or_(
    jobs.c.singleton_key.is_(None),
    not_(
        exists().where(
            _predecessor.c.tenant_id == jobs.c.tenant_id,
            _predecessor.c.yielded_key == jobs.c.singleton_key,
            # Without a name before its columns: those of the table next to it, which is the predecessor.
            YIELDS_KEY,
        )
    ),
)

#: The oldest jobs of a tenant that nothing holds back but limits.
_OLDEST = (
    select(jobs.c.id, jobs.c.sequence, jobs.c.type, jobs.c.destination)
    .where(BACKLOG, jobs.c.queue == bindparam("of_queue"), jobs.c.tenant_id == bindparam("of_tenant"), _KEY_IS_FREE)
    .order_by(jobs.c.available_at, jobs.c.id)
    .limit(bindparam("most"))
)

#: Tenants that one pass looks at: enough to fill any window even when limits hold most of them back.
_LINE = 100


class Outlook(Struct, frozen=True):
    """What a relay has to do."""

    #: queues with a backlog and room in their window, or in their express lane for somebody who waits
    queues: tuple[Queue, ...]
    #: seconds until the next delayed or failed job is due, if it is soon; not above zero when it is due
    due_in: float | None
    #: queues with a backlog and hardly any room in their window → what that holds
    crowded: dict[Queue, int] = field(default_factory=dict)
    #: of what a window holds, what workers have fetched already: it waits no more
    fetched: dict[Queue, int] = field(default_factory=dict)

    @property
    def ripe(self) -> bool:
        return self.due_in is not None and self.due_in <= 0

    @property
    def ready(self) -> bool:
        """Whether something can be published now."""
        return self.ripe or bool(self.queues)


class Taken(Struct, frozen=True):
    """What entered the window."""

    #: must now be given to Redis
    publications: list[Publication]
    #: seconds until a rate limit lets another job through; ``None``: none holds anything back
    again_in: float | None = None


#: To be taken as: anything may have happened.
EVERYTHING = Outlook(QUEUES, 0.0)


class Outbox:
    """Moves jobs from the backlog into the window, tenants taking turns, as far as limits allow.

    Args:
        database: where the jobs are.
        window: jobs of one queue that are published and wait, at least. Enough to keep workers busy, and no more: what
            is in the window is past all fairness.
        express: the same for the express lane of a queue, which only tenants with fewer jobs in flight take.
    """

    def __init__(self, database: Database, *, window: int, express: int = 0) -> None:
        self._database = database
        self._least = self._window = window
        self._express = express
        self._statements = _Statements(database)
        self._last_served: dict[Queue, str] = {}
        #: whether there were limits when it last took something
        self.is_limited = False

    @property
    def batch(self) -> int:
        """Jobs that fill the window again: while the rest of it waits nobody starves, and a large batch costs less."""
        return max(1, self._window // 2)

    @property
    def _refill_at(self) -> int:
        return self._window - self.batch

    def keep_up(self, pace: int) -> None:
        """Let a window hold as many jobs as begin while one is filled, where that is more than it holds at least."""
        self._window = max(self._least, pace)

    async def outlook(self) -> Outlook:
        """Look, without writing, whether `take` has anything to do."""
        async with self._database.across.read() as connection:
            due_at, present, *queues = (await connection.execute(self._statements.look)).one()
            found = dict(zip(QUEUES, zip(queues[::2], queues[1::2], strict=True), strict=True))
            ready = [queue for queue, (waits, held) in found.items() if waits and held <= self._refill_at]
            crowded = {queue: held for queue, (waits, held) in found.items() if waits and held > self._refill_at}
            if crowded and self._express:
                flight = await in_flight(connection)
                ready += [queue for queue in crowded if await self._has_express(connection, queue, flight)]
        due_in = None if due_at is None else (due_at - present).total_seconds()
        return Outlook(tuple(ready), due_in, crowded)

    def beside(self, outlook: Outlook, waiting: Mapping[Queue, int]) -> Outlook:
        """Return what there is to do if so much waits in Redis: what workers have fetched makes room."""
        fetched = {queue: max(0, held - waiting[queue]) for queue, held in outlook.crowded.items()}
        roomy = (queue for queue, held in outlook.crowded.items() if held - fetched[queue] <= self._refill_at)
        return structs.replace(outlook, queues=tuple(dict.fromkeys((*outlook.queues, *roomy))), fetched=fetched)

    async def take(self, outlook: Outlook = EVERYTHING) -> Taken:
        """Move what is due into the window, in one transaction, and return what must now be given to Redis."""
        taken: list[Publication] = []
        async with self._database.across.transaction() as connection:
            if not self._database.is_sqlite:
                await connection.execute(_LOCK)
            if outlook.ripe:
                await connection.execute(self._statements.ripen)
            flight = await in_flight(connection)
            allowances = await read_allowances(connection, self._statements.limits, flight)
            for queue in QUEUES if outlook.ripe else outlook.queues:
                places = self._places(queue, flight, fetched=outlook.fetched.get(queue, 0))
                taken += await self._take_from(connection, queue, places, allowances)
            await store_spent(connection, allowances)
        self.is_limited = bool(allowances)
        return Taken(taken, allowances.again_in())

    async def give_back(self, publications: Sequence[Publication]) -> int:
        """Put publications that did not reach a worker back into the backlog; return how many were still waiting."""
        if not publications:
            return 0
        tickets = [Ticket(one.tenant_id, one.job_id, one.sequence) for one in publications]
        async with self._database.transaction(*{one.tenant_id for one in publications}) as connection:
            return (await connection.execute(self._statements.give_back, listing(tickets))).rowcount

    async def published_before(self, seconds: float, limit: int = 500) -> list[Publication]:
        """Return what has been in the window for at least `seconds`."""
        query = select(*_PUBLICATION).where(WINDOW, jobs.c.published_at < moment(self._database, -seconds)).limit(limit)
        async with self._database.across.read() as connection:
            return [Publication(*row) for row in await connection.execute(query)]

    def _places(self, queue: Queue, flight: Sequence[InFlight], *, fetched: int = 0) -> Places:
        return Places(queue, flight, window=self._window + fetched, express=self._express)

    async def _has_express(self, connection: AsyncConnection, queue: Queue, flight: Sequence[InFlight]) -> bool:
        """Tell whether somebody waits for whom there is room in the express lane."""
        places = self._places(queue, flight)
        return any(places.express_for(tenant) for tenant in await self._tenants_in_turn(connection, queue))

    async def _take_from(
        self, connection: AsyncConnection, queue: Queue, places: Places, allowances: Allowances
    ) -> list[Publication]:
        line = await self._tenants_in_turn(connection, queue)
        light = {tenant: share for tenant in line if (share := places.express_for(tenant))}
        taken = await self._serve(connection, queue, light, places, allowances, express=True)
        # Who uses less than its share has no more that may start: its places go round among the others.
        while line and places.free > 0:
            shares = take_turns(line, places.held, places.free)
            served = await self._serve(connection, queue, shares, places, allowances, express=False)
            found = Counter(one.tenant_id for one in served)
            line = [tenant for tenant in line if tenant not in shares or found[tenant] == shares[tenant]]
            self._last_served[queue] = list(shares)[-1]
            taken += served
        return taken

    async def _serve(
        self,
        connection: AsyncConnection,
        queue: Queue,
        shares: Mapping[str, int],
        places: Places,
        allowances: Allowances,
        *,
        express: bool,
    ) -> list[Publication]:
        """Publish up to so many jobs of each tenant."""
        tickets: list[Ticket] = []
        for tenant_id, most in shares.items():
            share = min(most, places.express_for(tenant_id)) if express else most
            found = await _oldest(connection, queue, tenant_id, share, allowances)
            places.take(tenant_id, len(found), express=express)
            tickets += found
        return await self._publish(connection, tickets, express=express)

    async def _publish(
        self, connection: AsyncConnection, tickets: Sequence[Ticket], *, express: bool
    ) -> list[Publication]:
        if not tickets:
            return []
        rows = await connection.execute(self._statements.publish, {**listing(tickets), "by_express": express})
        published = {(row[0], row[1]): Publication(*row) for row in rows}
        keys = [(ticket.tenant_id, ticket.job_id) for ticket in tickets]
        return [published[key] for key in keys if key in published]

    async def _tenants_in_turn(self, connection: AsyncConnection, queue: Queue) -> list[str]:
        """Return tenants with a backlog, beginning after the one served last."""
        last = self._last_served.get(queue, "")
        first = await _tenants(connection, queue, after="")
        if len(first) < _LINE:
            return sorted(first, key=lambda tenant: (tenant <= last, tenant))
        after = await _tenants(connection, queue, after=last)
        return after + [tenant for tenant in first if tenant <= last][: _LINE - len(after)]


class _Statements:
    """The statements of every pass, made once: to make them takes longer than to carry them out."""

    def __init__(self, database: Database) -> None:
        asked, present, soon = listed(database), moment(database), moment(database, SOON.total_seconds())
        # PostgreSQL keeps plans until it hears, a minute later, how a table has changed. A minimum of all, planned for
        # an empty table, would read whatever is delayed; EXISTS, planned beside a long backlog, the whole table once
        # that is gone. Bounds, and the order of an index in full, leave it no choice.
        ripe = select(func.min(jobs.c.available_at)).where(RIPENING, jobs.c.available_at <= soon)
        looks: list[ColumnElement[Any]] = [ripe.scalar_subquery(), present]
        for queue in QUEUES:
            first = select(jobs.c.id).where(BACKLOG, jobs.c.queue == queue).order_by(*_BACKLOG_ORDER).limit(1)
            looks.append(first.scalar_subquery().is_not(None))
            held = select(func.count()).where(WINDOW, jobs.c.queue == queue, jobs.c.express.is_(False))
            looks.append(held.scalar_subquery())
        self.look = select(*looks)
        self.limits = limits_at(present)
        self.ripen = (
            update(jobs).where(RIPENING, jobs.c.available_at <= present).values(status="queued", published_at=None)
        )
        self.publish = (
            update(jobs)
            .where(among(asked), BACKLOG)
            .values(published_at=present, sequence=jobs.c.sequence + 1, express=bindparam("by_express"))
            .returning(*_PUBLICATION)
        )
        self.give_back = update(jobs).where(among(asked), WINDOW).values(published_at=None)


async def _tenants(connection: AsyncConnection, queue: Queue, *, after: str) -> list[str]:
    return list((await connection.execute(_TENANTS, {"queue": queue, "after": after, "limit": _LINE})).scalars())


async def _oldest(
    connection: AsyncConnection, queue: Queue, tenant_id: str, share: int, allowances: Allowances
) -> list[Ticket]:
    """Return a tenant's oldest jobs that limits let through."""
    query = _OLDEST
    if allowances:
        blocked = allowances.blocked(tenant_id)
        if blocked.everything:
            return []
        if blocked.types:
            query = query.where(jobs.c.type.not_in(blocked.types))
        if blocked.destinations:
            elsewhere = jobs.c.destination.not_in(blocked.destinations)
            query = query.where(or_(jobs.c.destination.is_(None), elsewhere))
    rows = await connection.execute(query, {"of_queue": queue, "of_tenant": tenant_id, "most": share})
    return [
        Ticket(tenant_id, row.id, row.sequence)
        for row in rows
        if allowances.admit(tenant_id, row.type, row.destination)
    ]
