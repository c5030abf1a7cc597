"""Jobs in the database, as clients see them: read, listed, cancelled, tried again, purged."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    Text,
    cast,
    delete,
    false,
    func,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from internal_jobs.errors import JobConflict, JobNotFound
from internal_jobs.jobs import Job, JobError, Queue, Status
from internal_jobs.table import SETTLED, WAITS, jobs
from plugins.host.retry import Retry
from plugins.storage.clock import moment
from plugins.storage.database import Database
from plugins.vault.cipher import Sealer

#: Jobs that one statement of a purge deletes: short transactions, so that nobody waits for them.
PURGE_BATCH = 1_000


#: What stands for the message of an error that nobody wrote one for.
_REASONS = {"job.superseded": "a newer job with its singleton key took its place"}


def key_digest(tenant_id: str, key: str) -> str:
    """Return what is stored of a client's idempotency or singleton key."""
    return sha256(f"{tenant_id}\0{key}".encode()).hexdigest()


class JobStore:
    """The client's half of the table `jobs`, once they are made (`insertion`); the relay's is `outbox`, the worker's
    is `leases`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, tenant_id: str, job_id: str, *, connection: AsyncConnection | None = None) -> Row[Any] | None:
        query = select(jobs).where(jobs.c.tenant_id == tenant_id, jobs.c.id == job_id)
        if connection is not None:
            return (await connection.execute(query)).one_or_none()
        async with self._database.read(tenant_id) as reading:
            return (await reading.execute(query)).one_or_none()

    async def list(
        self,
        tenant_id: str,
        *,
        status: Status | None,
        type: str | None,
        queue: Queue | None,
        tag: str | None,
        before: str | None,
        limit: int,
    ) -> Sequence[Row[Any]]:
        """Return up to `limit` jobs, newest first, older than the job `before`."""
        query: Select[Any] = select(jobs).where(jobs.c.tenant_id == tenant_id)
        for column, wanted in ((jobs.c.status, status), (jobs.c.type, type), (jobs.c.queue, queue)):
            if wanted is not None:
                query = query.where(column == wanted)
        if tag is not None:
            query = query.where(has_tag(self._database, tag))
        if before is not None:
            query = query.where(jobs.c.id < before)
        async with self._database.read(tenant_id) as connection:
            rows: Sequence[Row[Any]] = (await connection.execute(query.order_by(jobs.c.id.desc()).limit(limit))).all()
        return rows

    async def cancel(self, tenant_id: str, job_id: str) -> None:
        """Close a job that waits or is dead as ``canceled``; ask a running one to stop, here or as an execution.

        Raises:
            JobNotFound
            JobConflict: it is closed already, otherwise than by cancelling.
        """
        async with self._database.transaction(tenant_id) as connection:
            await self.cancel_on(connection, tenant_id, job_id)

    async def cancel_on(self, connection: AsyncConnection, tenant_id: str, job_id: str) -> None:
        """Do the same in the caller's transaction."""
        one = update(jobs).where(jobs.c.tenant_id == tenant_id, jobs.c.id == job_id)
        close = one.where(jobs.c.status.in_((*WAITS, "dead"))).values(
            status="canceled", closed_at=moment(self._database)
        )
        ask = one.where(jobs.c.status == "running").values(cancel_requested=True)
        for statement in (close, ask, one.where(jobs.c.status == "promoted").values(**to_be_stopped(self._database))):
            if (await connection.execute(statement)).rowcount:
                return
        row = await self.find(tenant_id, job_id, connection=connection)
        if row is None:
            raise JobNotFound(job_id)
        if row.status != "canceled":
            raise JobConflict(f"job {job_id} is {row.status} and cannot be cancelled")

    async def retry(self, tenant_id: str, job_id: str) -> None:
        """Make a job's next attempt due now. One that was closed starts over, as a new effect.

        Raises:
            JobNotFound
            JobConflict: it is on its way already, is completed, or another open job holds its singleton key.
        """
        one = update(jobs).where(jobs.c.tenant_id == tenant_id, jobs.c.id == job_id)
        hurry = one.where(jobs.c.status.in_(("scheduled", "failed"))).values(**_at_once(self._database))
        redo = one.where(jobs.c.status.in_(("dead", "canceled", "expired"))).values(**begun_anew(self._database))
        try:
            async with self._database.transaction(tenant_id) as connection:
                for statement in (hurry, redo):
                    if (await connection.execute(statement)).rowcount:
                        return
                row = await self.find(tenant_id, job_id, connection=connection)
        except IntegrityError:
            raise JobConflict(f"another open job holds the singleton key of job {job_id}") from None
        if row is None:
            raise JobNotFound(job_id)
        raise JobConflict(f"job {job_id} is {row.status} and cannot be tried again")

    async def purge(self, before: datetime) -> int:
        """Delete completed, canceled and expired jobs closed before a moment; return how many. Dead letters stay."""
        keys = select(jobs.c.tenant_id, jobs.c.id).where(SETTLED, jobs.c.closed_at < before).limit(PURGE_BATCH)
        batch = delete(jobs).where(tuple_(jobs.c.tenant_id, jobs.c.id).in_(keys))
        deleted = 0
        while True:
            async with self._database.across.transaction() as connection:
                count = (await connection.execute(batch)).rowcount
            deleted += count
            if count < PURGE_BATCH:
                return deleted


