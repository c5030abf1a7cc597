"""The worker's half of the table `jobs`: attempts are begun, kept alive and ended.

An attempt that is over at once is written once, when it ends: until then the message that it answers, in Redis, is all
that speaks of it, and is given to another worker if this one dies. One that lasts is put under a lease.
Message and lease belong to one publication of a job. If the holder of either is gone, the job is taken back and
published anew, and whatever the former holder still writes under the older sequence is void.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum, auto
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import ColumnElement, Row, Select, Update, bindparam, case, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from internal_jobs.columns import by_column, parameter, unnested
from internal_jobs.group_commit import GroupCommit
from internal_jobs.store import to_be_stopped
from internal_jobs.table import LEASED, PERISHABLE, PUBLISHED, WINDOW, jobs
from internal_jobs.tickets import Ticket, among, listed, listing, published_as
from plugins.storage.clock import moment
from plugins.storage.database import Database

#: Workers that a job saw die before it may only run in a cell of its own.
SUSPICIOUS = 1


class Begun(Struct):
    """An attempt that may be made."""

    #: what it needs to know of its job
    row: Row[Any]
    #: whether it is under a lease by now
    is_leased: bool


class Hold(Struct, frozen=True):
    """A wish to put an attempt under a lease."""

    ticket: Ticket
    begun_at: datetime


class Refusal(Enum):
    #: finished, cancelled, expired, or published anew: the message is to be forgotten
    VOID = auto()
    #: a worker died with it before: it must run in a cell
    SUSPECT = auto()


class End(Struct, frozen=True, kw_only=True):
    """How an attempt ended."""

    ticket: Ticket
    status: Literal["completed", "failed", "dead", "queued", "promoting"]
    #: seconds until the next attempt, for ``failed``
    delay: float = 0.0
    #: whether the attempt counts; one that was handed back is repeated under its number
    counts: bool = True
    #: whether it left something behind that may never stop: the next attempt is made in a cell
    hung: bool = False
    result_sealed: bytes | None = None
    error_type: str | None = None
    error_sealed: bytes | None = None
    progress_sealed: bytes | None = None
    #: of an attempt that is not known to be under a lease
    begun_at: datetime | None = None


class Leases:
    """Attempts in the database.

    Args:
        database: where the jobs are.
        length: seconds for which a lease holds after it was last renewed.
    """

    def __init__(self, database: Database, *, length: float) -> None:
        self._database = database
        self._statements = _Statements(database, length)
        self._looks: GroupCommit[Ticket, Row[Any] | None] = GroupCommit(self._look)
        self._writes: GroupCommit[Hold | End, bool] = GroupCommit(self._write)

    async def begin(self, ticket: Ticket, *, alone: bool = False) -> Begun | Refusal:
        """Begin an attempt, or say why not; `alone` if nothing else runs in this process.

        It is put under a lease at once if whoever makes a job with its singleton key, or closes it when its ttl is
        over, has to know that it runs.
        """
        row = await self._looks.submit(ticket)
        if row is None:
            return Refusal.VOID
        if row.redeliveries >= SUSPICIOUS and not alone:
            return Refusal.SUSPECT
        is_leased = alone or row.is_watched
        if is_leased and not await self.hold(ticket, row.begun_at):
            return Refusal.VOID
        return Begun(row, is_leased)

    async def hold(self, ticket: Ticket, begun_at: datetime) -> bool:
        """Put an attempt under a lease: it is seen running. Return whether the job was still its own."""
        return await self._writes.submit(Hold(ticket, begun_at))

    async def end(self, end: End) -> bool:
        """End an attempt; return whether the job was still its own."""
        return await self._writes.submit(end)

    async def renew(self, tickets: Sequence[Ticket]) -> dict[Ticket, bool]:
        """Renew leases; return those that were still held, and for each whether its job was asked to stop."""
        async with self._database.transaction(*_owners(tickets)) as connection:
            renewed = await connection.execute(self._statements.renew, listing(tickets))
            return {Ticket(*row[:3]): row[3] for row in renewed}

    async def report(self, progress: Sequence[tuple[Ticket, bytes]]) -> None:
        """Store what running plugins reported."""
        async with self._database.transaction(*_owners([ticket for ticket, _ in progress])) as connection:
            for ticket, sealed in progress:
                await connection.execute(
                    update(jobs).where(LEASED, published_as(ticket)).values(progress_sealed=sealed)
                )

    async def put_off(self, ticket: Ticket, seconds: float) -> None:
        """Put a published job that was not begun back into the schedule."""
        later = (
            update(jobs)
            .where(published_as(ticket), jobs.c.status == "queued")
            .values(status="scheduled", available_at=moment(self._database, seconds), published_at=None)
        )
        async with self._database.transaction(ticket.tenant_id) as connection:
            await connection.execute(later)

    async def lapsed(self, limit: int = 500) -> Sequence[Row[Any]]:
        """Return the jobs whose lease ran out: their worker died, or lost the database."""
        query = select(jobs).where(LEASED, jobs.c.lease_until < moment(self._database))
        async with self._database.across.read() as connection:
            rows = (await connection.execute(query.order_by(jobs.c.lease_until).limit(limit))).all()
        # In one order everywhere, so that two sweepers wait for each other instead of locking each other out.
        return sorted(rows, key=lambda row: (row.tenant_id, row.id))

    async def reclaim(self, ends: Sequence[End]) -> int:
        """End lapsed attempts for their workers; return how many were still lapsed."""
        async with self._database.transaction(*_owners([end.ticket for end in ends])) as connection:
            return sum([await self._end(connection, end, lapsed=True, redelivered=True) for end in ends])

    async def held(self, ticket: Ticket) -> Row[Any] | None:
        """Return the job of an attempt that is under way."""
        async with self._database.read(ticket.tenant_id) as connection:
            return (await connection.execute(select(jobs).where(LEASED, published_as(ticket)))).one_or_none()

    async def unwritten(self, ticket: Ticket) -> Row[Any] | None:
        """Return the job of a ticket under which no lease was taken and no end was written."""
        async with self._database.read(ticket.tenant_id) as connection:
            return (await connection.execute(select(jobs).where(WINDOW, published_as(ticket)))).one_or_none()

    async def forfeit(self, end: End) -> None:
        """End an attempt for its worker, which is known to be dead."""
        async with self._database.transaction(end.ticket.tenant_id) as connection:
            await self._end(connection, end, redelivered=True)

    async def expire(self) -> int:
        """Close the jobs whose ttl ran out, or ask their executions to stop; return how many."""
        perished = (PERISHABLE, jobs.c.expires_at <= moment(self._database))
        async with self._database.across.read() as connection:
            if (await connection.execute(select(jobs.c.id).where(*perished).limit(1))).first() is None:
                return 0
        close = update(jobs).where(*perished, jobs.c.status != "promoted")
        close = close.values(status="expired", closed_at=moment(self._database))
        stop = update(jobs).where(*perished, jobs.c.status == "promoted").values(**to_be_stopped(self._database))
        async with self._database.across.transaction() as connection:
            return sum([(await connection.execute(statement)).rowcount for statement in (close, stop)])

    async def _look(self, tickets: Sequence[Ticket]) -> Sequence[Row[Any] | None]:
        """Return the jobs of those tickets under which an attempt may be made."""
        async with self._database.read(*_owners(tickets)) as connection:
            rows: Sequence[Row[Any]] = (await connection.execute(self._statements.look, listing(tickets))).all()
        found = {Ticket(row.tenant_id, row.id, row.sequence): row for row in rows}
        return [found.get(ticket) for ticket in tickets]

    async def _write(self, items: "Sequence[Hold | End]") -> Sequence[bool]:
        """Write leases and ends that came together in one transaction."""
        ends = [item for item in items if isinstance(item, End)]
        held: set[Ticket] = set()
        ended: set[Ticket] = set()
        async with self._database.transaction(*_owners([item.ticket for item in items])) as connection:
            for item in items:
                if isinstance(item, Hold) and await self._hold(connection, item):
                    held.add(item.ticket)
            if ends:
                ended = await self._end_all(connection, ends)
        return [item.ticket in (ended if isinstance(item, End) else held) for item in items]

    async def _hold(self, connection: AsyncConnection, hold: Hold) -> bool:
        named = {"in_tenant": hold.ticket.tenant_id, "of_job": hold.ticket.job_id, "as_sequence": hold.ticket.sequence}
        return bool((await connection.execute(self._statements.hold, {**named, "begun": hold.begun_at})).rowcount)

    async def _end_all(self, connection: AsyncConnection, ends: Sequence[End]) -> set[Ticket]:
        """End what may still be ended; return its tickets. Completions, the many, are written together."""
        completions = [end for end in ends if end.status == "completed"]
        ended = await self._complete(connection, completions) if completions else set()
        for end in ends:
            is_ended = end.status != "completed" and await self._end(connection, end)
            if is_ended or (end.ticket not in ended and await self._note(connection, end)):
                ended.add(end.ticket)
        return ended

    async def _complete(self, connection: AsyncConnection, ends: Sequence[End]) -> set[Ticket]:
        if self._database.is_sqlite:
            found = await connection.execute(self._statements.held, listing([end.ticket for end in ends]))
            held = {Ticket(*row) for row in found}
            rows = [_completion(end) for end in ends if end.ticket in held]
            if rows:
                given = [{parameter(name): row[name] for name in _GIVEN} for row in rows]
                await connection.execute(self._statements.complete, given)
            return held
        ended: set[Ticket] = set()
        # Most were never put under a lease. In one statement with an OR, PostgreSQL reads the whole table for a minute
        # after it was empty.
        for complete in (self._statements.complete_unwritten, self._statements.complete_leased):
            if left := [_completion(end) for end in ends if end.ticket not in ended]:
                ended |= {Ticket(*row) for row in await connection.execute(complete, by_column(_GIVEN, left))}
        return ended

    async def _note(self, connection: AsyncConnection, end: End) -> bool:
        """Write down an attempt that was made while its job, not seen running, was cancelled: that stays so, but what
        was done is not hidden.
        """
        if end.begun_at is None or not end.counts:
            return False
        canceled = update(jobs).where(
            published_as(end.ticket), jobs.c.status == "canceled", jobs.c.published_at.is_not(None)
        )
        noted = canceled.values(
            attempts=jobs.c.attempts + 1,
            started_at=func.coalesce(jobs.c.started_at, end.begun_at),
            result_sealed=end.result_sealed,
            error_type=end.error_type,
            error_sealed=end.error_sealed,
        )
        return bool((await connection.execute(noted)).rowcount)

    async def _end(
        self, connection: AsyncConnection, end: End, *, lapsed: bool = False, redelivered: bool = False
    ) -> bool:
        held: Update = update(jobs).where(PUBLISHED, published_as(end.ticket))
        if lapsed:
            held = held.where(jobs.c.lease_until < moment(self._database))
        closed = {"closed_at": moment(self._database), "lease_until": None}
        error = {"error_type": end.error_type, "error_sealed": end.error_sealed}
        held = held.values(attempts=_ATTEMPTS if end.counts else _ATTEMPTS - 1)
        if end.begun_at is not None:
            held = held.values(started_at=func.coalesce(jobs.c.started_at, end.begun_at))
        if end.progress_sealed is not None:
            held = held.values(progress_sealed=end.progress_sealed)
        if end.error_type is not None:
            held = held.values(**error)
        # A job that gave its singleton key away does not wait again: the newer one stands for it.
        gives_way = or_(jobs.c.cancel_requested, jobs.c.yielded_key.is_not(None))
        stopped = held.where(gives_way).values(status="canceled", **closed)
        if (await connection.execute(stopped)).rowcount:
            return True
        if end.status == "dead":
            return bool((await connection.execute(held.values(status="dead", **closed))).rowcount)
        held = held.values(status=end.status, published_at=None, lease_until=None)
        if end.status in ("failed", "promoting"):
            held = held.values(available_at=moment(self._database, end.delay))
        # An attempt that ended in order clears its job of suspicion; one that was taken back raises it.
        held = held.values(redeliveries=jobs.c.redeliveries + 1 if redelivered else SUSPICIOUS if end.hung else 0)
        return bool((await connection.execute(held)).rowcount)


_TICKET = (jobs.c.tenant_id, jobs.c.id, jobs.c.sequence)

#: What an attempt needs to know of its job; the rest would have to be carried and decoded for each.
_LOOKED_AT: tuple[ColumnElement[Any], ...] = (
    *_TICKET,
    *(jobs.c.type, jobs.c.queue, jobs.c.lane, jobs.c.on_exhausted),
    *(jobs.c.payload_sealed, jobs.c.credentials, jobs.c.traceparent),
    *(jobs.c.generation, jobs.c.max_attempts, jobs.c.retry, jobs.c.redeliveries, jobs.c.timeout),
    jobs.c.available_at,
    or_(jobs.c.expires_at.is_not(None), jobs.c.singleton_key.is_not(None)).label("is_watched"),
    (jobs.c.attempts + 1).label("attempts"),
)

#: attempts, with the one that is under way
_ATTEMPTS = case((jobs.c.status == "running", jobs.c.attempts), else_=jobs.c.attempts + 1)


class _Statements:
    """The statements of every job, made once: to make them takes longer than to carry them out."""

    def __init__(self, database: Database, length: float) -> None:
        asked, present, until = listed(database), moment(database), moment(database, length)
        is_fresh = or_(jobs.c.expires_at.is_(None), jobs.c.expires_at > present)
        one = (jobs.c.tenant_id == bindparam("in_tenant"), jobs.c.id == bindparam("of_job"))
        started_at = func.coalesce(jobs.c.started_at, bindparam("begun", type_=jobs.c.started_at.type))
        moments = (func.coalesce(jobs.c.started_at, present).label("started_at"), present.label("begun_at"))
        self.look: Select[Any] = select(*_LOOKED_AT, *moments).where(among(asked), WINDOW, is_fresh)
        self.hold = (
            update(jobs)
            .where(*one, jobs.c.sequence == bindparam("as_sequence"), WINDOW, is_fresh)
            .values(status="running", attempts=jobs.c.attempts + 1, lease_until=until, started_at=started_at)
        )
        self.held = select(*_TICKET).where(PUBLISHED, among(asked))
        given: Mapping[str, ColumnElement[Any]] = (
            {name: bindparam(parameter(name), type_=jobs.c[name].type) for name in _GIVEN}
            if database.is_sqlite
            else dict(unnested(_GIVEN).subquery("given").c)
        )
        complete = (
            update(jobs)
            .where(*(jobs.c[name] == given[name] for name in ("tenant_id", "id", "sequence")))
            .values(
                status="completed",
                attempts=_ATTEMPTS,
                started_at=func.coalesce(jobs.c.started_at, given["started_at"]),
                result_sealed=given["result_sealed"],
                progress_sealed=func.coalesce(given["progress_sealed"], jobs.c.progress_sealed),
                error_type=None,
                error_sealed=None,
                lease_until=None,
                redeliveries=0,
                closed_at=present,
            )
        )
        self.complete = complete.where(PUBLISHED)
        self.complete_unwritten = complete.where(WINDOW).returning(*_TICKET)
        self.complete_leased = complete.where(LEASED).returning(*_TICKET)
        self.renew = (
            update(jobs)
            .where(LEASED, among(asked))
            .values(lease_until=until)
            .returning(*_TICKET, jobs.c.cancel_requested)
        )


#: what is given of a completion
_GIVEN = ("tenant_id", "id", "sequence", "started_at", "result_sealed", "progress_sealed")


def _completion(end: End) -> dict[str, Any]:
    ticket = end.ticket
    values = (ticket.tenant_id, ticket.job_id, ticket.sequence, end.begun_at, end.result_sealed, end.progress_sealed)
    return dict(zip(_GIVEN, values, strict=True))


def _owners(tickets: Sequence[Ticket]) -> set[str]:
    return {ticket.tenant_id for ticket in tickets}
