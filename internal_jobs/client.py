"""The door for producers: jobs are asked for here, by name and payload, and looked at again."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from internal_jobs.draft import check, draft
from internal_jobs.errors import InvalidJob, JobNotFound
from internal_jobs.group_commit import GroupCommit
from internal_jobs.insertion import Inserted, Insertion, NewJob
from internal_jobs.jobs import Job, JobPage, JobRequest, Queue, Status
from internal_jobs.metrics import ENQUEUED
from internal_jobs.store import JobStore, read_job
from internal_jobs.wake import SOON, Waker
from plugins.storage.database import Database
from plugins.storage.ids import new_id
from plugins.vault.keys import Vault

__all__ = ["Job", "JobPage", "JobRequest", "Jobs"]


class Jobs:
    """Enqueues jobs and answers for them. Make one per process; `close` it.

    Accepting a job needs the database alone: with Redis away it is accepted all the same, and starts later.
    """

    def __init__(self, *, database: Database, vault: Vault, waker: Waker) -> None:
        self._store = JobStore(database)
        self._insertion = Insertion(database)
        self._vault = vault
        self._waker = waker
        self._inserts: GroupCommit[NewJob, Inserted] = GroupCommit(
            # SQLite writes one transaction at a time.
            self._insertion.insert,
            at_once=1 if database.is_sqlite else 2,
        )

    async def enqueue(
        self,
        tenant_id: str,
        request: JobRequest,
        *,
        key: str | None = None,
        connection: AsyncConnection | None = None,
        actor: str | None = None,
        traceparent: str | None = None,
    ) -> Job:
        """Keep a job, and return it.

        Args:
            tenant_id: who it belongs to.
            request: what is to be done, and how.
            key: idempotency key, unique per tenant; for an equal one the first job is returned.
            connection: insert in this transaction of the caller's; it starts within a second of the commit, at once
                if the caller calls `wake` after it. The tenant's keys must exist by then (`Vault.sealer`).
            actor: who asks for it, as the audit trail calls them.
            traceparent: W3C trace context that the job's log lines carry on.

        Raises:
            InvalidJob: the request cannot be kept.
            VaultError: the tenant is unknown, or its keys were destroyed.
        """
        new = await self._new(tenant_id, request, key, actor, traceparent)
        if connection is None:
            inserted = await self._inserts.submit(new)
            self._wake_for([new])
        else:
            (inserted,) = await self._insertion.insert_on(connection, [new])
        return await self._answer(new.row, request, inserted, connection)

    async def enqueue_many(
        self,
        tenant_id: str,
        requests: Sequence[JobRequest],
        *,
        keys: Sequence[str] | None = None,
        actor: str | None = None,
        traceparent: str | None = None,
    ) -> list[Job]:
        """Keep all of these jobs or none, in one transaction; return them in order.

        Args:
            tenant_id: who they belong to.
            requests: what is to be done.
            keys: an idempotency key for each.
            actor: who asks for them, as the audit trail calls them.
            traceparent: W3C trace context that the jobs' log lines carry on.

        Raises:
            InvalidJob: one cannot be kept; its pointer begins with the index.
            VaultError: the tenant is unknown, or its keys were destroyed.
        """
        news = []
        for index, request in enumerate(requests):
            key = None if keys is None else keys[index]
            try:
                news.append(await self._new(tenant_id, request, key, actor, traceparent))
            except InvalidJob as fault:
                raise InvalidJob(f"/{index}{fault.pointer}", fault.detail) from None
        inserted = await self._insertion.insert(news) if news else []
        self._wake_for(news)
        return [
            await self._answer(new.row, request, one)
            for new, request, one in zip(news, requests, inserted, strict=True)
        ]

    def wake(self) -> None:
        """Say that jobs were committed in a transaction of the caller's."""
        self._waker.wake()

    async def get(self, tenant_id: str, job_id: str) -> Job | None:
        row = await self._store.find(tenant_id, job_id)
        return None if row is None else read_job(row, await self._vault.sealer(tenant_id))

    async def list(
        self,
        tenant_id: str,
        *,
        status: Status | None = None,
        type: str | None = None,
        queue: Queue | None = None,
        tag: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> JobPage:
        """Return a page of jobs, newest first; give its `next_cursor` as `cursor` for the page after it."""
        rows = await self._store.list(
            tenant_id, status=status, type=type, queue=queue, tag=tag, before=cursor, limit=limit + 1
        )
        if not rows:
            return JobPage(items=())
        sealer = await self._vault.sealer(tenant_id)
        items = tuple(read_job(row, sealer) for row in rows[:limit])
        return JobPage(items=items, next_cursor=items[-1].id if len(rows) > limit else None)

    async def cancel(self, tenant_id: str, job_id: str) -> Job:
        """Cancel a job that waits or is dead; ask a running one to stop, which its plugin sees as `Context.cancelled`.

        One that goes on all the same is stopped five seconds later, and what it was about to do is abandoned.

        Raises:
            JobNotFound
            JobConflict: it is closed already, otherwise than by cancelling.
        """
        await self._store.cancel(tenant_id, job_id)
        # Whoever has the execution of a promoted one stopped need not wait for its next look.
        self._waker.wake()
        return await self._read(tenant_id, job_id)

    async def retry(self, tenant_id: str, job_id: str) -> Job:
        """Make the next attempt due now; a closed job starts over, and its effect is made anew.

        Raises:
            JobNotFound
            JobConflict: it is queued, running or completed, or another open job holds its singleton key.
        """
        await self._store.retry(tenant_id, job_id)
        self._waker.wake()
        return await self._read(tenant_id, job_id)

    async def purge(self, before: datetime) -> int:
        """Delete what was completed, cancelled or expired before a moment, of all tenants; return how many."""
        return await self._store.purge(before)

    async def close(self) -> None:
        await self._waker.close()

    def _wake_for(self, news: Iterable[NewJob]) -> None:
        if any(new.row["available_at"] - new.row["created_at"] < SOON for new in news):
            self._waker.wake()

    async def _answer(
        self, row: dict[str, Any], request: JobRequest, inserted: Inserted, connection: AsyncConnection | None = None
    ) -> Job:
        if not inserted.is_new:
            return await self._read(row["tenant_id"], inserted.id, connection)
        ENQUEUED.labels(request.queue).inc()
        return _fresh(row, request)

    async def _read(self, tenant_id: str, job_id: str, connection: AsyncConnection | None = None) -> Job:
        row = await self._store.find(tenant_id, job_id, connection=connection)
        if row is None:
            raise JobNotFound(job_id)
        return read_job(row, await self._vault.sealer(tenant_id))

    async def _new(
        self, tenant_id: str, request: JobRequest, key: str | None, actor: str | None, traceparent: str | None
    ) -> NewJob:
        check(request)
        sealer = await self._vault.sealer(tenant_id)
        return draft(tenant_id, request, sealer, id=new_id("job"), key=key, actor=actor, traceparent=traceparent)


def _fresh(row: dict[str, Any], request: JobRequest) -> Job:
    return Job(
        id=row["id"],
        type=row["type"],
        queue=row["queue"],
        status=row["status"],
        payload=request.payload,
        credentials=request.credentials,
        tags=request.tags,
        attempts=0,
        max_attempts=row["max_attempts"],
        retry=request.retry,
        lane=request.lane,
        on_exhausted=request.on_exhausted,
        promoted_to=None,
        result=None,
        error=None,
        progress=None,
        created_at=row["created_at"],
        available_at=row["available_at"],
        expires_at=row["expires_at"],
        started_at=None,
        closed_at=None,
        actor=row["actor"],
    )
