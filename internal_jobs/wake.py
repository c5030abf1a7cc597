"""Waking the relay: a word through Redis that there is something to publish. Losing it costs a second, no job."""

import asyncio
from collections.abc import Callable, Collection
from datetime import timedelta

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from internal_jobs.metrics import REDIS_UP, WAKE_FAILURES

_log = structlog.get_logger(__name__)

#: Seconds that telling Redis may take, and for which it is left alone after it failed.
PATIENCE = 0.2
PAUSE = 1.0

#: Seconds between two words: whoever enqueues without a pause says so two hundred times a second, not a thousand.
BREATH = 0.005
#: Jobs that are due later than this need no word: relays look by themselves before that, and learn when they are due.
SOON = timedelta(seconds=2)

_EFFECT = "jobs are accepted and wait in the database; running ones end; nothing is lost"


def wake_channel(namespace: str) -> str:
    return f"{namespace}:wake"


def published_channel(namespace: str) -> str:
    """Where relays say in which lanes there are messages; who fetches them need not ask all the time."""
    return f"{namespace}:published"


class Waker:
    """Tells every relay that rows were committed. Never blocks, never fails; bursts become one word."""

    def __init__(self, redis_url: str, *, namespace: str = "jobs") -> None:
        self._redis = Redis.from_url(
            redis_url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, retry=Retry(NoBackoff(), 0)
        )
        self._channel = wake_channel(namespace)
        self._asked = False
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Send the word soon; call it after the commit."""
        self._asked = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._tell())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._redis.aclose()

    async def _tell(self) -> None:
        while self._asked:
            self._asked = False
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._redis.publish(self._channel, b"")
                await asyncio.sleep(BREATH)
            except (RedisError, TimeoutError, OSError) as error:
                WAKE_FAILURES.inc()
                _log.warning("jobs.wake_failed", error=str(error), effect="jobs start up to a second later")
                await asyncio.sleep(PAUSE)


class WakeListener:
    """Hears the words of producers and relays; after each new connection it calls both, for what it missed meanwhile.

    Args:
        redis_url: where they are said.
        heard: called when rows were committed.
        published: called when there are messages, with the names of their lanes; without any they may be anywhere.
        namespace: prefix of the channels.
    """

    def __init__(
        self,
        redis_url: str,
        heard: Callable[[], None],
        published: Callable[[Collection[str]], None],
        *,
        namespace: str = "jobs",
    ) -> None:
        self._redis = Redis.from_url(redis_url, retry=Retry(NoBackoff(), 0))
        self._channels = (wake_channel(namespace), published_channel(namespace))
        self._heard = heard
        self._published = published
        # Until the first attempt says otherwise: a start is no news.
        self._is_connected = True

    async def run(self) -> None:
        """Listen until cancelled. Says when Redis goes and when it is back."""
        try:
            while True:
                try:
                    await self._listen()
                except (RedisError, OSError) as error:
                    if self._is_connected:
                        _log.warning("jobs.redis_lost", error=str(error), effect=_EFFECT)
                    self._is_connected = False
                    REDIS_UP.set(0)
                    await asyncio.sleep(PAUSE)
        finally:
            await self._redis.aclose()

    async def _listen(self) -> None:
        async with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe(*self._channels)
            if not self._is_connected:
                _log.info("jobs.redis_back")
            self._is_connected = True
            REDIS_UP.set(1)
            self._heard()
            self._published(())
            while True:
                # Shorter than the socket's own timeout, which would end the connection.
                if (message := await channel.get_message(timeout=2.0)) is not None:
                    self._hear(message["channel"].decode(), message["data"].decode())

    def _hear(self, channel: str, said: str) -> None:
        if channel == self._channels[0]:
            self._heard()
        else:
            self._published(said.split())
