"""How many tasks a worker takes from its task queues at a time.

Those that wait on the server are ordered by fairness. Those that a worker has taken share its processor, whosever they
are: with many of one tenant's in its hands each of another's lasts many times as long, and so does each that follows.
While tenants contend for its processor a worker therefore holds only a few, which keep it about as busy as many would.
Where it turns out to have room it takes more by and by: what it has taken it cannot give back.
"""

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

from temporalio.worker import (
    CustomSlotSupplier,
    FixedSizeSlotSupplier,
    SlotMarkUsedContext,
    SlotPermit,
    SlotReleaseContext,
    SlotReserveContext,
    WorkerTuner,
)

#: workflow tasks that a worker holds at a time, and steps
DECISIONS, STEPS = 20, 100

#: the same while tenants contend for the processor. Measured beside another tenant's flood: where 20 and 100 are held,
#: an execution takes three times as long, and no more of them are ended. With still fewer it would wait for Temporal.
FEW_DECISIONS, FEW_STEPS = 3, 8

#: seconds for which a tenant counts that had work here: one that is alone loses nothing for the sake of others
MEMORY = 300.0

#: seconds after which a task that is still held waits for something else than the processor: a server that a step
#: calls, a lease, a timer. It gives its place to another.
LASTING = 0.5

#: a process has no room while it uses so much of one processor, all that an interpreter can, or while the machine has
#: less of all its processors left: others need them then, Temporal's server among them where it is embedded
FULL, SPARE = 0.8, 0.2

#: seconds over which that is measured
_SAMPLE = 0.25

#: seconds of room after which a worker for which tenants contend holds as many tasks as ever. The room of a moment is
#: none: a flood would fill it at once, and others wait until all of that is done.
EASING = 5.0

#: seconds after which a poll that may not be made asks again, though no task has ended
_PATIENCE = 0.1

_STAT = Path("/proc/stat")


class Processor:
    """Tells for how long this process could have had more of the machine's processors than it has."""

    def __init__(self) -> None:
        self._count = os.cpu_count() or 1
        #: nothing is known against it yet
        self._room = EASING
        self._seen = self._look()

    def room(self) -> float:
        """Return for how many seconds, up to the latest measurement; 0 if it could not."""
        since, used_then, idle_then = self._seen
        passed = time.monotonic() - since
        if passed >= _SAMPLE:
            self._seen = _, used, idle = self._look()
            is_full = (used - used_then) / passed >= FULL
            is_scarce = (idle - idle_then) / passed / self._count < SPARE
            self._room = 0.0 if is_full or is_scarce else self._room + passed
        return self._room

    def _look(self) -> tuple[float, float, float]:
        """Return the time, and processor time: what this process has used, and what nobody has; in seconds."""
        at = time.monotonic()
        try:
            # Of all processors: user, nice, system, idle, waiting for a disk, …
            ticks = _STAT.read_bytes().split(maxsplit=6)[4:6]
        except OSError:
            # Not on Linux: as if nobody used any.
            return at, time.process_time(), at * self._count
        return at, time.process_time(), sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


class Contention:
    """Tells how far tenants contend for this process: several have work here, and its processor has no room."""

    def __init__(self, processor: Processor | None = None) -> None:
        self._processor = processor or Processor()
        self._latest, self._latest_at = "", -MEMORY
        #: when a tenant was seen last that is not the latest
        self._other_at = -MEMORY

    def note(self, tenant_id: str) -> None:
        """Take note of work of a tenant; may be called from any thread."""
        if tenant_id != self._latest:
            self._latest, self._other_at = tenant_id, self._latest_at
        self._latest_at = time.monotonic()

    def ease(self) -> float:
        """Return how far a worker may go from few tasks, at 0, to the most that it takes, at 1."""
        if time.monotonic() - self._other_at >= MEMORY:
            return 1.0
        return min(self._processor.room() / EASING, 1.0)


class _Permit(SlotPermit):
    def __init__(self, *, is_sticky: bool) -> None:
        self.is_sticky = is_sticky
        #: when a task came for it
        self.used_at = 0.0


class Intake(CustomSlotSupplier):
    """The slots of one kind of task on one queue.

    The SDK asks for them on the event loop, and tells from its own threads what became of them. That happens several
    times a step, so the loop is woken only where somebody waits.

    Args:
        few: tasks that are held at a time while tenants contend for the processor.
        most: tasks that are held at a time.
        ease: how far from few to most, from 0 to 1.
    """

    def __init__(self, *, few: int, most: int, ease: Callable[[], float]) -> None:
        self._few, self._most, self._ease = few, most, ease
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._held: set[_Permit] = set()
        #: polls that wait for a task, by whether they are sticky: those of one kind must not keep the other from asking
        self._polls: Counter[bool] = Counter()
        self._waiting = 0
        self._ended = asyncio.Event()

    async def reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit:
        permit = _Permit(is_sticky=ctx.is_sticky)
        if not self._ask(permit):
            await self._wait_to_ask(permit)
        return permit

    def try_reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit | None:
        """Take no task eagerly: it would go past the server's order."""
        return None

    def mark_slot_used(self, ctx: SlotMarkUsedContext) -> None:
        permit = cast("_Permit", ctx.permit)
        with self._lock:
            self._polls[permit.is_sticky] -= 1
            permit.used_at = time.monotonic()
            self._held.add(permit)

    def release_slot(self, ctx: SlotReleaseContext) -> None:
        permit = cast("_Permit", ctx.permit)
        with self._lock:
            if permit in self._held:
                self._held.remove(permit)
            else:
                self._polls[permit.is_sticky] -= 1
            is_awaited = self._waiting > 0
        if is_awaited:
            self._loop.call_soon_threadsafe(self._ended.set)

    async def _wait_to_ask(self, permit: _Permit) -> None:
        with self._lock:
            self._waiting += 1
        try:
            self._ended.clear()
            while not self._ask(permit):
                with suppress(TimeoutError):
                    async with asyncio.timeout(_PATIENCE):
                        await self._ended.wait()
                self._ended.clear()
        finally:
            with self._lock:
                self._waiting -= 1

    def _ask(self, permit: _Permit) -> bool:
        """Count one more poll, if it may be made."""
        with self._lock:
            if not self._may_ask(is_sticky=permit.is_sticky):
                return False
            self._polls[permit.is_sticky] += 1
            return True

    def _may_ask(self, *, is_sticky: bool) -> bool:
        asking = self._polls[is_sticky]
        if len(self._held) + asking >= self._most:
            return False
        ease = self._ease()
        if ease >= 1:
            return True
        since = time.monotonic() - LASTING
        busy = [permit.is_sticky for permit in self._held if permit.used_at > since]
        own = busy.count(is_sticky) + asking
        # What has begun goes on before others begin, for sticky queues know no fairness and must not grow. But one at
        # a time may always begin: what never ends would keep everybody out.
        counted = own if is_sticky or own == 0 else len(busy) + asking
        return counted < self._few + int(ease * (self._most - self._few))


def make_tuner(contention: Contention, *, steps: int = STEPS) -> WorkerTuner:
    """Return the slots of one worker, which takes at most so many steps at a time."""
    # Local activities run inside workflow tasks that are held already, and are bounded where they are done.
    inside = FixedSizeSlotSupplier(100)
    return WorkerTuner.create_composite(
        workflow_supplier=Intake(few=FEW_DECISIONS, most=DECISIONS, ease=contention.ease),
        activity_supplier=Intake(few=FEW_STEPS, most=steps, ease=contention.ease),
        local_activity_supplier=inside,
        nexus_supplier=inside,
    )
