"""Requests of a sync are tried again by themselves: a bad moment in ten thousand pages costs no attempt."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from plugins import Context, Transient

T = TypeVar("T")

_TRIES = 4
_FIRST_PAUSE = 0.5
#: seconds that the other side may ask to wait; for more the whole call comes back later
_LONGEST_PAUSE = 30.0


async def patiently(ask: Callable[[], Awaitable[T]], ctx: Context) -> T:
    """Ask up to four times, as long as the failure may pass and nobody asks the call to stop.

    Raises:
        PluginError: of the last time.
    """
    pause = _FIRST_PAUSE
    for _ in range(_TRIES - 1):
        try:
            return await ask()
        except Transient as error:
            wanted = pause if error.retry_after is None else error.retry_after
            if wanted > _LONGEST_PAUSE or ctx.cancelled:
                raise
            ctx.log.info("sync.again", error=error.type, pause=wanted)
            await asyncio.sleep(wanted)
            pause *= 4
    return await ask()
