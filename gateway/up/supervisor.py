"""Starts children until they are ready, keeps them running, and stops all of them in order."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from gateway.up.child import Child, LogFile, Role
from gateway.up.files import private_folder
from gateway.up.keeper import Backoff, Condition, Keeper

#: Who is asked to stop first, and the second, counted from the first request, at which the next are asked where these
#: have not ended. The API may drain on beside the workers; when the servers' turn comes, both have to be gone.
_STOP_ORDER: tuple[tuple[Role, float], ...] = (("api", 2.0), ("worker", 10.0), ("server", 13.5))


class Supervisor:
    """Keeps every child that `start` was given running until `stop`.

    Args:
        logs: folder for what the children write.
        report: is told in a line when a child dies and when it is back.
        changed: is called after each change of `conditions`.
        keep_open: file descriptors that every child inherits.
    """

    def __init__(
        self,
        logs: Path,
        *,
        report: Callable[[str], None],
        changed: Callable[[], None] = lambda: None,
        backoff: Backoff | None = None,
        keep_open: tuple[int, ...] = (),
    ) -> None:
        self._logs = private_folder(logs)
        self._report = report
        self._changed = changed
        self._backoff = backoff or Backoff()
        self._keep_open = keep_open
        self._keepers: list[Keeper] = []

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return tuple(keeper.condition for keeper in self._keepers)

    async def start(self, *children: Child, timeout: float = 60.0) -> None:
        """Start `children` side by side and return when all of them are ready.

        Raises:
            NotReady: one ended, or was not ready within `timeout` seconds. What runs keeps running until `stop`.
        """
        keepers = [
            Keeper(
                child,
                LogFile(self._logs, child.name),
                backoff=self._backoff,
                report=self._report,
                changed=self._changed,
                keep_open=self._keep_open,
            )
            for child in children
        ]
        self._keepers += keepers
        await asyncio.gather(*(keeper.start(timeout) for keeper in keepers))

    async def stop(self) -> None:
        """Stop the API, then the workers, then the servers, within 15 s; kill what does not end in its time."""
        asked: list[Keeper] = []
        began = time.monotonic()
        for role, latest in _STOP_ORDER:
            if role == "server":
                await self._end(asked)
            asked += [keeper for keeper in self._keepers if keeper.child.role == role]
            for keeper in asked:
                keeper.ask_to_stop()
            patience = max(0.0, began + latest - time.monotonic())
            await asyncio.gather(*(keeper.ended(patience) for keeper in asked))
        await self._end(asked)

    def kill(self) -> None:
        """End everything at once."""
        for keeper in self._keepers:
            keeper.kill()

    async def _end(self, keepers: list[Keeper]) -> None:
        for keeper in keepers:
            if not await keeper.ended(0):
                self._report(f"{keeper.child.name} did not stop in its time and is killed")
                keeper.kill()
        await asyncio.gather(*(keeper.ended(5.0) for keeper in keepers))
