"""What a walk has begun and not settled yet: a coroutine for each node, or for a chain of them, and how they ended."""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

from msgspec import Struct

from user_workflows.interpreter.control import Performed
from user_workflows.interpreter.messages import StepError, StepOutcome


class Settled(Struct, frozen=True):
    """A node's coroutine ended: performed, with an error of its step, or with what ends more than the step."""

    node_id: str
    performed: Performed | None = None
    error: StepError | None = None
    #: of a segment: how its nodes ended, in order
    outcomes: Sequence[StepOutcome] = ()
    ending: Exception | None = None
    #: it was stopped, because a node was to be skipped
    is_skipped: bool = False


class Running:
    """The coroutines of one walk, by the first node of each."""

    def __init__(self) -> None:
        #: ``None`` only wakes the walk
        self._ended: asyncio.Queue[Settled | None] = asyncio.Queue()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        #: of the segments: first node → chain
        self._chains: dict[str, Sequence[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    @property
    def has_ended(self) -> bool:
        """Whether one has ended that the walk has not heard of, or the walk was woken."""
        return not self._ended.empty()

    def begin(self, node_id: str, work: Coroutine[Any, Any, None]) -> None:
        """Run the coroutine of a node; it tells how it ended by `end`."""
        task = self._tasks[node_id] = asyncio.create_task(work, name=node_id)
        task.add_done_callback(lambda ended: self._stopped(node_id, ended))

    def begin_chain(self, chain: Sequence[str], work: Coroutine[Any, Any, None]) -> None:
        """Run the coroutine of a chain of nodes, which the first of them stands for."""
        self._chains[chain[0]] = chain
        self.begin(chain[0], work)

    def end(self, settled: Settled) -> None:
        self._ended.put_nowait(settled)

    def wake(self) -> None:
        self._ended.put_nowait(None)

    async def next(self) -> Settled | None:
        """Wait until one has ended; ``None``: the walk was only woken."""
        return await self._ended.get()

    def ended(self) -> Iterator[Settled | None]:
        """Yield what has ended already."""
        while not self._ended.empty():
            yield self._ended.get_nowait()

    def forget(self, node_id: str) -> Sequence[str]:
        """Forget a coroutine that has ended, and return the nodes that it was for."""
        del self._tasks[node_id]
        return self._chains.pop(node_id, [node_id])

    def chain(self, node_id: str) -> Sequence[str] | None:
        """Return the chain that a node is the first of, if it runs as a segment."""
        return self._chains.get(node_id)

    def head(self, node_id: str) -> str | None:
        """Return the node whose coroutine a node is in."""
        return next((head for head in self._tasks if node_id == head or node_id in self._chains.get(head, ())), None)

    def is_stopping(self, node_id: str) -> bool:
        return bool(self._tasks[node_id].cancelling())

    def cancel(self, node_id: str) -> None:
        """Ask a coroutine to stop; one that has ended stays ended."""
        if (task := self._tasks.get(node_id)) is not None:
            task.cancel()

    def stop(self) -> None:
        """Cancel all; asked once only: a second time would break off a loop that is closing its rounds."""
        for task in self._tasks.values():
            if not task.cancelling():
                task.cancel()

    async def stopped(self) -> None:
        """Wait until all have come to rest."""
        if self._tasks:
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _stopped(self, node_id: str, task: "asyncio.Task[None]") -> None:
        # By its end, not inside it: a task may be stopped before its first step.
        if task.cancelled():
            self.end(Settled(node_id, is_skipped=True))
