"""The queue of each tenant: who is let in next, and where everybody stands."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import Row, Select, bindparam, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from user_workflows.admission.caps import Caps, Obstacle, month_of
from user_workflows.admission.sharing import holder_of
from user_workflows.admission.standing import Asks, Standing, tenant_standing, workflow_standings
from user_workflows.admission.tables import tenant_gates, workflow_gates
from user_workflows.executions.tables import executions

#: executions that are let in at most in one transaction
AT_ONCE = 200

_START, _RETRY, _WAKE = Asks(), Asks(is_new=False), Asks(is_start=False)


class Place(Struct, frozen=True, kw_only=True, rename="camel"):
    """Where an execution stands in the queue."""

    #: counted from 1: in the queue of its tenant or, where its workflow alone holds it up, of its workflow
    position: int
    #: what it waits for
    reason: str
    since: datetime
    #: when it can be let in at the earliest, where the clock decides
    until: datetime | None = None


async def lock(connection: AsyncConnection, tenant_id: str) -> Row[Any] | None:
    """Return the gate of a tenant, and keep everybody else from it until the end of the transaction."""
    return (await connection.execute(_LOCK, {"tenant_id": tenant_id})).one_or_none()


async def let_in(connection: AsyncConnection, tenant_id: str, defaults: Caps, at: datetime) -> set[str]:
    """Let in whom the caps allow, first come first, and return their ids.

    An execution that its own workflow's caps keep outside lets those of other workflows pass.
    """
    row = await lock(connection, tenant_id)
    if row is None or not row.waiting:
        return set()
    tenant = await tenant_standing(connection, row, defaults, at)
    known: dict[str, Standing] = {}
    seen: set[str] = set()
    blocked: set[str] = set()
    chosen: list[Any] = []
    after: Any = None
    while len(chosen) < AT_ONCE and tenant.obstacle(_WAKE, at) is None:
        query = _waiting(tenant_id, after, blocked, only_waking=tenant.obstacle(_RETRY, at) is not None)
        page = (await connection.execute(query.limit(AT_ONCE))).all()
        if not page:
            break
        after = page[-1]
        if new := {each.workflow_id for each in page} - seen:
            seen |= new
            known |= await workflow_standings(connection, tenant_id, sorted(new), at)
        for each in page:
            asks, own = _asks(each), known.get(each.workflow_id)
            if len(chosen) == AT_ONCE or tenant.obstacle(asks, at) is not None:
                continue
            if each.workflow_id in blocked or (own is not None and own.obstacle(asks, at) is not None):
                # Those behind it must not overtake it.
                blocked.add(each.workflow_id)
                continue
            tenant.let_in(asks)
            if own is not None:
                own.let_in(asks)
            chosen.append(each)
    if chosen:
        await _write(connection, row, chosen, tenant=tenant, workflows=known, at=at)
    return {each.id for each in chosen}


async def find_place(
    connection: AsyncConnection, tenant_id: str, execution_id: str, defaults: Caps, at: datetime
) -> Place | None:
    """Return where an execution stands, or who holds the slot that it shares; ``None``: it does not wait."""
    row = await _find(connection, tenant_id, execution_id)
    if row is not None and row.awaited_by is not None and not row.rests:
        row = await _find(connection, tenant_id, await holder_of(connection, tenant_id, execution_id))
    if row is None or row.admission not in ("waiting", "delayed"):
        return None
    if row.admission == "delayed":
        reason = f"it was put off until {row.due_at:%Y-%m-%dT%H:%M:%SZ}"
        return Place(position=1, reason=reason, since=row.created_at, until=row.due_at)
    gate = (await connection.execute(select(tenant_gates).where(tenant_gates.c.tenant_id == tenant_id))).one()
    own = (await workflow_standings(connection, tenant_id, [row.workflow_id], at)).get(row.workflow_id)
    obstacle = None if own is None else own.obstacle(_asks(row), at)
    ahead = select(func.count()).where(
        executions.c.admission == "waiting",
        executions.c.tenant_id == tenant_id,
        _order() < tuple_(row.due_at, row.id),
    )
    if obstacle is not None:
        ahead = ahead.where(executions.c.workflow_id == row.workflow_id)
    else:
        obstacle = (await tenant_standing(connection, gate, defaults, at)).obstacle(_asks(row), at)
    position = (await connection.execute(ahead)).scalar_one() + 1
    return Place(
        position=position,
        reason="it is let in within moments" if obstacle is None else obstacle.reason,
        since=row.due_at,
        until=None if obstacle is None else obstacle.until,
    )


async def _find(connection: AsyncConnection, tenant_id: str, execution_id: str) -> Any:
    query = select(*_COLUMNS, executions.c.admission, executions.c.awaited_by, executions.c.rests)
    mine = executions.c.tenant_id == tenant_id, executions.c.id == execution_id
    return (await connection.execute(query.where(*mine))).one_or_none()


async def obstacle_of(
    connection: AsyncConnection, tenant: Standing, own: Standing | None, row: Row[Any], at: datetime
) -> Obstacle | None:
    """Return what keeps a waiting execution outside: a cap of its workflow's, else of its tenant's."""
    asks = _asks(row)
    return (None if own is None else own.obstacle(asks, at)) or tenant.obstacle(asks, at)


def _asks(row: Any) -> Asks:
    if row.parked_at is not None:
        return _WAKE
    return _START if row.generation == 1 else _RETRY


def _order() -> Any:
    return tuple_(executions.c.due_at, executions.c.id)


def _waiting(tenant_id: str, after: Any, blocked: set[str], *, only_waking: bool) -> "Select[Any]":
    query = select(*_COLUMNS).where(executions.c.admission == "waiting", executions.c.tenant_id == tenant_id)
    if after is not None:
        query = query.where(_order() > tuple_(after.due_at, after.id))
    if blocked:
        query = query.where(executions.c.workflow_id.not_in(sorted(blocked)))
    if only_waking:
        query = query.where(executions.c.parked_at.is_not(None))
    return query.order_by(executions.c.due_at, executions.c.id)


async def _write(
    connection: AsyncConnection,
    row: Row[Any],
    chosen: Sequence[Any],
    *,
    tenant: Standing,
    workflows: dict[str, Standing],
    at: datetime,
) -> None:
    let_in = update(executions).where(executions.c.tenant_id == row.tenant_id).values(admission="admitted")
    starts = [each.id for each in chosen if each.parked_at is None]
    wakers = [each.id for each in chosen if each.parked_at is not None]
    if starts:
        await connection.execute(let_in.where(executions.c.id.in_(starts)).values(admitted_at=at, checked_at=at))
    if wakers:
        await connection.execute(let_in.where(executions.c.id.in_(wakers)))
    await connection.execute(
        update(tenant_gates)
        .where(tenant_gates.c.tenant_id == row.tenant_id)
        .values(
            inside=tenant.inside,
            waiting=row.waiting - len(chosen),
            month=month_of(at),
            month_count=tenant.month_count,
        )
    )
    for workflow_id in sorted({each.workflow_id for each in chosen} & workflows.keys()):
        await connection.execute(
            update(workflow_gates)
            .where(workflow_gates.c.tenant_id == row.tenant_id, workflow_gates.c.workflow_id == workflow_id)
            .values(month=month_of(at), month_count=workflows[workflow_id].month_count)
        )


_LOCK = select(tenant_gates).where(tenant_gates.c.tenant_id == bindparam("tenant_id")).with_for_update()

_COLUMNS = (
    executions.c.id,
    executions.c.workflow_id,
    executions.c.generation,
    executions.c.parked_at,
    executions.c.due_at,
    executions.c.created_at,
)
