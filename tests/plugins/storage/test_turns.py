"""The writer of SQLite is given to tenants in turn, and is lost by nobody who gives up."""

import asyncio

from plugins.storage.turns import TurnLock


async def write(lock: TurnLock, owner: str, written: list[str]) -> None:
    async with lock.turn_of(owner):
        written.append(owner)


async def behind(lock: TurnLock, *owners: str, written: list[str]) -> list["asyncio.Task[None]"]:
    """Let these wait for a lock that is held, in this order."""
    tasks = [asyncio.create_task(write(lock, owner, written)) for owner in owners]
    await asyncio.sleep(0)
    assert not written
    return tasks


async def test_owners_take_turns_and_each_is_served_in_order() -> None:
    lock, written = TurnLock(), list[str]()
    async with lock.turn_of("holder"):
        tasks = await behind(lock, "a", "a", "a", "b", "a", "c", "b", written=written)
    await asyncio.gather(*tasks)
    assert written == ["a", "b", "c", "a", "b", "a", "a"]


async def test_who_gives_up_loses_nobodys_turn() -> None:
    lock, written = TurnLock(), list[str]()
    async with lock.turn_of("holder"):
        tasks = await behind(lock, "a", "b", "c", written=written)
        tasks[0].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert written == ["b", "c"]


async def test_who_is_cancelled_in_the_moment_of_its_turn_passes_it_on() -> None:
    lock, written = TurnLock(), list[str]()
    async with lock.turn_of("holder"):
        tasks = await behind(lock, "a", "b", written=written)
    # The lock is a's by now, who has not run yet.
    tasks[0].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert written == ["b"]
    await write(lock, "d", written)
    assert written == ["b", "d"]
