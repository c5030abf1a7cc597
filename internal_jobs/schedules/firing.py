"""Decides about firings: each in one transaction, under the lock of its schedule's row, so that it is decided once."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from internal_jobs.client import Jobs
from internal_jobs.errors import JobConflict, JobNotFound
from internal_jobs.jobs import OPEN
from internal_jobs.schedules.model import Firing, FiringStatus, ScheduleRequest
from internal_jobs.schedules.table import job_schedules, schedule_firings
from internal_jobs.schedules.times import firing_id, look, timing_of
from internal_jobs.store import JobStore
from internal_jobs.table import jobs as jobs_table
from plugins.storage.clock import moment
from plugins.storage.database import Database
from plugins.storage.ids import new_id

#: Firings of one schedule that wait at most; those that come on top are skipped.
MOST_WAITING = 100


class Planned(Struct, frozen=True, kw_only=True):
    """A schedule as a transaction finds it: locked, and opened."""

    tenant_id: str
    id: str
    spec: ScheduleRequest
    anchor: datetime


class Firer:
    def __init__(self, database: Database, jobs: Jobs) -> None:
        self._database = database
        self._jobs = jobs
        self._store = JobStore(database)

    async def present(self, connection: AsyncConnection) -> datetime:
        """Return the database's time: a scheduler with a wrong clock fires no sooner than the others."""
        present: datetime = (await connection.execute(select(moment(self._database)))).scalar_one()
        return present

    async def fire(self, connection: AsyncConnection, row: Row[Any], planned: Planned) -> int:
        """Decide about every firing of a locked schedule that is due, and return how many jobs were made."""
        if row.fires_at is None:
            return 0
        present = await self.present(connection)
        timing = timing_of(planned.id, planned.anchor, planned.spec)
        outlook = look(timing, row.fires_at, present)
        if outlook.following == row.fires_at:
            return 0
        if outlook.missed is not None:
            reason = "no scheduler was there in time; what came between this and the next one was missed too"
            await self._note(connection, planned, outlook.missed, present, "missed", reason=reason)
        made = 0
        for nominal in outlook.firing:
            made += await self._decide(connection, planned, nominal, present)
        following = outlook.following
        values = {"fires_at": following, "due_at": None if following is None else timing.due(following)}
        await connection.execute(update(job_schedules).where(*_one(planned)).values(values))
        return made

    async def release(self, connection: AsyncConnection, planned: Planned) -> int:
        """Make the job of the firing of a locked schedule that has waited longest, if nothing is open any more."""
        waiting = (
            select(schedule_firings.c.id, schedule_firings.c.scheduled_at)
            .where(*_of(planned), schedule_firings.c.status == "waiting")
            .order_by(schedule_firings.c.id)
            .limit(1)
        )
        if await self._open(connection, planned):
            return 0
        first = (await connection.execute(waiting)).one_or_none()
        if first is None:
            return 0
        await self._start(connection, planned, first.id, first.scheduled_at, await self.present(connection))
        return 1

    async def run(self, connection: AsyncConnection, planned: Planned) -> Firing:
        """Make a job now, whatever is open."""
        present = await self.present(connection)
        return await self._start(connection, planned, new_id("fir"), present, present)

    async def _decide(self, connection: AsyncConnection, planned: Planned, nominal: datetime, present: datetime) -> int:
        before = [] if planned.spec.overlap == "allow" else await self._open(connection, planned)
        if planned.spec.overlap == "replace" and before:
            before = await self._clear(connection, planned, before)
        waits = await self._waiting(connection, planned) if planned.spec.overlap == "queue" else 0
        if not before and not waits:
            await self._start(connection, planned, firing_id(planned.id, nominal), nominal, present)
            return 1
        if planned.spec.overlap == "skip":
            reason = f"job {before[0]} of an earlier firing was still open"
            await self._note(connection, planned, nominal, present, "skipped", reason=reason)
        elif waits >= MOST_WAITING:
            reason = f"{waits} earlier firings were waiting"
            await self._note(connection, planned, nominal, present, "skipped", reason=reason)
        else:
            await self._note(connection, planned, nominal, present, "waiting")
        return 0

    async def _clear(self, connection: AsyncConnection, planned: Planned, job_ids: Sequence[str]) -> Sequence[str]:
        """Cancel the jobs of earlier firings and give up those that wait; return the jobs that have yet to stop."""
        reason = "a later firing came while it waited"
        replaced = update(schedule_firings).where(*_of(planned), schedule_firings.c.status == "waiting")
        await connection.execute(replaced.values(status="replaced", reason=reason))
        for job_id in job_ids:
            try:
                await self._store.cancel_on(connection, planned.tenant_id, job_id)
            except (JobNotFound, JobConflict):
                # It has ended meanwhile.
                continue
        return await self._open(connection, planned)

    async def _open(self, connection: AsyncConnection, planned: Planned) -> Sequence[str]:
        """Return the open jobs of earlier firings, and remember of the others that they are closed."""
        fired = select(schedule_firings.c.job_id).where(*_of(planned), schedule_firings.c.is_open)
        known = set((await connection.execute(fired)).scalars())
        if not known:
            return ()
        still = select(jobs_table.c.id).where(
            jobs_table.c.tenant_id == planned.tenant_id, jobs_table.c.id.in_(known), jobs_table.c.status.in_(OPEN)
        )
        found = sorted((await connection.execute(still)).scalars())
        closed = update(schedule_firings).where(*_of(planned), schedule_firings.c.is_open)
        await connection.execute(closed.where(schedule_firings.c.job_id.not_in(found)).values(is_open=False))
        return found

    async def _waiting(self, connection: AsyncConnection, planned: Planned) -> int:
        query = select(schedule_firings.c.id).where(*_of(planned), schedule_firings.c.status == "waiting")
        return len((await connection.execute(query.limit(MOST_WAITING))).all())

    async def _start(
        self, connection: AsyncConnection, planned: Planned, id: str, nominal: datetime, present: datetime
    ) -> Firing:
        request = planned.spec.job
        tagged = msgspec.structs.replace(request, tags=(*request.tags, f"schedule:{planned.id}"))
        job = await self._jobs.enqueue(planned.tenant_id, tagged, key=f"schedule:{id}", connection=connection)
        return await self._note(connection, planned, nominal, present, "started", id=id, job_id=job.id)

    async def _note(
        self,
        connection: AsyncConnection,
        planned: Planned,
        nominal: datetime,
        present: datetime,
        status: FiringStatus,
        *,
        id: str | None = None,
        job_id: str | None = None,
        reason: str | None = None,
    ) -> Firing:
        firing = Firing(
            id=id or firing_id(planned.id, nominal),
            scheduled_at=nominal,
            status=status,
            fired_at=present,
            job_id=job_id,
            reason=reason,
        )
        values = {**msgspec.structs.asdict(firing), "is_open": status == "started"}
        keys = {"tenant_id": planned.tenant_id, "schedule_id": planned.id}
        insert = self._database.insert(schedule_firings).values(**keys, **values)
        await connection.execute(
            insert.on_conflict_do_update(index_elements=["tenant_id", "id"], set_={**values, "id": firing.id})
        )
        return firing


def _one(planned: Planned) -> tuple[Any, ...]:
    return job_schedules.c.tenant_id == planned.tenant_id, job_schedules.c.id == planned.id


def _of(planned: Planned) -> tuple[Any, ...]:
    return schedule_firings.c.tenant_id == planned.tenant_id, schedule_firings.c.schedule_id == planned.id
