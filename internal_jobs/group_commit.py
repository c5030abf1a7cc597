"""Group commit: what arrives at once, and while a transaction is being written, shares the next."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError

T = TypeVar("T")
R = TypeVar("R")

#: Turns of the event loop in which a group gathers. Much that will be submitted is in this process already: requests
#: that were read and not begun, callers who just heard of the group before. A group costs as much as ten items in it.
GATHERING = 3

#: Errors that speak of the database, not of an item: trying the items alone would only take longer.
_AWAY = (OperationalError, InterfaceError, OSError)


class GroupCommit(Generic[T, R]):
    """Turns many small writes into few transactions, at no delay that the first would notice.

    Args:
        write: writes a group in one transaction and returns one answer for each item, in order.
        limit: the largest group.
        at_once: groups that may be written at a time. With one, whoever waits for an answer waits with everybody else,
            and the process is idle until the database has answered.
    """

    def __init__(
        self, write: Callable[[Sequence[T]], Awaitable[Sequence[R]]], *, limit: int = 500, at_once: int = 1
    ) -> None:
        self._write = write
        self._limit = limit
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._at_once = at_once
        self._writers: set[asyncio.Task[None]] = set()

    async def submit(self, item: T) -> R:
        """Write one item together with whoever else is waiting; return when it is committed.

        Raises:
            Exception: what `write` raised for this item; an item that spoils its group is written alone.
        """
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        # Whoever waits already has a writer that gathers, or waits for one to be done.
        if len(self._waiting) == 1 and len(self._writers) < self._at_once:
            self._writers.add(asyncio.create_task(self._drain()))
        return await answer

    async def _drain(self) -> None:
        while self._waiting:
            for _ in range(GATHERING):
                await asyncio.sleep(0)
            group, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            # Whoever stopped waiting before the write began wants nothing written.
            group = [(item, answer) for item, answer in group if not answer.done()]
            if not await self._settle(group):
                for entry in group:
                    await self._settle([entry])
        # Here, and not when the task is seen to be done: what is submitted in between needs a writer of its own.
        self._writers.discard(asyncio.current_task())

    async def _settle(self, group: Sequence[tuple[T, "asyncio.Future[R]"]]) -> bool:
        """Write a group and answer it; false when it failed and its items should be tried alone."""
        if not group:
            return True
        try:
            results = await self._write([item for item, _ in group])
        except Exception as error:
            if len(group) > 1 and not isinstance(error, _AWAY):
                return False
            for _, answer in group:
                if not answer.done():
                    answer.set_exception(error)
            return True
        for (_, answer), result in zip(group, results, strict=True):
            if not answer.done():
                answer.set_result(result)
        return True
