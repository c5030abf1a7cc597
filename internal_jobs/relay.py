"""The relay: the fair dispatcher that gives due jobs to Redis, within milliseconds of being woken."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from internal_jobs.broker import JobsBroker
from internal_jobs.metrics import PUBLISHED
from internal_jobs.outbox import Outbox, Outlook
from internal_jobs.pace import Pace

T = TypeVar("T")

_log = structlog.get_logger(__name__)

#: Seconds between two looks when nobody wakes it.
POLL = 1.0
#: Seconds between two looks while somebody waits for room in a window: the shortest, and the longest, for other workers
#: make room as well.
CROWDED_PAUSE, CROWDED_POLL = 0.01, 0.03
#: A window holds what this worker begins in so many seconds, but no more than so many jobs for that: beside jobs that
#: take no time a tenth of a second passes until one half of a window follows the other.
AHEAD, MOST_AHEAD = 0.2, 256
#: Seconds between two tries to reach a database or a Redis that is away.
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 2.0


class Relay:
    """Publishes; one per worker process. Of several only one dispatches at a time."""

    def __init__(self, outbox: Outbox, broker: JobsBroker) -> None:
        self._outbox = outbox
        self._broker = broker
        # Its own thread: plugins that block must not be able to fill the pool it waits for.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jobs-relay")
        self._woken = asyncio.Event()
        self._is_crowded = False
        self._begun = 0
        self._pace = Pace(AHEAD, most=MOST_AHEAD)

    def wake(self) -> None:
        """There may be something to publish, or room to publish it in."""
        self._woken.set()

    def begun(self) -> None:
        """A job has begun. When enough have there is room in a window that was full; a look costs more than a start."""
        self._begun += 1
        self._pace.note()
        if self._is_crowded and self._begun >= self._outbox.batch:
            self._woken.set()

    def ended(self) -> None:
        """A job has ended: where there are limits, it may have made room."""
        if self._outbox.is_limited:
            self._woken.set()

    async def run(self) -> None:
        """Publish until cancelled. Survives the loss of Redis and of the database."""
        pause = 0.0
        try:
            while True:
                try:
                    if pause:
                        await self._blocking(self._broker.client.ping)
                    due_in = await self._dispatch()
                except (RedisError, SQLAlchemyError, OSError) as error:
                    pause = self._longer(pause, error)
                    await asyncio.sleep(pause)
                    continue
                if pause:
                    _log.info("jobs.relay_recovered")
                    pause = 0.0
                longest = POLL
                if self._is_crowded:
                    await asyncio.sleep(CROWDED_PAUSE)
                    longest = CROWDED_POLL - CROWDED_PAUSE
                await self._rest(longest if due_in is None else min(max(due_in, 0.0), longest))
        finally:
            self._thread.shutdown(wait=False)

    async def _dispatch(self) -> float | None:
        """Publish all there is room for; return the seconds until something is due."""
        self._woken.clear()
        while (outlook := await self._look()).ready:
            found = await self._outbox.take(outlook)
            taken = found.publications
            if not taken:
                return min(
                    (seconds for seconds in (outlook.due_in, found.again_in) if seconds is not None), default=None
                )
            try:
                await self._blocking(partial(self._broker.publish, taken))
            except RedisError:
                await self._outbox.give_back(taken)
                raise
            for publication in taken:
                PUBLISHED.labels(publication.queue).inc()
            if len(taken) >= self._outbox.batch:
                # As much as was free: there is nothing to see before workers have made room again.
                self._is_crowded = True
                return outlook.due_in
        self._is_crowded = bool(outlook.crowded)
        return outlook.due_in

    async def _look(self) -> Outlook:
        self._begun = 0
        self._outbox.keep_up(self._pace.recent())
        outlook = await self._outbox.outlook()
        if not outlook.crowded:
            return outlook
        return self._outbox.beside(outlook, await self._blocking(self._broker.waiting))

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass

    async def _blocking(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _longer(self, pause: float, error: Exception) -> float:
        if not pause:
            _log.warning(
                "jobs.relay_interrupted",
                error=str(error),
                effect="jobs are accepted and wait in the database; publishing goes on as soon as it can",
            )
        return min(pause * 2, LONGEST_PAUSE) if pause else FIRST_PAUSE
