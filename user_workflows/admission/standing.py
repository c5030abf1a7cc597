"""How a tenant, or a workflow, stands with its caps at one moment. Read under the tenant's lock, it stays true."""

from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from sqlalchemy import Row, bindparam, delete, func, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from user_workflows.admission.caps import Caps, Obstacle, Policy, Rate, Scope, month_of, next_month, read_caps
from user_workflows.admission.tables import LIVE, earlier_starts, workflow_gates
from user_workflows.executions.tables import executions

MINUTE = timedelta(seconds=60)

#: where an execution is that has a slot: let in and not yet handed over, handed over, ended by force with steps that
#: may still act
INSIDE = ("admitted", "held", "ending")


class Asks(Struct, frozen=True, kw_only=True):
    """What an execution asks of the gate, besides a slot."""

    #: to count as a start: not when it wakes
    is_start: bool = True
    #: to count for the month: not when it is tried again
    is_new: bool = True


class Standing(Struct, kw_only=True):
    scope: Scope
    caps: Caps
    #: those of them that are set for it, not drawn or by default
    own: Caps = Caps()
    policy: Policy = "queue"
    is_policy_own: bool = False
    inside: int
    month_count: int
    #: starts within the last minute, as far as they are capped
    starts: int = 0
    #: when the oldest of them is a minute old
    next_start_at: datetime | None = None

    def obstacle(self, asks: Asks, at: datetime) -> Obstacle | None:
        """Return what keeps an execution outside; of several, what lasts longest."""
        caps = self.caps
        if asks.is_start and asks.is_new and _is_full(self.month_count, caps.monthly_executions):
            return self._obstacle("monthlyExecutions", caps.monthly_executions, next_month(at))
        if _is_full(self.inside, caps.concurrent_executions):
            return self._obstacle("concurrentExecutions", caps.concurrent_executions, None)
        if asks.is_start and _is_full(self.starts, caps.starts_per_minute):
            return self._obstacle("startsPerMinute", caps.starts_per_minute, self.next_start_at or at + MINUTE)
        return None

    def let_in(self, asks: Asks) -> None:
        self.inside += 1
        self.starts += int(asks.is_start)
        self.month_count += int(asks.is_start and asks.is_new)

    def rate(self, at: datetime) -> Rate | None:
        """Return how it stands with its starts per minute; ``None``: they are not capped."""
        if (limit := self.caps.starts_per_minute) is None:
            return None
        reset = 0.0 if self.next_start_at is None else (self.next_start_at - at).total_seconds()
        return Rate(limit=limit, remaining=max(0, limit - self.starts), reset=max(0.0, reset))

    def _obstacle(self, cap: Any, limit: int | None, until: datetime | None) -> Obstacle:
        return Obstacle(cap=cap, scope=self.scope, limit=limit or 0, until=until)


async def rate_of(connection: AsyncConnection, tenant_id: str, cap: int, at: datetime) -> Rate:
    """Return how a tenant stands whose starts per minute are capped."""
    starts, next_start_at = await _starts(connection, cap, tenant_id, None, at)
    reset = 0.0 if next_start_at is None else (next_start_at - at).total_seconds()
    return Rate(limit=cap, remaining=cap - starts, reset=max(0.0, reset))


async def tenant_standing(connection: AsyncConnection, row: Row[Any], defaults: Caps, at: datetime) -> Standing:
    """Return how a tenant stands, whose gate is `row`."""
    own = read_caps(row)
    caps = own.over(defaults)
    starts, next_start_at = await _starts(connection, caps.starts_per_minute, row.tenant_id, None, at)
    return Standing(
        scope="tenant",
        caps=caps,
        own=own,
        inside=row.inside,
        month_count=_count(row, at),
        starts=starts,
        next_start_at=next_start_at,
    )


async def workflow_standings(
    connection: AsyncConnection, tenant_id: str, workflow_ids: list[str], at: datetime
) -> dict[str, Standing]:
    """Return how those of these workflows stand that have caps, or a policy."""
    found = {}
    rows = await connection.execute(_GATES, {"tenant_id": tenant_id, "ids": workflow_ids})
    for row in rows.all():
        own = read_caps(row, LIVE)
        caps = own.over(read_caps(row))
        inside = 0
        if caps.concurrent_executions is not None:
            one = {"tenant_id": tenant_id, "workflow_id": row.workflow_id}
            inside = (await connection.execute(_INSIDE, one)).scalar_one()
        starts, next_start_at = await _starts(connection, caps.starts_per_minute, tenant_id, row.workflow_id, at)
        found[row.workflow_id] = Standing(
            scope="workflow",
            caps=caps,
            own=own,
            policy=row.live_policy or row.policy,
            is_policy_own=row.live_policy is not None,
            inside=inside,
            month_count=_count(row, at),
            starts=starts,
            next_start_at=next_start_at,
        )
    return found


_GATES = select(workflow_gates).where(
    workflow_gates.c.tenant_id == bindparam("tenant_id"),
    workflow_gates.c.workflow_id.in_(bindparam("ids", expanding=True)),
)

_INSIDE = select(func.count()).where(
    executions.c.tenant_id == bindparam("tenant_id"),
    executions.c.admission.in_(INSIDE),
    executions.c.workflow_id == bindparam("workflow_id"),
)


async def _starts(
    connection: AsyncConnection, cap: int | None, tenant_id: str, workflow_id: str | None, at: datetime
) -> tuple[int, datetime | None]:
    """Count the starts of the last minute, up to the cap, and tell when the oldest of them is a minute old."""
    if cap is None:
        return 0, None
    arms = []
    for starts in (executions, earlier_starts):
        arm = select(starts.c.admitted_at).where(starts.c.tenant_id == tenant_id, starts.c.admitted_at > at - MINUTE)
        if workflow_id is not None:
            arm = arm.where(starts.c.workflow_id == workflow_id)
        arms.append(select(arm.order_by(starts.c.admitted_at.desc()).limit(cap).subquery()))
    both = union_all(*arms).subquery()
    counted = select(both).order_by(both.c.admitted_at.desc()).limit(cap).subquery()
    row = (await connection.execute(select(func.count(), func.min(counted.c.admitted_at)).select_from(counted))).one()
    return row[0], None if row[1] is None else row[1] + MINUTE


async def remember_start(connection: AsyncConnection, execution: Row[Any], at: datetime) -> None:
    """Keep the start of an execution that is tried again for as long as it counts; its own row tells the next one."""
    old = earlier_starts.c.tenant_id == execution.tenant_id, earlier_starts.c.admitted_at <= at - MINUTE
    await connection.execute(delete(earlier_starts).where(*old))
    if execution.admitted_at is not None and execution.admitted_at > at - MINUTE:
        names = ("tenant_id", "workflow_id", "admitted_at")
        told = {name: getattr(execution, name) for name in names}
        await connection.execute(earlier_starts.insert().values(execution_id=execution.id, **told))


def _count(row: Row[Any], at: datetime) -> int:
    count: int = row.month_count
    return count if row.month == month_of(at) else 0


def _is_full(count: int, cap: int | None) -> bool:
    return cap is not None and count >= cap
