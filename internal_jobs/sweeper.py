"""The sweeper: finds what went wrong silently, in the database alone, and puts it back on its way."""

import asyncio
import time
from collections.abc import Callable

import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from internal_jobs.broker import JobsBroker
from internal_jobs.jobs import Publication
from internal_jobs.leases import Leases
from internal_jobs.metrics import REPUBLISHED
from internal_jobs.outbox import Outbox
from internal_jobs.poison import Redeliveries

_log = structlog.get_logger(__name__)

#: Seconds between two sweeps.
INTERVAL = 1.0
#: Seconds after which a message that Redis does not have is lost, and for which a worker has one that is stuck.
LOST_AFTER, STUCK_AFTER = 2.0, 30.0


class Sweeper:
    """Takes back lapsed leases, finds lost messages, closes expired jobs.

    Args:
        outbox: where lost messages are given back to.
        leases: what is taken back when it lapsed.
        broker: knows where messages are.
        redeliveries: decides about jobs whose worker is gone.
        on_due: called when something can be published again.
        stuck_after: seconds for which a worker may have a message and neither begin nor end its job.
        grace: seconds after an absence of the database in which no lease is taken back: whoever lives renews first.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        leases: Leases,
        broker: JobsBroker,
        redeliveries: Redeliveries,
        on_due: Callable[[], None],
        grace: float,
        stuck_after: float = STUCK_AFTER,
    ) -> None:
        self._outbox = outbox
        self._leases = leases
        self._broker = broker
        self._redeliveries = redeliveries
        self._on_due = on_due
        self._grace = grace
        self._stuck_after = stuck_after
        #: what workers have, and since when that is known
        self._fetched: dict[Publication, float] = {}
        self._grace_ends = time.monotonic()

    async def run(self) -> None:
        """Sweep until cancelled. Survives the loss of Redis and of the database."""
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                await self.sweep()
            except (SQLAlchemyError, OSError) as error:
                self._grace_ends = time.monotonic() + self._grace
                _log.warning("jobs.sweep_failed", error=str(error))

    async def sweep(self) -> None:
        """Sweep once."""
        await self._leases.expire()
        returned = await self._reclaim() + await self._find_lost()
        if returned:
            self._on_due()

    async def _reclaim(self) -> int:
        if time.monotonic() < self._grace_ends:
            return 0
        rows = await self._leases.lapsed()
        if not rows:
            return 0
        ends = [await self._redeliveries.after_death(row) for row in rows]
        reclaimed = await self._leases.reclaim(ends)
        REPUBLISHED.labels("lease").inc(reclaimed)
        for row in rows:
            _log.warning("jobs.lease_lapsed", tenant_id=row.tenant_id, job_id=row.id, redeliveries=row.redeliveries)
        return reclaimed

    async def _find_lost(self) -> int:
        waiting = await self._outbox.published_before(LOST_AFTER)
        if not waiting:
            return 0
        try:
            whereabouts = await asyncio.to_thread(self._broker.whereabouts, waiting)
        except RedisError:
            # Nothing is known; the relay reports that Redis is away.
            return 0
        places = dict(zip(waiting, whereabouts, strict=True))
        lost = [one for one, place in places.items() if place == "lost"]
        present = time.monotonic()
        fetched = [one for one, place in places.items() if place == "fetched"]
        self._fetched = {one: self._fetched.get(one, present) for one in fetched}
        # Its worker does not know that it has it, or is as good as dead: another may.
        stuck = [one for one, since in self._fetched.items() if present - since >= self._stuck_after]
        return await self._give_back("lost", lost) + await self._give_back("stuck", stuck)

    async def _give_back(self, reason: str, publications: list[Publication]) -> int:
        returned = await self._outbox.give_back(publications)
        if returned:
            REPUBLISHED.labels(reason).inc(returned)
            _log.warning("jobs.republished", reason=reason, jobs=returned)
        return returned
