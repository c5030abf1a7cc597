"""A lane: Dramatiq brings messages, the event loop runs their jobs, and slots say how many at a time."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import structlog
from dramatiq import Actor, Worker
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from internal_jobs.broker import JobsBroker, actor_name, message_id
from internal_jobs.slots import Slots
from internal_jobs.tickets import Ticket

Handler = Callable[[Ticket], Awaitable[object]]

_log = structlog.get_logger(__name__)

#: Seconds that the idle thread sleeps before it looks whether it should stop; work wakes it at once.
_THREAD_TIMEOUT = 0.25


class Lane:
    """Runs the jobs of one lane. Make it on the event loop that shall run them.

    One thread of Dramatiq hands messages on; none waits for a job. What becomes of a job does not matter to its
    message: that is acknowledged in any case, and a job that was not done is found in the database.

    Args:
        broker: where its messages come from.
        name: of the lane.
        slots: attempts at a time.
        run: runs the job of a message.
        inherit: sees to the job of a message that a worker died with.
        timeout: milliseconds that an idle consumer waits before it asks Redis again.
    """

    def __init__(
        self, broker: JobsBroker, name: str, slots: Slots, run: Handler, inherit: Handler, *, timeout: int
    ) -> None:
        self.name = name
        self._run = run
        self._inherit = inherit
        self._slots = slots
        self._loop = asyncio.get_running_loop()
        self._arrived: deque[tuple[Ticket, Handler]] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._left = asyncio.Event()
        Actor(self._receive, broker=broker, actor_name=actor_name(name), queue_name=name, priority=0, options={})
        self._worker = Worker(broker, worker_timeout=timeout, worker_threads=1)
        self._worker.start()
        for thread in self._worker.workers:
            # Dramatiq wakes idle threads as often as consumers; theirs is the time of the interpreter's lock.
            thread.timeout = _THREAD_TIMEOUT

    def wake(self) -> None:
        """There may be a message."""
        self._slots.wake()

    async def drain(self) -> None:
        """Fetch nothing more, and return when everything that was fetched is over. Redis hears of it meanwhile."""
        self._slots.close()
        while self._slots.taken:
            self._left.clear()
            await self._left.wait()

    def stop(self, seconds: float) -> None:
        """Stop the threads. Blocks, at most for so long."""
        try:
            self._worker.stop(timeout=int(seconds * 1000))
        except RedisError as error:
            _log.warning("jobs.lane_not_stopped", error=str(error))

    def _receive(self, tenant_id: str, job_id: str, sequence: int, again: bool = False) -> None:
        """Hand a message on to the event loop; those that come before it has looked share one call."""
        self._arrived.append((Ticket(tenant_id, job_id, sequence), self._inherit if again else self._run))
        if len(self._arrived) == 1:
            self._loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        while self._arrived:
            task = asyncio.create_task(self._answer(*self._arrived.popleft()))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _answer(self, ticket: Ticket, handle: Handler) -> None:
        try:
            await handle(ticket)
        except (SQLAlchemyError, OSError) as error:
            _log.warning("jobs.not_begun", tenant_id=ticket.tenant_id, job_id=ticket.job_id, error=str(error))
        except Exception:
            _log.exception("jobs.runner_failed", tenant_id=ticket.tenant_id, job_id=ticket.job_id)
        finally:
            self._slots.leave(message_id(ticket))
            self._left.set()
