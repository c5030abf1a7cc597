"""The row of a job that goes on as an execution: handed over, followed, and closed with it.

What starts and ends executions calls these in its own transactions, so that job and execution never differ.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct
from sqlalchemy import Row, bindparam, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from internal_jobs.engines import after_promotion
from internal_jobs.errors import JobNotFound
from internal_jobs.jobs import MAX_RESULT, Status
from internal_jobs.store import place, read_retry
from internal_jobs.table import jobs
from plugins.host.retry import Retry
from plugins.storage.database import Database
from plugins.vault.cipher import Sealer
from plugins.vault.keys import Vault


class Promotable(Struct, frozen=True, kw_only=True):
    """A job as the execution that goes on with it needs it."""

    id: str
    status: Status
    generation: int
    type: str
    payload: dict[str, Any]
    credentials: dict[str, str]
    #: seconds
    timeout: float
    retry: Retry | None
    tags: tuple[str, ...]
    traceparent: str | None
    promoted_to: str | None


class PromotedEnd(Struct, frozen=True, kw_only=True):
    """How an execution ended that may stand for a job."""

    tenant_id: str
    execution_id: str
    status: Literal["completed", "dead", "canceled"]
    closed_at: datetime
    #: what the step gave, in JSON builtins
    result: Any = None
    error_type: str | None = None
    message: str | None = None


_PROMOTED = select(jobs).where(
    jobs.c.promoted_to.in_(bindparam("executions", expanding=True)), jobs.c.status == "promoted"
)


async def find_promotable(database: Database, vault: Vault, tenant_id: str, job_id: str) -> Promotable:
    """Return a job that is to go on as an execution, or does.

    Raises:
        JobNotFound
    """
    query = select(jobs).where(jobs.c.tenant_id == tenant_id, jobs.c.id == job_id)
    async with database.read(tenant_id) as connection:
        row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise JobNotFound(job_id)
    sealer, retry = await vault.sealer(tenant_id), read_retry(row)
    return Promotable(
        id=row.id,
        status=row.status,
        generation=row.generation,
        type=row.type,
        payload=sealer.open_json(row.payload_sealed, place("payload", row.id)),
        credentials=row.credentials,
        timeout=row.timeout,
        # Without an attempt behind it, it is of the other engine from the beginning.
        retry=after_promotion(retry) if row.attempts else retry,
        tags=tuple(row.tags),
        traceparent=row.traceparent,
        promoted_to=row.promoted_to,
    )


async def claim_on(
    connection: AsyncConnection, tenant_id: str, job_id: str, *, generation: int, execution_id: str, at: datetime
) -> bool:
    """Let a job go on as an execution; return false where it does not wait for one any more."""
    claim = (
        update(jobs)
        .where(jobs.c.tenant_id == tenant_id, jobs.c.id == job_id)
        .where(jobs.c.generation == generation)
        .where(or_(jobs.c.status == "promoting", (jobs.c.status == "promoted") & (jobs.c.promoted_to == execution_id)))
        .values(status="promoted", promoted_to=execution_id, promoted_at=func.coalesce(jobs.c.promoted_at, at))
    )
    return bool((await connection.execute(claim)).rowcount)


async def settle_on(connection: AsyncConnection, sealers: Mapping[str, Sealer], ends: Sequence[PromotedEnd]) -> None:
    """Close the jobs that went on as these executions; most executions stand for none."""
    by_execution = {end.execution_id: end for end in ends}
    for row in (await connection.execute(_PROMOTED, {"executions": [*by_execution]})).all():
        end = by_execution[row.promoted_to]
        if row.tenant_id == end.tenant_id:
            await connection.execute(_this(row).values(_closing(row, end, sealers[row.tenant_id])))


async def reopen_on(connection: AsyncConnection, tenant_id: str, execution_id: str) -> None:
    """Let a job follow its execution again, which is retried, as a new effect."""
    mine = (jobs.c.promoted_to == execution_id, jobs.c.tenant_id == tenant_id)
    # Counted here too, so that a later redo of the job is another effect again.
    redone = update(jobs).where(*mine).values(generation=jobs.c.generation + 1).returning(jobs)
    row = (await connection.execute(redone)).one_or_none()
    if row is None or row.status not in ("dead", "canceled", "expired"):
        return
    try:
        async with connection.begin_nested():
            again = {"status": "promoted", "closed_at": None, "cancel_requested": False, "expires_at": None}
            await connection.execute(_this(row).values(again))
    except IntegrityError:
        # Another open job holds its singleton key: the execution goes on, for itself.
        return


def _closing(row: Row[Any], end: PromotedEnd, sealer: Sealer) -> dict[str, Any]:
    closing: dict[str, Any] = {"status": end.status, "closed_at": end.closed_at, "cancel_requested": False}
    if end.status == "completed":
        size = len(msgspec.json.encode(end.result))
        if size > MAX_RESULT:
            message = f"the result is {size} bytes of JSON; at most {MAX_RESULT} are kept. Its execution has it"
            return closing | {"status": "dead"} | error_of(row, sealer, "job.resultTooLarge", message)
        result = sealer.seal_json(end.result, place("result", row.id))
        done = {"result_sealed": result, "attempts": row.attempts + 1, "error_type": None, "error_sealed": None}
        return closing | done
    if end.status == "canceled" and row.expires_at is not None and row.expires_at <= end.closed_at:
        closing["status"] = "expired"
    # The latest attempt has told more of its error than the execution does.
    if end.error_type is not None and end.error_type != row.error_type:
        closing |= error_of(row, sealer, end.error_type, end.message or "")
    return closing


def error_of(row: Row[Any], sealer: Sealer, error_type: str, message: str) -> dict[str, Any]:
    """Return the columns that say what became of a job."""
    details = {"message": message, "attempt": row.attempts}
    return {"error_type": error_type, "error_sealed": sealer.seal_json(details, place("error", row.id))}


def _this(row: Row[Any]) -> Any:
    return update(jobs).where(jobs.c.tenant_id == row.tenant_id, jobs.c.id == row.id)
