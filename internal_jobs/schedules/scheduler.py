"""The scheduler: fires what is due. Any number may run, in any processes; each firing is decided once."""

import asyncio
from typing import Any

import msgspec
import structlog
from sqlalchemy import Row, exists, select, update
from sqlalchemy.exc import SQLAlchemyError

from internal_jobs.client import Jobs
from internal_jobs.errors import JobsError
from internal_jobs.jobs import OPEN
from internal_jobs.schedules.client import planned
from internal_jobs.schedules.firing import Firer
from internal_jobs.schedules.table import job_schedules, schedule_firings
from internal_jobs.table import jobs
from plugins.storage.clock import moment
from plugins.storage.database import Database
from plugins.vault.errors import VaultError
from plugins.vault.keys import Vault

_log = structlog.get_logger(__name__)

#: Seconds between two looks: nobody tells a scheduler of a schedule that was made, or of a job that was closed.
POLL = 1.0
#: The same at least: what is due and was not decided is another scheduler's.
PAUSE = 0.05
#: Schedules that one look takes up.
BATCH = 100
#: Seconds for which a schedule is left to a scheduler of a newer release, which wrote what this one does not know.
LEFT = 5.0


_FIRED = schedule_firings.alias()
#: schedules that have a firing waiting, and nothing any more for which it waits
_RELEASABLE = (
    select(job_schedules)
    .where(
        exists().where(
            schedule_firings.c.tenant_id == job_schedules.c.tenant_id,
            schedule_firings.c.schedule_id == job_schedules.c.id,
            schedule_firings.c.status == "waiting",
        ),
        ~exists().where(
            _FIRED.c.tenant_id == job_schedules.c.tenant_id,
            _FIRED.c.schedule_id == job_schedules.c.id,
            _FIRED.c.is_open,
            jobs.c.tenant_id == _FIRED.c.tenant_id,
            jobs.c.id == _FIRED.c.job_id,
            jobs.c.status.in_(OPEN),
        ),
    )
    .order_by(job_schedules.c.id)
)


class Scheduler:
    def __init__(self, *, database: Database, vault: Vault, jobs: Jobs) -> None:
        self._database = database
        self._vault = vault
        self._jobs = jobs
        self._firer = Firer(database, jobs)

    async def run(self) -> None:
        """Fire until cancelled. Survives the loss of the database."""
        while True:
            try:
                due_in = await self.look()
            except (SQLAlchemyError, OSError) as error:
                _log.warning("schedules.interrupted", error=type(error).__name__, retry_in=POLL)
                due_in = POLL
            await asyncio.sleep(min(max(due_in, PAUSE), POLL))

    async def look(self) -> float:
        """Fire everything that is due now, and return the seconds until something is due."""
        present = moment(self._database)
        due = select(job_schedules).where(job_schedules.c.due_at <= present).order_by(job_schedules.c.due_at)
        async with self._database.across.read() as connection:
            firing = (await connection.execute(due.limit(BATCH))).all()
            held = (await connection.execute(_RELEASABLE.limit(BATCH))).all()
        made = 0
        for row in (*held, *firing):
            made += await self._take_up(row)
        if made:
            self._jobs.wake()
        return 0.0 if len(firing) == BATCH else await self._due_in()

    async def _take_up(self, seen: Row[Any]) -> int:
        """Decide about one schedule, unless another scheduler is at it; return how many jobs were made."""
        one = (job_schedules.c.tenant_id == seen.tenant_id, job_schedules.c.id == seen.id)
        lock = select(job_schedules).where(*one).with_for_update(skip_locked=True)
        try:
            sealer = await self._vault.sealer(seen.tenant_id)
            async with self._database.transaction(seen.tenant_id) as connection:
                row = (await connection.execute(lock)).one_or_none()
                if row is None:
                    return 0
                opened = planned(row, sealer)
                made = await self._firer.release(connection, opened)
                return made + await self._firer.fire(connection, row, opened)
        except msgspec.ValidationError as error:
            async with self._database.transaction(seen.tenant_id) as connection:
                later = update(job_schedules).where(*one, job_schedules.c.due_at.is_not(None))
                await connection.execute(later.values(due_at=moment(self._database, LEFT)))
            _log.warning("schedules.left", tenant_id=seen.tenant_id, schedule_id=seen.id, error=str(error))
            return 0
        except (VaultError, JobsError) as error:
            # It would fail the same way each second: whoever mends it resumes it.
            async with self._database.transaction(seen.tenant_id) as connection:
                await connection.execute(update(job_schedules).where(*one).values(paused=True, due_at=None))
            _log.warning("schedules.paused", tenant_id=seen.tenant_id, schedule_id=seen.id, error=str(error))
            return 0

    async def _due_in(self) -> float:
        query = select(job_schedules.c.due_at, moment(self._database)).where(job_schedules.c.due_at.is_not(None))
        async with self._database.across.read() as connection:
            row = (await connection.execute(query.order_by(job_schedules.c.due_at).limit(1))).one_or_none()
        return POLL if row is None else float((row[0] - row[1]).total_seconds())
