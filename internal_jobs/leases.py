"""The worker's half of the table `jobs`: attempts are begun, kept alive and ended under a lease.

A lease belongs to one publication of a job. The sweeper takes a lapsed one back, the job is published anew, and
whatever the former holder still writes under the older sequence is void.
"""

from collections.abc import Sequence
from enum import Enum, auto
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import Row, Update, bindparam, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from internal_jobs.group_commit import GroupCommit
from internal_jobs.store import to_be_stopped
from internal_jobs.table import LEASED, PERISHABLE, jobs
from internal_jobs.tickets import Ticket, among, listed, listing, published_as
from plugins.storage.clock import moment
from plugins.storage.database import Database

#: Workers that a job saw die before it may only run in a cell of its own.
SUSPICIOUS = 1


class Begin(Struct, frozen=True):
    """A wish to begin an attempt."""

    ticket: Ticket
    alone: bool


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


class Leases:
    """Attempts in the database.

    Args:
        database: where the jobs are.
        length: seconds for which a lease holds after it was last renewed.
    """

    def __init__(self, database: Database, *, length: float) -> None:
        self._database = database
        self._statements = _Statements(database, length)
        self._writes: GroupCommit[Begin | End, Row[Any] | Refusal | bool] = GroupCommit(self._write)

    async def begin(self, ticket: Ticket, *, alone: bool = False) -> Row[Any] | Refusal:
        """Begin an attempt and return the job's row, or why not; `alone` if nothing else runs in this process."""
        answer = await self._writes.submit(Begin(ticket, alone))
        if isinstance(answer, bool):
            raise TypeError("a beginning is answered by a row or a refusal")
        return answer

    async def end(self, end: End) -> bool:
        """End an attempt; return whether its lease was still held."""
        return await self._writes.submit(end) is True

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

    async def _write(self, items: "Sequence[Begin | End]") -> "Sequence[Row[Any] | Refusal | bool]":
        """Write beginnings and ends that came together in one transaction."""
        wishes = [item for item in items if isinstance(item, Begin)]
        ends = [item for item in items if isinstance(item, End)]
        ended: set[Ticket] = set()
        begun: dict[Ticket, Row[Any]] = {}
        suspects: set[Ticket] = set()
        async with self._database.transaction(*_owners([item.ticket for item in items])) as connection:
            if ends:
                ended = await self._end_all(connection, ends)
            for alone in (False, True):
                tickets = [wish.ticket for wish in wishes if wish.alone is alone]
                if tickets:
                    begun |= await self._begin(connection, tickets, alone=alone)
            refused = [wish.ticket for wish in wishes if wish.ticket not in begun]
            if refused:
                found = await connection.execute(self._statements.suspects, listing(refused))
                suspects = {Ticket(*row) for row in found}
        return [
            item.ticket in ended
            if isinstance(item, End)
            else begun.get(item.ticket, Refusal.SUSPECT if item.ticket in suspects else Refusal.VOID)
            for item in items
        ]

    async def _begin(
        self, connection: AsyncConnection, tickets: Sequence[Ticket], *, alone: bool
    ) -> dict[Ticket, Row[Any]]:
        begin = self._statements.begin_alone if alone else self._statements.begin
        rows = await connection.execute(begin, listing(tickets))
        return {Ticket(row.tenant_id, row.id, row.sequence): row for row in rows}

    async def _end_all(self, connection: AsyncConnection, ends: Sequence[End]) -> set[Ticket]:
        """End what is still held; return its tickets. Completions, the many, are written by one statement."""
        found = await connection.execute(self._statements.held, listing([end.ticket for end in ends]))
        held = {Ticket(*row) for row in found}
        completions = [
            {
                "in_tenant": end.ticket.tenant_id,
                "of_job": end.ticket.job_id,
                "result": end.result_sealed,
                "progress": end.progress_sealed,
            }
            for end in ends
            if end.status == "completed" and end.ticket in held
        ]
        if completions:
            await connection.execute(self._statements.complete, completions)
        for end in ends:
            if end.status != "completed" and end.ticket in held:
                await self._end(connection, end)
        return held

    async def _end(
        self, connection: AsyncConnection, end: End, *, lapsed: bool = False, redelivered: bool = False
    ) -> bool:
        held: Update = update(jobs).where(LEASED, published_as(end.ticket))
        if lapsed:
            held = held.where(jobs.c.lease_until < moment(self._database))
        closed = {"closed_at": moment(self._database), "lease_until": None}
        error = {"error_type": end.error_type, "error_sealed": end.error_sealed}
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
        if not end.counts:
            held = held.values(attempts=jobs.c.attempts - 1)
        # An attempt that ended in order clears its job of suspicion; one that was taken back raises it.
        held = held.values(redeliveries=jobs.c.redeliveries + 1 if redelivered else SUSPICIOUS if end.hung else 0)
        return bool((await connection.execute(held)).rowcount)


_TICKET = (jobs.c.tenant_id, jobs.c.id, jobs.c.sequence)

#: What an attempt needs to know of its job; the rest would have to be carried and decoded for each.
_BEGUN = (
    *_TICKET,
    *(jobs.c.type, jobs.c.queue, jobs.c.lane, jobs.c.on_exhausted, jobs.c.status),
    *(jobs.c.payload_sealed, jobs.c.credentials, jobs.c.traceparent),
    *(jobs.c.generation, jobs.c.attempts, jobs.c.max_attempts, jobs.c.retry, jobs.c.redeliveries, jobs.c.timeout),
    *(jobs.c.available_at, jobs.c.started_at),
)


class _Statements:
    """The statements of every job, made once: to make them takes longer than to carry them out."""

    def __init__(self, database: Database, length: float) -> None:
        asked, present, until = listed(database), moment(database), moment(database, length)
        queued = update(jobs).where(among(asked), jobs.c.status == "queued")
        begin = queued.where(or_(jobs.c.expires_at.is_(None), jobs.c.expires_at > present)).values(
            status="running",
            attempts=jobs.c.attempts + 1,
            lease_until=until,
            started_at=func.coalesce(jobs.c.started_at, present),
        )
        self.begin = begin.where(jobs.c.redeliveries < SUSPICIOUS).returning(*_BEGUN)
        self.begin_alone = begin.returning(*_BEGUN)
        self.suspects = select(*_TICKET).where(
            among(asked), jobs.c.status == "queued", jobs.c.redeliveries >= SUSPICIOUS
        )
        self.held = select(*_TICKET).where(LEASED, among(asked)).with_for_update(of=jobs)
        self.complete = (
            update(jobs)
            .where(jobs.c.tenant_id == bindparam("in_tenant"), jobs.c.id == bindparam("of_job"))
            .values(
                status="completed",
                result_sealed=bindparam("result"),
                progress_sealed=func.coalesce(bindparam("progress"), jobs.c.progress_sealed),
                error_type=None,
                error_sealed=None,
                lease_until=None,
                redeliveries=0,
                closed_at=present,
            )
        )
        self.renew = (
            update(jobs)
            .where(LEASED, among(asked))
            .values(lease_until=until)
            .returning(*_TICKET, jobs.c.cancel_requested)
        )


def _owners(tickets: Sequence[Ticket]) -> set[str]:
    return {ticket.tenant_id for ticket in tickets}
