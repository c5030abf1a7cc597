"""How much of a loop one activation of the workflow walks: Temporal takes one that works for two seconds for stuck."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from temporalio import workflow

#: nodes of loop bodies that one activation walks; counted, never timed, so that a replay rests at the same places
NODES_AT_A_TIME = 500

#: as short as may be: it is the new activation that counts
_REST = timedelta(milliseconds=1)


class Effort:
    """Counts the nodes of all rounds that an activation walks, and makes every loop rest together when it is enough.

    Args:
        told: called when it rests, when the rounds so far should be told.
    """

    def __init__(self, told: Callable[[], None]) -> None:
        self._told = told
        self._nodes = 0
        self._rest: asyncio.Task[None] | None = None
        #: timers that resting took
        self.rests = 0

    async def spend(self, nodes: int) -> None:
        """Return when a round of so many nodes may be walked."""
        while self._nodes >= NODES_AT_A_TIME:
            if self._rest is None:
                self._rest = asyncio.create_task(self._sleep())
            await asyncio.shield(self._rest)
        self._nodes += nodes

    async def _sleep(self) -> None:
        self._told()
        self.rests += 1
        await workflow.sleep(_REST, summary="a rest between rounds")
        self._nodes, self._rest = 0, None
