"""Waiting for what an execution comes to: woken by what is committed of it, and by Temporal when it is over."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError

from user_workflows.admission.gate import Gate
from user_workflows.client import is_not_found, reaching_temporal
from user_workflows.errors import EngineUnavailable
from user_workflows.interpreter.messages import workflow_id
from user_workflows.live.wakeups import Wakeups

#: seconds after which Temporal is asked for the end, where committed records are heard of: most that are waited for
#: have ended by then, and spare it a call. Who is told nothing has been ended by force, or Redis has lost it.
HEAD_START = 0.5

#: seconds of the first pause between two looks at one that has not begun
_FIRST_PAUSE = 0.05

#: each pause between two looks is so much longer than the one before, up to so many seconds
_GROWTH, _LONGEST_PAUSE = 1.1, 0.5

T = TypeVar("T")


class Waiting:
    """Waits for executions, of all tenants.

    Args:
        temporal: knows when one is over.
        gate: knows which have not begun.
        wakeups: tell of what is committed.
    """

    def __init__(self, temporal: Client, gate: Gate, wakeups: Wakeups) -> None:
        self._temporal = temporal
        self._gate = gate
        self._wakeups = wakeups

    async def until(
        self,
        look: Callable[[], Awaitable[T | None]],
        tenant_id: str,
        execution_id: str,
        *,
        timeout: float,
        pause: float | None = None,
        only_end: bool = False,
    ) -> T | bool:
        """Look whenever something of an execution has been committed, until there is something to be seen.

        Args:
            look: reads what is waited for.
            tenant_id: whose execution it is.
            execution_id: which one.
            timeout: seconds.
            pause: seconds after which to look though nothing was heard, ever longer ones; ``None``: not to.
            only_end: there is nothing to be seen before the record is closed.

        Returns:
            what was seen; else whether the execution is over, and then it is to be looked at once more.
        """
        delay = HEAD_START if self._wakeups.are_heard else 0.0
        over = asyncio.create_task(self._is_over(tenant_id, execution_id, delay))
        try:
            heard = self._wakeups.of(tenant_id, execution_id, only_end=only_end)
            async with asyncio.timeout(timeout), heard as news:
                while not await _either(over, news, pause):
                    news.clear()
                    if (seen := await look()) is not None:
                        return seen
                    pause = None if pause is None else min(pause * _GROWTH, _LONGEST_PAUSE)
                return over.result()
        except TimeoutError:
            return False
        finally:
            over.cancel()
            await asyncio.gather(over, return_exceptions=True)

    async def _is_over(self, tenant_id: str, execution_id: str, delay: float) -> bool:
        """Return true when Temporal has ended an execution or knows none, and false where it cannot be reached."""
        await asyncio.sleep(delay)
        pause = _FIRST_PAUSE
        # What waits at the gate Temporal does not know, or knows only an earlier end of: it is asked afterwards.
        while await self._gate.is_expected(tenant_id, execution_id):
            await asyncio.sleep(pause)
            pause = min(pause * _GROWTH, _LONGEST_PAUSE)
        try:
            async with reaching_temporal():
                await self._temporal.get_workflow_handle(workflow_id(tenant_id, execution_id)).result()
        except EngineUnavailable:
            return False
        except WorkflowFailureError:
            pass
        except RPCError as error:
            if not is_not_found(error):
                raise
        return True


async def _either(over: "asyncio.Task[bool]", news: asyncio.Event, pause: float | None) -> bool:
    """Wait for the first of both, or for a pause, and return whether it is the end."""
    heard = asyncio.create_task(news.wait())
    try:
        await asyncio.wait({over, heard}, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
    finally:
        heard.cancel()
    return over.done()
