"""Plugins that end as a test tells them to."""

import asyncio
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from plugins import Context, Effect, Plugin, plugin


class Config(Struct, kw_only=True):
    value: Any = None
    size: int = 0


class Acts:
    """A plugin that counts how often it acted, and ends each attempt as told."""

    def __init__(self, effect: Effect, *endings: Any) -> None:
        self.count = 0
        self.keys: list[str] = []
        self._endings = endings

        @plugin("test.act", version="1.0.0", effect=effect)
        async def act(config: Config, ctx: Context) -> Any:
            self.count += 1
            self.keys.append(ctx.idempotency_key)
            ending = self._endings[min(self.count, len(self._endings)) - 1] if self._endings else "acted"
            if isinstance(ending, BaseException):
                raise ending
            return await ending() if callable(ending) else ending

        self.plugin = act


def pure(function: Callable[[Any, Context], Any], **options: Any) -> Plugin:
    return plugin("test.pure", version="1.0.0", effect="pure", **options)(function)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.005)