def has_tag(database: Database, tag: str) -> ColumnElement[bool]:
    """Return the condition of jobs with a tag."""
    # No wildcards and no folding of case, as LIKE would bring on one database or the other.
    find = func.instr if database.is_sqlite else func.strpos
    return find(cast(jobs.c.tags, Text), f'"{tag}"') > 0


def _at_once(database: Database) -> dict[str, Any]:
    return {"status": "queued", "available_at": moment(database), "published_at": None}


def to_be_stopped(database: Database) -> dict[str, Any]:
    """Return what a promoted job is set to so that its execution is stopped."""
    return {"cancel_requested": True, "available_at": moment(database)}


def begun_anew(database: Database) -> dict[str, Any]:
    """Return what a closed job is set to so that it starts over, as a new effect."""
    return {
        **_at_once(database),
        "generation": jobs.c.generation + 1,
        "attempts": 0,
        "redeliveries": 0,
        "expires_at": None,
        "started_at": None,
        "closed_at": None,
        "promoted_to": None,
        "promoted_at": None,
        "cancel_requested": false(),
        "singleton_key": func.coalesce(jobs.c.singleton_key, jobs.c.yielded_key),
        "yielded_key": None,
    }


def read_job(row: Row[Any], sealer: Sealer) -> Job:
    """Make a `Job` of its row.

    Raises:
        Unreadable: the tenant's keys do not open it.
    """

    def opened(column: str) -> Any:
        sealed = getattr(row, f"{column}_sealed")
        return None if sealed is None else sealer.open_json(sealed, place(column, row.id))

    return Job(
        id=row.id,
        type=row.type,
        queue=row.queue,
        status=row.status,
        payload=opened("payload"),
        credentials=row.credentials,
        tags=tuple(row.tags),
        attempts=row.attempts,
        max_attempts=row.max_attempts,
        retry=None if row.retry is None else read_retry(row),
        lane=row.lane,
        on_exhausted=row.on_exhausted,
        promoted_to=row.promoted_to,
        result=opened("result"),
        error=read_error(row, sealer),
        progress=opened("progress"),
        created_at=row.created_at,
        available_at=row.available_at,
        expires_at=row.expires_at,
        started_at=row.started_at,
        closed_at=row.closed_at,
        actor=row.actor,
    )


def read_error(row: Row[Any], sealer: Sealer) -> JobError | None:
    """Return what the latest failed attempt of a job failed with."""
    if row.error_sealed is not None:
        return JobError(type=row.error_type, **sealer.open_json(row.error_sealed, place("error", row.id)))
    if row.error_type in _REASONS:
        return JobError(type=row.error_type, message=_REASONS[row.error_type], attempt=row.attempts)
    return None


def read_retry(row: Row[Any]) -> Retry | None:
    """Return the retry policy that a job asks for, by itself or by its number of attempts alone."""
    if row.retry is not None:
        return msgspec.convert(row.retry, Retry)
    return None if row.max_attempts is None else Retry(max_attempts=row.max_attempts)


def place(column: str, job_id: str) -> str:
    """Name a sealed column of a job, for `Sealer`."""
    return f"job.{column}:{job_id}"
