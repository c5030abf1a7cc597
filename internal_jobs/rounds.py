"""Work that is done in rounds: at once when somebody says that there may be some, and from time to time in any case."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

_log = structlog.get_logger(__name__)


class Rounds:
    """Args:
    work: does what there is, up to `most` of it; returns how much that was.
    most: a round that did so much is followed by the next at once.
    interval: seconds between two rounds when nobody wakes it.
    failed: what the log says of a round that the database, or another side, cut short.
    """

    def __init__(self, work: Callable[[], Awaitable[int]], *, most: int, interval: float, failed: str) -> None:
        self._work = work
        self._most = most
        self._interval = interval
        self._failed = failed
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There may be something to do."""
        self._woken.set()

    async def run(self) -> None:
        """Work until cancelled. Survives the loss of the database."""
        while True:
            self._woken.clear()
            try:
                while await self._work() == self._most:
                    pass
            except (SQLAlchemyError, OSError) as error:
                _log.warning(self._failed, error=str(error))
            try:
                async with asyncio.timeout(self._interval):
                    await self._woken.wait()
            except TimeoutError:
                pass
