"""The door to the dead letters: search, edit, replay."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, case, func, select, update

from internal_jobs.dead_letters.model import DeadLetterFilter, Replay, ReplayRequest
from internal_jobs.dead_letters.table import job_replays, meant
from internal_jobs.destination import destination_of
from internal_jobs.errors import InvalidJob, JobConflict, JobNotFound, ReplayNotFound
from internal_jobs.jobs import MAX_PAYLOAD, Job, JobPage
from internal_jobs.store import place, read_job
from internal_jobs.table import WAITS, jobs
from plugins.storage.clock import moment
from plugins.storage.database import Database, now
from plugins.storage.ids import new_id
from plugins.vault.keys import Vault


class DeadLetters:
    """Jobs that failed for good; they stay until someone decides."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def list(
        self, tenant_id: str, wanted: DeadLetterFilter, *, limit: int = 50, cursor: str | None = None
    ) -> JobPage:
        """Return a page of dead letters, newest first; give its `next_cursor` as `cursor` for the page after it."""
        query = select(jobs).where(*meant(self._database, tenant_id, wanted))
        if cursor is not None:
            query = query.where(jobs.c.id < cursor)
        async with self._database.read(tenant_id) as connection:
            rows = (await connection.execute(query.order_by(jobs.c.id.desc()).limit(limit + 1))).all()
        if not rows:
            return JobPage(items=())
        sealer = await self._vault.sealer(tenant_id)
        items = tuple(read_job(row, sealer) for row in rows[:limit])
        return JobPage(items=items, next_cursor=items[-1].id if len(rows) > limit else None)

    async def find(self, tenant_id: str, job_id: str) -> Job:
        """Return a dead letter.

        Raises:
            JobNotFound
            JobConflict: the job is not dead.
        """
        query = select(jobs).where(jobs.c.tenant_id == tenant_id, jobs.c.id == job_id)
        async with self._database.read(tenant_id) as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise JobNotFound(job_id)
        if row.status != "dead":
            raise JobConflict(f"job {job_id} is {row.status}, not dead")
        return read_job(row, await self._vault.sealer(tenant_id))

    async def edit(self, tenant_id: str, job_id: str, payload: dict[str, Any]) -> Job:
        """Give a dead letter another payload, for its replay.

        Raises:
            JobNotFound
            JobConflict: the job is not dead.
            InvalidJob: the payload is too large.
        """
        if (size := len(msgspec.json.encode(payload))) > MAX_PAYLOAD:
            raise InvalidJob("/payload", f"is {size} bytes of JSON; at most {MAX_PAYLOAD} are kept")
        sealed = (await self._vault.sealer(tenant_id)).seal_json(payload, place("payload", job_id))
        one = update(jobs).where(jobs.c.tenant_id == tenant_id, jobs.c.id == job_id, jobs.c.status == "dead")
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(one.values(payload_sealed=sealed, destination=destination_of(payload)))
        return await self.find(tenant_id, job_id)

    async def replay(self, tenant_id: str, request: ReplayRequest) -> Replay:
        """Begin to put the dead letters back that there are now and that the filter means."""
        present = now()
        row = {
            "tenant_id": tenant_id,
            "id": new_id("rep"),
            "status": "running",
            "filter": msgspec.to_builtins(request.filter),
            "rate": request.rate_per_second,
            "max_error_rate": request.max_error_rate,
            "next_at": moment(self._database),
            "created_at": moment(self._database),
        }
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(job_replays.insert().values(row))
        return Replay(
            id=str(row["id"]),
            status="running",
            reason=None,
            filter=request.filter,
            rate_per_second=request.rate_per_second,
            max_error_rate=request.max_error_rate,
            replayed=0,
            completed=0,
            failed=0,
            open=0,
            created_at=present,
            closed_at=None,
        )

    async def replays(self, tenant_id: str, *, limit: int = 50, cursor: str | None = None) -> Sequence[Replay]:
        """Return up to `limit` replays, newest first, older than `cursor`."""
        query = select(job_replays).where(job_replays.c.tenant_id == tenant_id)
        if cursor is not None:
            query = query.where(job_replays.c.id < cursor)
        async with self._database.read(tenant_id) as connection:
            rows = (await connection.execute(query.order_by(job_replays.c.id.desc()).limit(limit))).all()
        return [await self._view(row) for row in rows]

    async def find_replay(self, tenant_id: str, replay_id: str) -> Replay:
        """Return a replay and how far it is.

        Raises:
            ReplayNotFound
        """
        query = select(job_replays).where(job_replays.c.tenant_id == tenant_id, job_replays.c.id == replay_id)
        async with self._database.read(tenant_id) as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise ReplayNotFound(replay_id)
        return await self._view(row)

    async def stop_replay(self, tenant_id: str, replay_id: str) -> Replay:
        """Put no more back; what was put back already runs.

        Raises:
            ReplayNotFound
        """
        one = (job_replays.c.tenant_id == tenant_id, job_replays.c.id == replay_id, job_replays.c.status == "running")
        stop = update(job_replays).where(*one)
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(stop.values(status="stopped", reason="asked", closed_at=moment(self._database)))
        return await self.find_replay(tenant_id, replay_id)

    async def _view(self, row: Row[Any]) -> Replay:
        def counted(*statuses: str) -> Any:
            return func.coalesce(func.sum(case((jobs.c.status.in_(statuses), 1), else_=0)), 0)

        query = select(counted("completed"), counted("dead"), counted(*WAITS, "running"))
        query = query.where(jobs.c.tenant_id == row.tenant_id, jobs.c.replay_id == row.id)
        async with self._database.read(row.tenant_id) as connection:
            completed, failed, under_way = (await connection.execute(query)).one()
        return Replay(
            id=row.id,
            status=row.status,
            reason=row.reason,
            filter=msgspec.convert(row.filter, DeadLetterFilter),
            rate_per_second=row.rate,
            max_error_rate=row.max_error_rate,
            replayed=row.replayed,
            completed=completed,
            failed=failed,
            open=under_way,
            created_at=row.created_at,
            closed_at=row.closed_at,
        )
