"""What happened to a job, on both engines, in one list."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import structlog
from msgspec import Struct
from sqlalchemy import Row, select, update
from sqlalchemy.exc import SQLAlchemyError

from internal_jobs.engines import Engine
from internal_jobs.errors import JobNotFound
from internal_jobs.group_commit import GroupCommit
from internal_jobs.jobs import JobError, Status
from internal_jobs.promotion.table import job_attempts
from internal_jobs.runner import NOTHING_TRIED
from internal_jobs.store import place, read_error
from internal_jobs.table import jobs
from plugins.host.invoke import Call, Failure
from plugins.storage.database import Database, now
from plugins.vault.cipher import Sealer
from plugins.vault.errors import VaultError
from plugins.vault.keys import Vault

_log = structlog.get_logger(__name__)


class Moment(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One entry of a timeline."""

    #: enqueued  it was accepted
    #: failed    an attempt failed
    #: promoted  it went on as a durable execution
    #: closed    nothing follows; `status` says how it ended
    event: Literal["enqueued", "failed", "promoted", "closed"]
    at: datetime
    lane: Engine | None = None
    #: counts from 1 on each engine; a redo begins anew, as the next `generation`
    attempt: int | None = None
    generation: int = 1
    started_at: datetime | None = None
    #: when the attempt after a failed one was to follow; none did on this engine where it is absent
    retry_at: datetime | None = None
    error: JobError | None = None
    execution_id: str | None = None
    status: Status | None = None


class Timeline(Struct, frozen=True):
    """The oldest first."""

    items: tuple[Moment, ...]


class Timelines:
    """Keeps failed attempts, and tells the whole story of a job."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._insert = database.insert(job_attempts).on_conflict_do_nothing().returning(job_attempts.c.attempt)
        self._writes: GroupCommit[_Failed, None] = GroupCommit(self._write)

    async def note(self, call: Call, failure: Failure, seconds: float) -> None:
        """Keep a failed attempt, if it was made for a job: here or by the execution that the job goes on as."""
        if not call.origin.startswith("job_") or failure.type in NOTHING_TRIED:
            return
        try:
            sealer = await self._vault.sealer(call.tenant_id)
            await self._writes.submit(_failed(call, failure, sealer, seconds))
        except (SQLAlchemyError, OSError, VaultError) as error:
            # The attempt itself is told of by the job's own row; only its place in the list is lost.
            _log.warning("jobs.attempt_not_noted", job_id=call.origin, error=type(error).__name__)

    async def read(self, tenant_id: str, job_id: str) -> Timeline:
        """Return what happened to a job.

        Raises:
            JobNotFound
        """
        mine = (job_attempts.c.tenant_id == tenant_id, job_attempts.c.job_id == job_id)
        async with self._database.read(tenant_id) as connection:
            one = select(jobs).where(jobs.c.tenant_id == tenant_id, jobs.c.id == job_id)
            row = (await connection.execute(one)).one_or_none()
            failed = select(job_attempts).where(*mine).order_by(job_attempts.c.closed_at, job_attempts.c.attempt)
            attempts = (await connection.execute(failed)).all()
        if row is None:
            raise JobNotFound(job_id)
        sealer = await self._vault.sealer(tenant_id)
        return Timeline(tuple(sorted(_moments(row, attempts, sealer), key=lambda moment: moment.at)))

    async def _write(self, attempts: "Sequence[_Failed]") -> Sequence[None]:
        tenants = {attempt.row["tenant_id"] for attempt in attempts}
        async with self._database.transaction(*tenants) as connection:
            for attempt in attempts:
                known = select(jobs.c.id).where(
                    jobs.c.tenant_id == attempt.row["tenant_id"], jobs.c.id == attempt.row["job_id"]
                )
                if (await connection.execute(known)).first() is None:
                    continue
                is_new = (await connection.execute(self._insert, [attempt.row])).first() is not None
                if is_new and (execution_id := attempt.row["execution_id"]) is not None:
                    # Of attempts that a jobs worker makes its lease tells the job.
                    follow = (
                        update(jobs)
                        .where(jobs.c.promoted_to == execution_id, jobs.c.tenant_id == attempt.row["tenant_id"])
                        .values(
                            attempts=jobs.c.attempts + 1,
                            error_type=attempt.row["error_type"],
                            error_sealed=attempt.error_of_job,
                        )
                    )
                    await connection.execute(follow)
        return [None] * len(attempts)


class _Failed(Struct, frozen=True):
    row: dict[str, Any]
    error_of_job: bytes


def _failed(call: Call, failure: Failure, sealer: Sealer, seconds: float) -> _Failed:
    at = now()
    details = {"message": failure.message, "attempt": failure.attempt, "status": failure.status}
    row = {
        "tenant_id": call.tenant_id,
        "job_id": call.origin,
        "generation": call.generation,
        "lane": "dramatiq" if call.execution_id is None else "temporal",
        "attempt": call.attempt,
        "execution_id": call.execution_id,
        "error_type": failure.type,
        "error_sealed": sealer.seal_json(details, _place(call.origin)),
        "started_at": at - timedelta(seconds=seconds),
        "closed_at": at,
        "retry_at": None if failure.retry_in is None else at + timedelta(seconds=failure.retry_in),
    }
    return _Failed(row, sealer.seal_json(details, place("error", call.origin)))


def _moments(row: Row[Any], attempts: Sequence[Row[Any]], sealer: Sealer) -> Iterator[Moment]:
    yield Moment(event="enqueued", at=row.created_at)
    handed_over = _handed_over(row, attempts)
    for attempt in attempts:
        details = sealer.open_json(attempt.error_sealed, _place(row.id))
        yield Moment(
            event="failed",
            at=attempt.closed_at,
            lane=attempt.lane,
            attempt=attempt.attempt,
            generation=attempt.generation,
            started_at=attempt.started_at,
            # What was to follow it follows on the other engine, at once.
            retry_at=None if attempt is handed_over else attempt.retry_at,
            error=JobError(type=attempt.error_type, **details),
            execution_id=attempt.execution_id,
        )
    if row.promoted_to is not None:
        yield Moment(
            event="promoted",
            at=row.promoted_at,
            lane="temporal",
            generation=row.generation,
            execution_id=row.promoted_to,
        )
    if row.closed_at is not None:
        yield Moment(
            event="closed",
            at=row.closed_at,
            lane="dramatiq" if row.promoted_to is None else "temporal",
            generation=row.generation,
            status=row.status,
            error=read_error(row, sealer) if row.status != "completed" else None,
            execution_id=row.promoted_to,
        )


def _handed_over(row: Row[Any], attempts: Sequence[Row[Any]]) -> Row[Any] | None:
    """Return the attempt with which those of Dramatiq were used up, if it was promoted after it."""
    if row.promoted_to is None and row.status != "promoting":
        return None
    made = [each for each in attempts if (each.generation, each.lane) == (row.generation, "dramatiq")]
    return max(made, key=lambda each: each.attempt, default=None)


def _place(job_id: str) -> str:
    return f"job.attempt:{job_id}"
