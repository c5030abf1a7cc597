"""Which executions share a slot: one, and those that it awaits, and those that they await."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import String, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from user_workflows.executions.tables import OPEN_STATUSES, executions


async def holder_of(connection: AsyncConnection, tenant_id: str, execution_id: str) -> str:
    """Return the execution that holds the slot which this one shares: itself, where nobody awaits it."""
    found = await connection.execute(_HOLDER, {"tenant_id": tenant_id, "id": execution_id})
    return found.scalar_one_or_none() or execution_id


async def active_among(connection: AsyncConnection, tenant_id: str, holder_id: str) -> Sequence[str]:
    """Return those who share the slot of this one, itself included, and are not parked."""
    return (await connection.execute(_ACTIVE, {"tenant_id": tenant_id, "id": holder_id})).scalars().all()


async def keep_slot(
    connection: AsyncConnection, tenant_id: str, execution_id: str, acting: Mapping[str, datetime], at: datetime
) -> None:
    """Keep the slot that an execution has, or shares, which was ended by force, until none of its steps can act.

    Args:
        connection: of a transaction that holds the tenant's lock.
        tenant_id: whose it is.
        execution_id: which one; of one that shares a slot this is noted for when its holder ends.
        acting: activity id → until when that step may act at the latest.
        at: the present.
    """
    holder_id = await holder_of(connection, tenant_id, execution_id)
    holder = executions.c.tenant_id == tenant_id, executions.c.id == holder_id
    known = (await connection.execute(select(executions.c.acting).where(*holder))).scalar_one_or_none() or {}
    added = {acting_key(execution_id, activity_id): until.isoformat() for activity_id, until in acting.items()}
    left = {key: until for key, until in {**known, **added}.items() if datetime.fromisoformat(until) > at}
    if not left:
        return
    note = update(executions).where(*holder, executions.c.admission.in_(("admitted", "held")))
    ending = {} if holder_id != execution_id else {"admission": "ending", "due_at": last_of(left), "parked_at": None}
    await connection.execute(note.values(acting=left, **ending))


def acting_key(execution_id: str, activity_id: str) -> str:
    """Return what a step is called among those that act on one slot."""
    return f"{execution_id}/{activity_id}"


def last_of(acting: Mapping[str, str]) -> datetime:
    """Return until when the last of these steps may act."""
    return max(map(datetime.fromisoformat, acting.values()))


_TENANT, _ID = bindparam("tenant_id", type_=String()), bindparam("id", type_=String())

_callers = (
    select(executions.c.id, executions.c.awaited_by)
    .where(executions.c.tenant_id == _TENANT, executions.c.id == _ID)
    .cte("callers", recursive=True)
)
_caller = executions.alias()
_callers = _callers.union_all(
    select(_caller.c.id, _caller.c.awaited_by).where(
        _caller.c.tenant_id == _TENANT, _caller.c.id == _callers.c.awaited_by
    )
)
_HOLDER = select(_callers.c.id).where(_callers.c.awaited_by.is_(None))

_sharing = (
    select(executions.c.id, executions.c.rests)
    .where(executions.c.tenant_id == _TENANT, executions.c.id == _ID)
    .cte("sharing", recursive=True)
)
_awaited = executions.alias()
_sharing = _sharing.union_all(
    select(_awaited.c.id, _awaited.c.rests).where(
        _awaited.c.tenant_id == _TENANT,
        _awaited.c.awaited_by == _sharing.c.id,
        _awaited.c.status.in_(OPEN_STATUSES),
    )
)
_ACTIVE = select(_sharing.c.id).where(_sharing.c.rests.is_(False))
