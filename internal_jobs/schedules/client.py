"""The door to schedules: made, listed, changed, paused, run now."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, delete, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from internal_jobs.client import Jobs
from internal_jobs.errors import InvalidSchedule, ScheduleNotFound
from internal_jobs.schedules.firing import Firer, Planned
from internal_jobs.schedules.model import Firing, FiringPage, Schedule, SchedulePage, ScheduleRequest
from internal_jobs.schedules.table import job_schedules, schedule_firings, spec_place
from internal_jobs.schedules.times import timing_of
from plugins.storage.database import Database, now
from plugins.storage.ids import new_id
from plugins.vault.cipher import Sealer
from plugins.vault.keys import Vault

__all__ = ["Firing", "FiringPage", "Schedule", "SchedulePage", "ScheduleRequest", "Schedules"]

#: Firings that one statement of a purge deletes.
PURGE_BATCH = 1_000


class Schedules:
    """Schedules of jobs. They are fired by `scheduler.Scheduler`, of which any number may run."""

    def __init__(self, *, database: Database, vault: Vault, jobs: Jobs) -> None:
        self._database = database
        self._vault = vault
        self._jobs = jobs
        self._firer = Firer(database, jobs)

    async def create(self, tenant_id: str, request: ScheduleRequest) -> Schedule:
        """Keep a schedule; it fires from now on.

        Raises:
            InvalidSchedule: it cannot be kept.
            VaultError: the tenant is unknown, or its keys were destroyed.
        """
        id, present = new_id("sch"), now()
        _check(id, present, request)
        sealer = await self._vault.sealer(tenant_id)
        row = {
            "tenant_id": tenant_id,
            "id": id,
            "anchor": request.start_at or present,
            "created_at": present,
            **_values(id, request.start_at or present, request, sealer, after=present),
        }
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(job_schedules.insert().values(row))
        return await self.get(tenant_id, id)

    async def get(self, tenant_id: str, schedule_id: str) -> Schedule:
        """Return a schedule.

        Raises:
            ScheduleNotFound
        """
        async with self._database.read(tenant_id) as connection:
            row = await _find(connection, tenant_id, schedule_id)
            (last,) = await _last_firings(connection, [row]) or (None,)
        return _schedule(row, last, await self._vault.sealer(tenant_id))

    async def list(self, tenant_id: str, *, limit: int = 50, cursor: str | None = None) -> SchedulePage:
        """Return a page of schedules, newest first."""
        query = select(job_schedules).where(job_schedules.c.tenant_id == tenant_id)
        if cursor is not None:
            query = query.where(job_schedules.c.id < cursor)
        async with self._database.read(tenant_id) as connection:
            rows = (await connection.execute(query.order_by(job_schedules.c.id.desc()).limit(limit + 1))).all()
            last = {row.schedule_id: row for row in await _last_firings(connection, rows)}
        if not rows:
            return SchedulePage(items=())
        sealer = await self._vault.sealer(tenant_id)
        items = tuple(_schedule(row, last.get(row.id), sealer) for row in rows[:limit])
        return SchedulePage(items=items, next_cursor=items[-1].id if len(rows) > limit else None)

    async def replace(self, tenant_id: str, schedule_id: str, request: ScheduleRequest) -> Schedule:
        """Put another request in a schedule's place; it fires by the new one from now on.

        Raises:
            ScheduleNotFound
            InvalidSchedule: it cannot be kept.
        """
        _check(schedule_id, now(), request)
        sealer = await self._vault.sealer(tenant_id)
        async with self._locked(tenant_id, schedule_id) as (connection, row):
            anchor = request.start_at or row.created_at
            present = await self._firer.present(connection)
            values = {"anchor": anchor, **_values(schedule_id, anchor, request, sealer, after=present)}
            await connection.execute(update(job_schedules).where(*_one(tenant_id, schedule_id)).values(values))
        return await self.get(tenant_id, schedule_id)

    async def pause(self, tenant_id: str, schedule_id: str) -> Schedule:
        """Let nothing fire any more. Jobs that were made go on.

        Raises:
            ScheduleNotFound
        """
        return await self._set_paused(tenant_id, schedule_id, is_paused=True)

    async def resume(self, tenant_id: str, schedule_id: str) -> Schedule:
        """Fire again from now on; what fell into the pause is not made up for.

        Raises:
            ScheduleNotFound
        """
        return await self._set_paused(tenant_id, schedule_id, is_paused=False)

    async def run(self, tenant_id: str, schedule_id: str) -> Firing:
        """Make a job now, also while the schedule is paused or an earlier job is open.

        Raises:
            ScheduleNotFound
            InvalidJob: its job cannot be kept.
        """
        sealer = await self._vault.sealer(tenant_id)
        async with self._locked(tenant_id, schedule_id) as (connection, row):
            firing = await self._firer.run(connection, planned(row, sealer))
        self._jobs.wake()
        return firing

    async def delete(self, tenant_id: str, schedule_id: str) -> None:
        """Forget a schedule and its firings. Jobs that were made go on.

        Raises:
            ScheduleNotFound
        """
        async with self._database.transaction(tenant_id) as connection:
            gone = await connection.execute(delete(job_schedules).where(*_one(tenant_id, schedule_id)))
        if not gone.rowcount:
            raise ScheduleNotFound(schedule_id)

    async def firings(
        self, tenant_id: str, schedule_id: str, *, limit: int = 50, cursor: str | None = None
    ) -> FiringPage:
        """Return a page of what became of the firings of a schedule, newest first.

        Raises:
            ScheduleNotFound
        """
        query = select(schedule_firings).where(
            schedule_firings.c.tenant_id == tenant_id, schedule_firings.c.schedule_id == schedule_id
        )
        if cursor is not None:
            query = query.where(schedule_firings.c.id < cursor)
        async with self._database.read(tenant_id) as connection:
            await _find(connection, tenant_id, schedule_id)
            rows = (await connection.execute(query.order_by(schedule_firings.c.id.desc()).limit(limit + 1))).all()
        items = tuple(_firing(row) for row in rows[:limit])
        return FiringPage(items=items, next_cursor=items[-1].id if len(rows) > limit else None)

    async def purge(self, before: datetime) -> int:
        """Delete firings that were decided before a moment, of all tenants; return how many. What waits stays."""
        old = (
            select(schedule_firings.c.tenant_id, schedule_firings.c.id)
            .where(schedule_firings.c.fired_at < before)
            .where(schedule_firings.c.status != "waiting", schedule_firings.c.is_open.is_(False))
            .limit(PURGE_BATCH)
        )
        keys = tuple_(schedule_firings.c.tenant_id, schedule_firings.c.id)
        async with self._database.across.transaction() as connection:
            return (await connection.execute(delete(schedule_firings).where(keys.in_(old)))).rowcount

    async def _set_paused(self, tenant_id: str, schedule_id: str, *, is_paused: bool) -> Schedule:
        sealer = await self._vault.sealer(tenant_id)
        async with self._locked(tenant_id, schedule_id) as (connection, row):
            if row.paused != is_paused:
                request = msgspec.structs.replace(planned(row, sealer).spec, paused=is_paused)
                present = await self._firer.present(connection)
                values = _values(schedule_id, row.anchor, request, sealer, after=present)
                await connection.execute(update(job_schedules).where(*_one(tenant_id, schedule_id)).values(values))
        return await self.get(tenant_id, schedule_id)

    @asynccontextmanager
    async def _locked(self, tenant_id: str, schedule_id: str) -> AsyncIterator[tuple[AsyncConnection, Row[Any]]]:
        async with self._database.transaction(tenant_id) as connection:
            yield connection, await _find(connection, tenant_id, schedule_id, lock=True)


def planned(row: Row[Any], sealer: Sealer) -> Planned:
    """Open the row of a schedule.

    Raises:
        Unreadable: the tenant's keys do not open it.
    """
    spec = msgspec.convert(sealer.open_json(row.spec_sealed, spec_place(row.id)), ScheduleRequest)
    return Planned(tenant_id=row.tenant_id, id=row.id, spec=spec, anchor=row.anchor)


def _check(schedule_id: str, anchor: datetime, request: ScheduleRequest) -> None:
    timing_of(schedule_id, anchor, request)
    for name in ("delay", "at"):
        if getattr(request.job, name) is not None:
            raise InvalidSchedule(f"/job/{name}", "does not belong here: the schedule says when its jobs start")


def _values(
    schedule_id: str, anchor: datetime, request: ScheduleRequest, sealer: Sealer, *, after: datetime
) -> dict[str, Any]:
    timing = timing_of(schedule_id, anchor, request)
    following = None if request.paused else next(timing.firings(after), None)
    return {
        "spec_sealed": sealer.seal_json(msgspec.to_builtins(request), spec_place(schedule_id)),
        "job_type": request.job.type,
        "paused": request.paused,
        "fires_at": following,
        "due_at": None if following is None else timing.due(following),
    }


async def _find(connection: AsyncConnection, tenant_id: str, schedule_id: str, *, lock: bool = False) -> Row[Any]:
    query = select(job_schedules).where(*_one(tenant_id, schedule_id))
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise ScheduleNotFound(schedule_id)
    return row


async def _last_firings(connection: AsyncConnection, schedules: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
    """Return the latest firing of each schedule that has fired."""
    last: list[Row[Any]] = []
    for schedule in schedules:
        query = (
            select(schedule_firings)
            .where(schedule_firings.c.tenant_id == schedule.tenant_id, schedule_firings.c.schedule_id == schedule.id)
            .order_by(schedule_firings.c.id.desc())
            .limit(1)
        )
        last.extend((await connection.execute(query)).all())
    return last


def _schedule(row: Row[Any], last: Row[Any] | None, sealer: Sealer) -> Schedule:
    spec = planned(row, sealer).spec
    return Schedule(
        id=row.id,
        name=spec.name,
        job=spec.job,
        cron=spec.cron,
        every=spec.every,
        start_at=row.anchor,
        timezone=spec.timezone,
        jitter=spec.jitter,
        overlap=spec.overlap,
        catch_up=spec.catch_up,
        missed=spec.missed,
        paused=row.paused,
        next_fire_at=row.due_at,
        last_firing=None if last is None else _firing(last),
        created_at=row.created_at,
    )


def _firing(row: Row[Any]) -> Firing:
    return Firing(
        id=row.id,
        scheduled_at=row.scheduled_at,
        status=row.status,
        fired_at=row.fired_at,
        job_id=row.job_id,
        reason=row.reason,
    )


def _one(tenant_id: str, schedule_id: str) -> tuple[Any, ...]:
    return job_schedules.c.tenant_id == tenant_id, job_schedules.c.id == schedule_id
