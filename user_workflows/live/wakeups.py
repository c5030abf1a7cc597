"""Waking those who wait for an execution, once something of it is committed: a word through Redis.

It comes sooner than Temporal tells of an end, which has to be written into a history first. Whoever waits has another
way to learn the same: losing a word, or Redis, costs milliseconds.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

#: seconds between two tries to reach Redis
PAUSE = 1.0

#: seconds that the listener waits for a word, below the socket's own timeout
PATIENCE = 2.0

#: a subscription that stays, since one connection serves all that wait and there is not always one
_IDLE = "executions:idle"

_log = structlog.get_logger(__name__)


#: the word where the record is closed now
END = b"end"


def channel_of(tenant_id: str, execution_id: str) -> str:
    return f"{tenant_id}:committed:{execution_id}"


class _Waiter(NamedTuple):
    news: asyncio.Event
    only_end: bool


class Wakeups:
    """Hears, over one connection, of all executions that this process waits for.

    Args:
        redis_url: of the Redis that carries the words; ``None``: none are heard.
    """

    def __init__(self, redis_url: str | None = None) -> None:
        self._redis = None if redis_url is None else Redis.from_url(redis_url, retry=Retry(NoBackoff(), 0))
        self._waiting: dict[str, list[_Waiter]] = {}
        self._subscribed: PubSub | None = None
        self._listening: asyncio.Task[None] | None = None

    @property
    def are_heard(self) -> bool:
        """Whether words reach this process at the moment."""
        return self._subscribed is not None

    @asynccontextmanager
    async def of(self, tenant_id: str, execution_id: str, *, only_end: bool = False) -> AsyncIterator[asyncio.Event]:
        """An event that is set when something of the execution, or else its end, was committed; clear it, then look."""
        if self._listening is None and self._redis is not None:
            self._listening = asyncio.create_task(self._listen(self._redis))
        channel, waiter = channel_of(tenant_id, execution_id), _Waiter(asyncio.Event(), only_end)
        waiting = self._waiting.setdefault(channel, [])
        waiting.append(waiter)
        try:
            if self._subscribed is not None and len(waiting) == 1:
                with contextlib.suppress(RedisError, OSError):
                    await self._subscribed.subscribe(channel)
            yield waiter.news
        finally:
            waiting.remove(waiter)
            if not waiting:
                self._waiting.pop(channel, None)
                if self._subscribed is not None:
                    with contextlib.suppress(RedisError, OSError):
                        await self._subscribed.unsubscribe(channel)

    async def close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
        if self._redis is not None:
            await self._redis.aclose()

    async def _listen(self, redis: "Redis") -> None:
        while True:
            try:
                async with redis.pubsub(ignore_subscribe_messages=True) as words:
                    await words.subscribe(_IDLE, *self._waiting)
                    self._subscribed = words
                    while True:
                        word = await words.get_message(timeout=PATIENCE)
                        if word is not None:
                            self._hear(word["channel"].decode(), word["data"])
            except (RedisError, OSError) as error:
                _log.warning("wakeups.lost", error=str(error), effect="ends of executions are heard of a little later")
            finally:
                self._subscribed = None
            await asyncio.sleep(PAUSE)

    def _hear(self, channel: str, word: bytes) -> None:
        for waiter in self._waiting.get(channel, ()):
            if word == END or not waiter.only_end:
                waiter.news.set()
