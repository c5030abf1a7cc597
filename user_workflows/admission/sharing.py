"""Which executions share a slot: one, and those that it awaits, and those that they await."""

from collections.abc import Sequence

from sqlalchemy import String, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from user_workflows.executions.tables import OPEN_STATUSES, executions


async def holder_of(connection: AsyncConnection, tenant_id: str, execution_id: str) -> str:
    """Return the execution that holds the slot which this one shares: itself, where nobody awaits it."""
    found = await connection.execute(_HOLDER, {"tenant_id": tenant_id, "id": execution_id})
    return found.scalar_one_or_none() or execution_id


async def active_among(connection: AsyncConnection, tenant_id: str, holder_id: str) -> Sequence[str]:
    """Return those who share the slot of this one, itself included, and are not parked."""
    return (await connection.execute(_ACTIVE, {"tenant_id": tenant_id, "id": holder_id})).scalars().all()


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
