"""A lane: Dramatiq brings messages, the event loop runs their jobs, and slots say how many at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from dramatiq import Actor, Worker
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from internal_jobs.broker import Delivery, JobsBroker, actor_name, message_id
from internal_jobs.slots import Slots
from internal_jobs.tickets import Ticket

Run = Callable[[Ticket, Callable[[], None]], Awaitable[object]]
Inherit = Callable[[Ticket], Awaitable[object]]

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
        run: runs the job of a message; calls what it is given when the attempt is over and only to be written down.
        inherit: sees to the job of a message that a worker died with.
        timeout: milliseconds that an idle consumer waits before it asks Redis again.
    """

    def __init__(
        self, broker: JobsBroker, name: str, slots: Slots, run: Run, inherit: Inherit, *, timeout: int
    ) -> None:
        self.name = name
        self._run = run
        self._inherit = inherit
        self._slots = slots
        self._loop = asyncio.get_running_loop()
        self._running: set[asyncio.Task[None]] = set()
        self._over = 0
        self._ended: list[str] = []
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

    def _receive(self, fetched: Sequence[Delivery]) -> None:
        """Hand messages on to the event loop."""
        self._loop.call_soon_threadsafe(self._begin, fetched)

    def _begin(self, fetched: Sequence[Delivery]) -> None:
        for delivery in fetched:
            task = asyncio.create_task(self._answer(delivery))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _answer(self, delivery: Delivery) -> None:
        ticket, is_over = delivery.ticket, False

        def over() -> None:
            nonlocal is_over
            is_over = True
            self._tell(over=1)

        try:
            await (self._inherit(ticket) if delivery.again else self._run(ticket, over))
        except (SQLAlchemyError, OSError) as error:
            _log.warning("jobs.not_begun", tenant_id=ticket.tenant_id, job_id=ticket.job_id, error=str(error))
        except Exception:
            _log.exception("jobs.runner_failed", tenant_id=ticket.tenant_id, job_id=ticket.job_id)
        finally:
            self._tell(over=0 if is_over else 1, ended=(message_id(ticket),))

    def _tell(self, *, over: int, ended: Sequence[str] = ()) -> None:
        """Tell the thread that fetches. What happens together is told together: one round trip fetches for all."""
        if not self._over and not self._ended:
            self._loop.call_soon(self._leave)
        self._over += over
        self._ended += ended

    def _leave(self) -> None:
        (over, self._over), (ended, self._ended) = (self._over, 0), (self._ended, [])
        self._slots.leave(over)
        if ended:
            self._slots.end(ended)
            self._left.set()
