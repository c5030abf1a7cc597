"""The composition root: the one place where the parts of a process are made and put together."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec import Struct
from redis.asyncio import Redis

from gateway.idempotency.store import Answers
from gateway.settings import Settings
from plugins.storage.database import Database
from plugins.vault.credentials import Credentials
from plugins.vault.keys import MasterKey, Vault


class Platform(Struct, frozen=True, kw_only=True, eq=False):
    """Everything that a process of the gateway works with, open and ready."""

    settings: Settings
    database: Database
    vault: Vault
    credentials: Credentials
    answers: Answers
    redis: Redis


@asynccontextmanager
async def open_platform(settings: Settings) -> AsyncIterator[Platform]:
    """Make every part once, and close them in reverse order.

    Nothing is asked of Redis or Temporal here: a gateway starts while they are down.
    """
    async with AsyncExitStack() as stack:
        database = Database(settings.database_url)
        stack.push_async_callback(database.close)
        vault = Vault(database, MasterKey.load(settings.master_key_file))
        credentials = Credentials(database, vault)
        redis = Redis.from_url(settings.redis_url)
        stack.push_async_callback(redis.aclose)
        yield Platform(
            settings=settings,
            database=database,
            vault=vault,
            credentials=credentials,
            answers=Answers(database, vault),
            redis=redis,
        )
