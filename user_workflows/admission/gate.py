"""The gate: who gets a slot, who gives it back, and who waits.

Executions that are awaited share the slot of who awaits them, and never come here but to say that they are parked
(`executions.rests`), or wake. Of the others each is, in `executions.admission`:

==============  ====================================================================================
``delayed``     to join the queue when it is due
``waiting``     in the queue; with `parked_at`, to go on, else to begin
``admitted``    inside: it has a slot, and is to be handed to Temporal, or told
``held``        inside: Temporal has it
``ending``      inside: it was terminated, and steps of it may still act until `due_at`
``parked``      outside: it waits for long
==============  ====================================================================================

Everything that changes who is inside first takes the lock of the tenant's row, and changes its counts in the same
transaction: nothing is kept in memory, and nothing in Redis.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct, structs
from sqlalchemy import ColumnElement, Row, String, Update, bindparam, case, exists, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from plugins.storage.database import Database, now
from user_workflows.admission.caps import Caps, month_of, read_caps
from user_workflows.admission.queue import Place, find_place, let_in, lock
from user_workflows.admission.sharing import active_among, holder_of, keep_slot
from user_workflows.admission.tables import tenant_gates, workflow_gates
from user_workflows.executions.tables import executions

#: what has not begun, and Temporal knows nothing of
UNBEGUN: ColumnElement[bool] = executions.c.admission.in_(("waiting", "delayed")) & executions.c.parked_at.is_(None)


def leaving(closes: ColumnElement[bool]) -> dict[str, ColumnElement[Any]]:
    """Return what an UPDATE of executions says of the gate, where it closes them; `Gate.give_back` must follow."""
    leaves = closes & (executions.c.admission != "ending")
    return {name: case((leaves, None), else_=executions.c[name]) for name in ("admission", "parked_at")}


class Ticket(Struct, frozen=True, kw_only=True):
    """What the gate says to some who come at once."""

    tenant_id: str
    at: datetime
    #: slots that were taken for them, and how many of them count for the month
    count: int
    new: int
    #: whether all of them may go in at once; else all of them queue
    is_open: bool
    #: of the tenant
    caps: Caps

    def closed(self) -> "Ticket":
        """Return this ticket for some that cannot go in at once, whatever the caps say."""
        return structs.replace(self, is_open=False)


class Gate:
    """Args:
    database: holds the rows.
    defaults: caps of tenants for which the administrator has set none.
    """

    def __init__(self, database: Database, defaults: Caps | None = None) -> None:
        self._database = database
        self.defaults = Caps() if defaults is None else defaults
        #: set when somebody was let in who is not handed over yet
        self.stirred = asyncio.Event()

    async def enter(
        self, connection: AsyncConnection, tenant_id: str, workflow_ids: Collection[str], *, count: int, new: int
    ) -> Ticket:
        """Take slots for `count` executions, `new` of which are new, of these workflows; `settle` must follow.

        Slots are taken first, and given back where they were not to be had: nobody else sees them meanwhile, and in
        the normal case this is the only statement.
        """
        at = now()
        given = {
            "key": tenant_id,
            "count": count,
            "new": new,
            "this_month": month_of(at),
            "workflow_ids": sorted(set(workflow_ids)),
        }
        row = (await connection.execute(_TAKE, given)).one_or_none()
        if row is None:
            first = {"tenant_id": tenant_id, "inside": 0, "waiting": 0, "month": month_of(at), "month_count": 0}
            await connection.execute(self._database.insert(tenant_gates).values(first).on_conflict_do_nothing())
            row = (await connection.execute(_TAKE, given)).one()
        caps = read_caps(row).over(self.defaults)
        is_full = _exceeds(row.inside, caps.concurrent_executions) or _exceeds(row.month_count, caps.monthly_executions)
        is_open = not (is_full or row.waiting or row.has_workflow_gates or caps.starts_per_minute is not None)
        return Ticket(tenant_id=tenant_id, at=at, count=count, new=new, is_open=is_open, caps=caps)

    async def settle(self, connection: AsyncConnection, ticket: Ticket, *, made: int, new: int, waiting: int) -> None:
        """Give back the slots of those that were not made after all, or of all if they queue.

        Args:
            connection: of the transaction in which `enter` was called.
            ticket: what it gave.
            made: executions that came into being, and have slots now, if the gate was open.
            new: how many of them are new.
            waiting: how many of them joined the queue instead.
        """
        inside, counted = (made, new) if ticket.is_open else (0, 0)
        if (inside, counted, waiting) == (ticket.count, ticket.new, 0):
            return
        await connection.execute(
            _mine(ticket.tenant_id).values(
                inside=tenant_gates.c.inside - (ticket.count - inside),
                month_count=tenant_gates.c.month_count - (ticket.new - counted),
                waiting=tenant_gates.c.waiting + waiting,
            )
        )

    async def let_in(self, connection: AsyncConnection, tenant_id: str) -> set[str]:
        """Let in whom the caps allow; see `queue.let_in`."""
        return await let_in(connection, tenant_id, self.defaults, now())

    async def call_up(self, tenant_id: str) -> None:
        """Let those join the queue that are due, give back what was held in case, and let in whom the caps allow."""
        at = now()
        due = executions.c.tenant_id == tenant_id, executions.c.due_at <= at
        join = update(executions).where(*due, executions.c.admission == "delayed").values(admission="waiting")
        leave = update(executions).where(*due, executions.c.admission == "ending").values(admission=None)
        async with self._database.transaction(tenant_id) as connection:
            if await lock(connection, tenant_id) is None:
                return
            joined = (await connection.execute(join)).rowcount
            left = (await connection.execute(leave)).rowcount
            if joined or left:
                await connection.execute(
                    _mine(tenant_id).values(
                        inside=tenant_gates.c.inside - left, waiting=tenant_gates.c.waiting + joined
                    )
                )
            await self.let_in(connection, tenant_id)

    async def lock(self, connection: AsyncConnection, tenant_ids: Collection[str]) -> None:
        """Take the locks of tenants before anything else is locked, so that no two transactions wait for each other."""
        if self._database.is_sqlite or not tenant_ids:
            return
        one = select(tenant_gates.c.tenant_id).where(tenant_gates.c.tenant_id.in_(tenant_ids))
        await connection.execute(one.order_by(tenant_gates.c.tenant_id).with_for_update())

    async def release(
        self, connection: AsyncConnection, tenant_id: str, execution_id: str, *, acting: Mapping[str, datetime]
    ) -> bool:
        """Give back what an execution holds that is closed now, once; return whether others were let in for it.

        Args:
            connection: of the transaction that closes its record, which holds the `lock` of its tenant.
            tenant_id: whose it is.
            execution_id: which one.
            acting: until when which steps of it may still act, if it was ended by force: so long it stays inside.
        """
        await keep_slot(connection, tenant_id, execution_id, acting, now())
        key = {"key_tenant": tenant_id, "key_id": execution_id}
        closed = (await connection.execute(_CLOSED, key)).all()
        await connection.execute(_LEAVE, key)
        return await self.give_back(connection, closed)

    async def give_back(self, connection: AsyncConnection, left: "Collection[Row[*tuple[Any, ...]]]") -> bool:
        """Do the rest of it for those that ended by themselves: `leaving` was in the statement that closed them.

        Args:
            connection: as for `release`.
            left: `tenant_id` and `admission` of each, before it was closed.
        """
        inside = Counter(row.tenant_id for row in left if row.admission in ("admitted", "held"))
        waiting = Counter(row.tenant_id for row in left if row.admission == "waiting")
        is_stirred = False
        for tenant_id in sorted({*inside, *waiting}):
            is_stirred |= await self._give_back(connection, tenant_id, inside[tenant_id], waiting[tenant_id])
        return is_stirred

    async def end(self, connection: AsyncConnection, tenant_id: str, execution_id: str) -> None:
        """Give back what is held for an execution that was ended by force: it is tried again, and comes anew."""
        ending = update(executions).where(*_one(tenant_id, execution_id), executions.c.admission == "ending")
        if (await connection.execute(ending.values(admission=None))).rowcount:
            await connection.execute(_mine(tenant_id).values(inside=tenant_gates.c.inside - 1))

    async def let_go(self, tenant_id: str, execution_id: str) -> bool:
        """Note that an execution is parked; give the slot back that it has or shares, if all who share it are parked.

        Return whether it was given back.
        """
        rest = update(executions).where(*_one(tenant_id, execution_id)).values(rests=True)
        async with self._database.transaction(tenant_id) as connection:
            await self.lock(connection, (tenant_id,))
            await connection.execute(rest)
            holder_id = await holder_of(connection, tenant_id, execution_id)
            if await active_among(connection, tenant_id, holder_id):
                return False
            leave = update(executions).where(*_one(tenant_id, holder_id), executions.c.admission == "held")
            left = await connection.execute(leave.values(admission="parked", parked_at=now()))
            is_parked = left.rowcount > 0
            is_stirred = is_parked and await self._give_back(connection, tenant_id, 1, 0)
        self.stir(is_stirred)
        return is_parked

    async def take_up(self, tenant_id: str, execution_id: str) -> bool:
        """Take a slot again for an execution that wakes, and those that it shares one with.

        Return whether it has one; else they are in the queue now, and it is told.
        """
        wake = update(executions).where(*_one(tenant_id, execution_id)).values(rests=False)
        async with self._database.transaction(tenant_id) as connection:
            await self.lock(connection, (tenant_id,))
            await connection.execute(wake)
            holder_id = await holder_of(connection, tenant_id, execution_id)
            holder = _one(tenant_id, holder_id)
            one = update(executions).where(*holder, executions.c.parked_at.is_not(None))
            join = one.where(executions.c.admission == "parked").values(admission="waiting", due_at=now())
            if (await connection.execute(join)).rowcount:
                await connection.execute(_mine(tenant_id).values(waiting=tenant_gates.c.waiting + 1))
                await self.let_in(connection, tenant_id)
            confirm = one.where(executions.c.admission == "admitted").values(admission="held", parked_at=None)
            await connection.execute(confirm)
            outside = select(executions.c.id).where(*holder, executions.c.admission == "waiting")
            is_inside = (await connection.execute(outside.where(executions.c.parked_at.is_not(None)))).first() is None
        self.stir()
        return is_inside

    async def waking(self, tenant_id: str, execution_id: str) -> Sequence[str]:
        """Return who waits for the slot that a parked execution has got again: it, or others that share it."""
        async with self._database.read(tenant_id) as connection:
            return await active_among(connection, tenant_id, execution_id)

    async def place(self, tenant_id: str, execution_id: str) -> Place | None:
        """Return where an execution stands in the queue, or ``None`` if it does not wait."""
        async with self._database.read(tenant_id) as connection:
            return await find_place(connection, tenant_id, execution_id, self.defaults, now())

    async def is_unbegun(self, tenant_id: str, execution_id: str) -> bool:
        """Return whether an execution waits to begin, so that Temporal knows nothing of it."""
        query = select(executions.c.id).where(*_one(tenant_id, execution_id), UNBEGUN)
        async with self._database.read(tenant_id) as connection:
            return (await connection.execute(query)).first() is not None

    async def is_expected(self, tenant_id: str, execution_id: str) -> bool:
        """Return whether an execution is open that Temporal may know nothing of, for the queue it came through."""
        async with self._database.read(tenant_id) as connection:
            found = await connection.execute(_EXPECTED, {"tenant_id": tenant_id, "execution_id": execution_id})
            return found.first() is not None

    def stir(self, is_stirred: bool = True) -> None:
        """Say, after the commit, that somebody was let in."""
        if is_stirred:
            self.stirred.set()

    async def _give_back(self, connection: AsyncConnection, tenant_id: str, inside: int, waiting: int) -> bool:
        given = {"key": tenant_id, "from_inside": inside, "from_waiting": waiting}
        left = (await connection.execute(_GIVE_BACK, given)).scalar_one_or_none()
        return bool(left) and bool(await self.let_in(connection, tenant_id))


def _one(tenant_id: str, execution_id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return executions.c.tenant_id == tenant_id, executions.c.id == execution_id


def _mine(tenant_id: str) -> Update:
    return update(tenant_gates).where(tenant_gates.c.tenant_id == tenant_id)


def _exceeds(count: int, cap: int | None) -> bool:
    return cap is not None and count > cap


_THIS_MONTH = bindparam("this_month", type_=String())
_TAKE = (
    update(tenant_gates)
    .where(tenant_gates.c.tenant_id == bindparam("key"))
    .values(
        inside=tenant_gates.c.inside + bindparam("count"),
        month_count=case((tenant_gates.c.month == _THIS_MONTH, tenant_gates.c.month_count), else_=0) + bindparam("new"),
        month=_THIS_MONTH,
    )
    .returning(
        *tenant_gates.c,
        exists()
        .where(
            workflow_gates.c.tenant_id == bindparam("key"),
            workflow_gates.c.workflow_id.in_(bindparam("workflow_ids", expanding=True)),
        )
        .label("has_workflow_gates"),
    )
)
_GIVE_BACK = (
    update(tenant_gates)
    .where(tenant_gates.c.tenant_id == bindparam("key"))
    .values(
        inside=tenant_gates.c.inside - bindparam("from_inside"),
        waiting=tenant_gates.c.waiting - bindparam("from_waiting"),
    )
    .returning(tenant_gates.c.waiting)
)

_EXPECTED = select(executions.c.id).where(
    executions.c.tenant_id == bindparam("tenant_id"),
    executions.c.id == bindparam("execution_id"),
    executions.c.admission.in_(("delayed", "waiting", "admitted")),
    executions.c.parked_at.is_(None),
)
_CLOSED = select(executions.c.tenant_id, executions.c.admission).where(
    executions.c.tenant_id == bindparam("key_tenant"),
    executions.c.id == bindparam("key_id"),
    executions.c.closed_at.is_not(None),
)
_LEAVE = (
    update(executions)
    .where(executions.c.tenant_id == bindparam("key_tenant"), executions.c.id == bindparam("key_id"))
    .values(leaving(executions.c.closed_at.is_not(None)))
)
