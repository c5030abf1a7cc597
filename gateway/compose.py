"""The composition root: the one place where the parts of a process are made and put together."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec import Struct
from redis.asyncio import Redis

from gateway.idempotency.store import Answers
from gateway.settings import Settings
from internal_jobs.client import Jobs
from internal_jobs.enqueue import enqueue_plugin
from internal_jobs.wake import Waker
from plugins.egress.client import EgressClient
from plugins.egress.guard import Guard
from plugins.host.invoke import Host
from plugins.host.ledger import Ledger
from plugins.host.registry import Registry, discover
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
    registry: Registry
    ledger: Ledger
    host: Host
    jobs: Jobs


@asynccontextmanager
async def open_platform(settings: Settings) -> AsyncIterator[Platform]:
    """Make every part once, and close them in reverse order.

    Nothing is asked of Redis or Temporal here: a gateway starts while they are down.

    Raises:
        MasterKeyError: the master key file cannot be used.
        ValueError: an entry of the egress list cannot be read.
    """
    async with AsyncExitStack() as stack:
        database = Database(settings.database_url)
        stack.push_async_callback(database.close)
        vault = Vault(database, MasterKey.load(settings.master_key_file))
        credentials = Credentials(database, vault)
        egress = EgressClient(Guard(allow=settings.egress_allow))
        stack.push_async_callback(egress.close)
        redis = Redis.from_url(settings.redis_url)
        stack.push_async_callback(redis.aclose)
        jobs = Jobs(database=database, vault=vault, waker=Waker(settings.redis_url))
        stack.push_async_callback(jobs.close)
        registry = discover([enqueue_plugin(jobs)])
        ledger = Ledger(database, vault)
        yield Platform(
            settings=settings,
            database=database,
            vault=vault,
            credentials=credentials,
            answers=Answers(database, vault),
            redis=redis,
            registry=registry,
            ledger=ledger,
            host=Host(registry=registry, ledger=ledger, credentials=credentials, egress=egress),
            jobs=jobs,
        )
