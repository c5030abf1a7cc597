"""What the executions of a tenant have used."""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct
from sqlalchemy import func, select

from plugins.storage.database import Database
from plugins.storage.ids import first_id
from user_workflows.executions.tables import executions, steps

#: statuses of steps in which nothing was done
_IDLE = ("pending", "skipped")


class ExecutionUsage(Struct, frozen=True, kw_only=True, rename="camel"):
    """Of executions that were started in some time. What is still running counts as far as it has come."""

    executions: int
    by_status: Mapping[str, int]
    #: steps that did something, those in loops one by one
    steps: int
    #: in Temporal, of executions that are closed
    history_events: int
    #: what Temporal Cloud bills, of executions that are closed
    billable_actions: int


async def execution_usage(database: Database, tenant_id: str, *, since: datetime, until: datetime) -> ExecutionUsage:
    """Count what was started from `since` on and before `until`, as far as retention has left it."""
    first, end = first_id("ex", since), first_id("ex", until)
    by_status = (
        select(
            executions.c.status,
            func.count(),
            func.coalesce(func.sum(executions.c.history_events), 0),
            func.coalesce(func.sum(executions.c.billable_actions), 0),
        )
        .where(executions.c.tenant_id == tenant_id, executions.c.id >= first, executions.c.id < end)
        .group_by(executions.c.status)
    )
    done = select(func.count()).where(
        steps.c.tenant_id == tenant_id,
        steps.c.execution_id >= first,
        steps.c.execution_id < end,
        steps.c.status.not_in(_IDLE),
    )
    async with database.read(tenant_id) as connection:
        rows = (await connection.execute(by_status)).all()
        count = (await connection.execute(done)).scalar_one()
    return ExecutionUsage(
        executions=sum(row[1] for row in rows),
        by_status={row[0]: row[1] for row in sorted(rows, key=lambda row: str(row[0]))},
        steps=count,
        history_events=sum(int(row[2]) for row in rows),
        billable_actions=sum(int(row[3]) for row in rows),
    )
