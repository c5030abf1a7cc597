"""What becomes of a start that a cap keeps outside, as its workflow says (`concurrency.policy`)."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from user_workflows.admission.caps import Caps, Obstacle
from user_workflows.admission.patience import expected_wait
from user_workflows.admission.queue import lock, obstacle_of
from user_workflows.admission.standing import Standing, tenant_standing, workflow_standings
from user_workflows.admission.withdrawal import Withdrawals
from user_workflows.errors import InputTooLarge, OverCap
from user_workflows.executions.tables import executions
from user_workflows.interpreter.messages import ExecutionError


class Judgement(Struct, frozen=True, kw_only=True):
    """What came of those that were not let in at once."""

    #: executions that make room, to be canceled
    replaced: tuple[str, ...] = ()


async def judge(
    connection: AsyncConnection,
    withdrawals: Withdrawals,
    tenant_id: str,
    execution_ids: Collection[str],
    *,
    refusable: Collection[str],
    defaults: Caps,
    at: datetime,
) -> Judgement:
    """Do what the policies say with those of these executions that still wait.

    Args:
        connection: of the transaction that put them into the queue.
        withdrawals: closes what does not get to begin.
        tenant_id: whose they are.
        execution_ids: just arrived.
        refusable: those of them whose caller can be told; for others a refusal is a record.
        defaults: caps of the installation.
        at: the present.

    Raises:
        OverCap: one is refused; the transaction must be rolled back.
    """
    query = select(executions).where(
        executions.c.tenant_id == tenant_id,
        executions.c.id.in_(sorted(execution_ids)),
        executions.c.admission == "waiting",
    )
    left = (await connection.execute(query.order_by(executions.c.due_at, executions.c.id))).all()
    if not left:
        return Judgement()
    workflows = await workflow_standings(connection, tenant_id, sorted({row.workflow_id for row in left}), at)
    if all(standing.policy == "queue" for standing in workflows.values()):
        return Judgement()
    row = await lock(connection, tenant_id)
    if row is None:
        return Judgement()
    tenant = await tenant_standing(connection, row, defaults, at)
    replaced: list[str] = []
    for each in left:
        own = workflows.get(each.workflow_id)
        obstacle = await obstacle_of(connection, tenant, own, each, at)
        if own is None or own.policy == "queue" or obstacle is None:
            continue
        if own.policy == "reject" and each.id in refusable:
            raise OverCap(
                f"this workflow refuses starts over a cap, and {obstacle.reason}",
                retry_after=await _retry_after(connection, each, obstacle, at),
                rate=tenant.rate(at),
            )
        if own.policy == "replaceOldest":
            if (victim := await _replace(connection, withdrawals, each, obstacle)) is not None:
                replaced.append(victim)
            continue
        await withdrawals.close(connection, tenant_id, [each.id], "canceled", _not_begun(own, obstacle))
    return Judgement(replaced=tuple(replaced))


def check_inputs(caps: Sequence[tuple[str, Caps]], payloads: Sequence[Any]) -> None:
    """Refuse inputs that are larger than the caps of a tenant or a workflow.

    Raises:
        InputTooLarge: naming the first.
    """
    limits = [(whose, each.payload_bytes) for whose, each in caps if each.payload_bytes is not None]
    if not limits:
        return
    whose, limit = min(limits, key=lambda found: found[1])
    for payload in payloads:
        if (size := len(msgspec.json.encode(payload))) > limit:
            raise InputTooLarge(whose=whose, size=size, limit=limit)


async def _retry_after(connection: AsyncConnection, refused: Row[Any], obstacle: Obstacle, at: datetime) -> float:
    if obstacle.until is not None:
        return (obstacle.until - at).total_seconds()
    workflow_id = refused.workflow_id if obstacle.scope == "workflow" else None
    return await expected_wait(connection, refused.tenant_id, workflow_id, slots=obstacle.limit, at=at)


async def _replace(
    connection: AsyncConnection, withdrawals: Withdrawals, newcomer: Row[Any], obstacle: Obstacle
) -> str | None:
    """Let the oldest execution of a workflow make room; return its id if it is to be canceled."""
    mine = executions.c.tenant_id == newcomer.tenant_id, executions.c.workflow_id == newcomer.workflow_id
    # What the clock decides is not decided sooner because something ends.
    kinds = ("waiting", "admitted", "held") if obstacle.cap == "concurrentExecutions" else ("waiting",)
    older = (
        select(executions.c.id, executions.c.admission, executions.c.parked_at)
        .where(*mine, executions.c.admission.in_(kinds), executions.c.replaced_by.is_(None))
        .where(executions.c.id != newcomer.id)
        .order_by(executions.c.due_at, executions.c.id)
        .limit(1)
    )
    oldest = (await connection.execute(older)).one_or_none()
    if oldest is None:
        return None
    if oldest.admission == "waiting" and oldest.parked_at is None:
        error = ExecutionError(
            type="admission.replaced", message=f"execution {newcomer.id} took its place before it began"
        )
        await withdrawals.close(connection, newcomer.tenant_id, [oldest.id], "canceled", error)
        return None
    await connection.execute(
        update(executions)
        .where(executions.c.tenant_id == newcomer.tenant_id, executions.c.id == oldest.id)
        .values(replaced_by=newcomer.id)
    )
    victim: str = oldest.id
    return victim


def _not_begun(own: Standing, obstacle: Obstacle) -> ExecutionError:
    if own.policy == "skip":
        return ExecutionError(type="admission.skipped", message=f"skipped, as its workflow says: {obstacle.reason}")
    return ExecutionError(type="admission.rejected", message=f"refused, as its workflow says: {obstacle.reason}")
