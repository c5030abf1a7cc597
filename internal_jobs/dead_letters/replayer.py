"""The replayer: puts dead letters back at the rate that was asked for, and stops when too many of them fail again."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import structlog
from sqlalchemy import Row, func, or_, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from internal_jobs.dead_letters.model import DeadLetterFilter
from internal_jobs.dead_letters.table import RUNNING, job_replays, meant
from internal_jobs.store import begun_anew
from internal_jobs.table import jobs
from plugins.storage.clock import moment
from plugins.storage.database import Database

_log = structlog.get_logger(__name__)

#: Seconds between two looks.
INTERVAL = 0.25
#: Jobs that are put back in one transaction.
MOST = 100
#: The latest ones, by which the error rate is judged, and how many there must be at least. Until there are, no more
#: than twice as many are put back.
LATEST, FEWEST = 50, 10


class Replayer:
    """Works off all replays; several workers share them, and each is worked on by one at a time."""

    def __init__(self, database: Database, *, on_due: Callable[[], None]) -> None:
        self._database = database
        self._on_due = on_due

    async def run(self) -> None:
        """Replay until cancelled. Survives the loss of the database."""
        while True:
            try:
                busy = await self.tick()
            except (SQLAlchemyError, OSError) as error:
                busy = False
                _log.warning("jobs.replay_failed", error=str(error))
            await asyncio.sleep(INTERVAL if busy else 4 * INTERVAL)

    async def tick(self) -> bool:
        """Go on with every replay that is under way; return whether there is one."""
        query = select(job_replays.c.tenant_id, job_replays.c.id).where(RUNNING)
        async with self._database.across.read() as connection:
            keys = (await connection.execute(query)).all()
        for tenant_id, id in keys:
            try:
                await self._take_up(tenant_id, id)
            except msgspec.ValidationError as error:
                # A worker of a newer release wrote what this one does not know, and goes on with it.
                _log.warning("jobs.replay_left", tenant_id=tenant_id, replay_id=id, error=str(error))
            self._on_due()
        return bool(keys)

    async def _take_up(self, tenant_id: str, id: str) -> None:
        """Go on with one replay, unless another worker is at it."""
        one = (job_replays.c.tenant_id == tenant_id, job_replays.c.id == id)
        async with self._database.transaction(tenant_id) as connection:
            lock = select(job_replays).where(*one, RUNNING).with_for_update(skip_locked=True)
            row = (await connection.execute(lock)).one_or_none()
            if row is not None and (changes := await self._go_on(connection, row)):
                await connection.execute(update(job_replays).where(*one).values(**changes))

    async def _go_on(self, connection: AsyncConnection, replay: Row[Any]) -> dict[str, Any]:
        """Put back what is due; return what changes about the replay."""
        present = (await connection.execute(select(moment(self._database)))).scalar_one()
        over = {"closed_at": present}
        settled, failed = await self._latest(connection, replay)
        if settled >= FEWEST and failed / settled > replay.max_error_rate:
            _log.warning("jobs.replay_stopped", tenant_id=replay.tenant_id, replay_id=replay.id, failed=failed)
            return over | {"status": "stopped", "reason": "errorRate"}
        # What fell due while nobody looked is made up for, as far back as a second.
        next_at = max(replay.next_at, present - timedelta(seconds=1))
        due = int((present - next_at).total_seconds() * replay.rate) + 1 if present >= next_at else 0
        if settled < FEWEST:
            due = min(due, 2 * FEWEST - replay.replayed)
        if due <= 0:
            return {}
        wanted = msgspec.convert(replay.filter, DeadLetterFilter)
        # Those that died before the replay was asked for, each once.
        conditions = (
            *meant(self._database, replay.tenant_id, wanted),
            jobs.c.closed_at < replay.created_at,
            or_(jobs.c.replay_id.is_(None), jobs.c.replay_id != replay.id),
        )
        oldest = select(jobs.c.id).where(*conditions).order_by(jobs.c.closed_at, jobs.c.id).limit(min(due, MOST))
        ids = (await connection.execute(oldest)).scalars().all()
        if not ids:
            return over | {"status": "completed"}
        count = sum([await self._put_back(connection, replay, id) for id in ids])
        step = timedelta(seconds=len(ids) / replay.rate)
        return {"replayed": replay.replayed + count, "next_at": next_at + step}

    async def _put_back(self, connection: AsyncConnection, replay: Row[Any], job_id: str) -> bool:
        one = update(jobs).where(jobs.c.tenant_id == replay.tenant_id, jobs.c.id == job_id, jobs.c.status == "dead")
        try:
            async with connection.begin_nested():
                anew = one.values(**begun_anew(self._database), replay_id=replay.id)
                return (await connection.execute(anew)).rowcount > 0
        except IntegrityError:
            # An open job holds its singleton key and does what this one was for: it stays, looked at once.
            await connection.execute(one.values(replay_id=replay.id))
            return False

    async def _latest(self, connection: AsyncConnection, replay: Row[Any]) -> tuple[int, int]:
        """Return how many of the latest ones have been tried, and how many of these failed."""
        tried = jobs.c.status.in_(("completed", "dead", "failed"))
        of_replay = (jobs.c.tenant_id == replay.tenant_id, jobs.c.replay_id == replay.id, tried)
        # A job that waits for its next attempt has failed, too, whatever comes of it; one that never began has not.
        latest = (
            select(jobs.c.status)
            .where(
                *of_replay,
                jobs.c.started_at.is_not(None),
                or_(jobs.c.closed_at.is_(None), jobs.c.closed_at >= replay.created_at),
            )
            .order_by(func.coalesce(jobs.c.closed_at, jobs.c.available_at).desc())
            .limit(LATEST)
        )
        statuses = (await connection.execute(latest)).scalars().all()
        return len(statuses), sum(1 for status in statuses if status != "completed")
