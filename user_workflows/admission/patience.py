"""How long whoever finds no slot had best wait: an estimate, for nobody knows when an execution ends."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from user_workflows.executions.tables import executions

#: seconds that anybody is asked to wait: at least, and at most or where nothing is known
SHORTEST, LONGEST = 1.0, 60.0

#: executions of which it is made
_SAMPLE = 50


async def expected_wait(
    connection: AsyncConnection, tenant_id: str, workflow_id: str | None, *, slots: int, at: datetime
) -> float:
    """Return after how many seconds a slot should be free for one who queues now, from `SHORTEST` to `LONGEST`.

    The latest executions tell how long one lasts: the time that all of them have spent inside, over the number of them
    that have ended. So long as one lasts each slot becomes free once, and those that wait already come first.

    Args:
        connection: of the transaction in which whoever asks is counted among those that wait.
        tenant_id: whose slots they are.
        workflow_id: of the workflow's slots; ``None``: of the tenant's.
        slots: how many there are.
        at: the present.
    """
    mine = [executions.c.tenant_id == tenant_id]
    latest = executions.c.admitted_at
    if workflow_id is not None:
        mine.append(executions.c.workflow_id == workflow_id)
        latest = executions.c.id
    # What is parked is outside.
    were_inside = executions.c.admitted_at.is_not(None), executions.c.parked_at.is_(None)
    sample = select(executions.c.admitted_at, executions.c.closed_at).where(*mine, *were_inside)
    rows = (await connection.execute(sample.order_by(latest.desc()).limit(_SAMPLE))).all()
    ended = sum(row.closed_at is not None for row in rows)
    if not ended:
        return LONGEST
    inside: float = sum(((row.closed_at or at) - row.admitted_at).total_seconds() for row in rows)
    waiting = select(func.count()).where(*mine, executions.c.admission == "waiting")
    turns = max(1, (await connection.execute(waiting)).scalar_one())
    return min(LONGEST, max(SHORTEST, inside / ended / slots * turns))
