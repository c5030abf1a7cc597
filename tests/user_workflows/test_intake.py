"""Intake: while tenants contend for it a worker holds few tasks, and what waits elsewhere is none of them.

Where it has room it takes more by and by.
"""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.worker import SlotPermit

from user_workflows.fairness import intake
from user_workflows.fairness.intake import Contention, Intake, Processor


class Desk:
    """Asks an intake for slots, as the SDK does."""

    def __init__(self, *, few: int = 2, most: int = 5) -> None:
        self.ease = 0.0
        self._intake = Intake(few=few, most=most, ease=lambda: self.ease)

    async def poll(self, *, sticky: bool = False) -> SlotPermit | None:
        """Return a slot to poll with; ``None``: it would have to wait."""
        asked = asyncio.create_task(self._intake.reserve_slot(_context(is_sticky=sticky)))
        for _ in range(3):
            await asyncio.sleep(0)
        if asked.done():
            return asked.result()
        asked.cancel()
        return None

    async def take(self, count: int = 1, *, sticky: bool = False) -> list[SlotPermit]:
        """Take tasks, as many as may be held of `count`."""
        taken = []
        for _ in range(count):
            if (permit := await self.poll(sticky=sticky)) is not None:
                self._intake.mark_slot_used(_context(permit=permit))
                taken.append(permit)
                await asyncio.sleep(0)
        return taken

    async def wait(self) -> SlotPermit:
        return await self._intake.reserve_slot(_context(is_sticky=False))

    async def end(self, permit: SlotPermit) -> None:
        self._intake.release_slot(_context(permit=permit))
        await asyncio.sleep(0)


class Clock:
    """Stands still until it is put forward; processor time passes as ever."""

    process_time = staticmethod(time.process_time)

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(intake, "time", clock)
    return clock


def _context(**known: Any) -> Any:
    return SimpleNamespace(**known)


async def test_few_tasks_are_held_while_tenants_contend_and_most_while_they_do_not() -> None:
    desk = Desk()
    assert len(await desk.take(10)) == 2
    desk.ease = 1.0
    assert len(await desk.take(10)) == 3


async def test_more_tasks_are_held_the_longer_there_is_room() -> None:
    desk = Desk(few=2, most=12)
    assert len(await desk.take(20)) == 2
    for ease, more in ((0.05, 0), (0.5, 5), (0.8, 3), (1.0, 2)):
        desk.ease = ease
        assert len(await desk.take(20)) == more


async def test_a_task_that_ends_lets_the_next_be_asked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "_PATIENCE", 60.0)
    desk = Desk()
    first, _ = await desk.take(2)
    waiting = asyncio.create_task(desk.wait())
    for _ in range(3):
        await asyncio.sleep(0)
    assert not waiting.done()
    await desk.end(first)
    await asyncio.wait_for(waiting, 5)


async def test_a_poll_to_which_no_task_came_gives_its_place_back() -> None:
    desk = Desk()
    polls = [await desk.poll() for _ in range(3)]
    assert polls[2] is None
    assert polls[0] is not None
    await desk.end(polls[0])
    assert await desk.poll() is not None


async def test_what_lasts_waits_for_something_else_and_keeps_nobody_out(clock: Clock) -> None:
    desk = Desk(most=3)
    assert len(await desk.take(2)) == 2
    assert not await desk.take()
    clock.now += intake.LASTING + 0.01
    assert len(await desk.take(10)) == 1, "as many as may be held at all"


async def test_what_has_begun_goes_on_before_others_begin() -> None:
    desk = Desk()
    begun = await desk.take(2, sticky=True)
    assert len(await desk.take(10)) == 1, "one may always begin"
    await desk.end(begun[0])
    assert not await desk.take()
    assert len(await desk.take(10, sticky=True)) == 1
    await desk.end(begun[1])


async def test_polls_of_one_kind_do_not_keep_the_other_from_asking() -> None:
    desk = Desk()
    assert await desk.poll(sticky=True)
    assert await desk.poll(sticky=True)
    assert await desk.poll(sticky=True) is None
    assert len(await desk.take(10)) == 2


async def test_a_process_that_uses_a_whole_processor_has_no_room() -> None:
    processor = Processor()
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass
    assert not processor.room()


async def test_a_process_at_rest_has_room_where_processors_are_left(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor = Processor()
    # Whatever else runs on this machine.
    monkeypatch.setattr(intake, "SPARE", 200.0)
    clock.now += 1
    assert not processor.room()
    monkeypatch.setattr(intake, "SPARE", -1.0)
    clock.now += 1
    assert processor.room() == 1
    clock.now += 2
    assert processor.room() == 3, "it counts how long"


class Full(Processor):
    def room(self) -> float:
        return 0.0


async def test_a_tenant_that_is_alone_contends_with_nobody(clock: Clock) -> None:
    contention = Contention(Full())
    assert contention.ease() == 1
    contention.note("a")
    contention.note("a")
    assert contention.ease() == 1
    contention.note("b")
    assert contention.ease() == 0
    clock.now += intake.MEMORY + 0.01
    for _ in range(2):
        contention.note("b")
    assert contention.ease() == 1, "the other has had nothing to do for long"


async def test_the_room_of_a_moment_is_not_left_to_the_tenant_that_is_first() -> None:
    class Free(Processor):
        seconds = 0.25

        def room(self) -> float:
            return self.seconds

    contention = Contention(processor := Free())
    for tenant in ("a", "b"):
        contention.note(tenant)
    assert contention.ease() == 0.25 / intake.EASING
    processor.seconds = 2 * intake.EASING
    assert contention.ease() == 1


async def test_tenants_do_not_contend_while_the_processor_has_room() -> None:
    contention = Contention()
    for tenant in ("a", "b"):
        contention.note(tenant)
    assert contention.ease() == 1, "nothing was measured yet"
