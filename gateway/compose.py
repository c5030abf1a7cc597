"""The composition root: the one place where the parts of a process are made and put together."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec import Struct
from redis.asyncio import Redis

from gateway.settings import Settings
from plugins.storage.database import Database


class Platform(Struct, frozen=True, kw_only=True, eq=False):
    """Everything that a process of the gateway works with, open and ready."""

    settings: Settings
    database: Database
    redis: Redis


@asynccontextmanager
async def open_platform(settings: Settings) -> AsyncIterator[Platform]:
    """Make every part once, and close them in reverse order.

    Nothing is asked of Redis or Temporal here: a gateway starts while they are down.
    """
    async with AsyncExitStack() as stack:
        database = Database(settings.database_url)
        stack.push_async_callback(database.close)
        redis = Redis.from_url(settings.redis_url)
        stack.push_async_callback(redis.aclose)
        yield Platform(settings=settings, database=database, redis=redis)
