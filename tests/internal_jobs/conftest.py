"""A vault, a tenant and a `Jobs` facade on a real database and a real Valkey."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from internal_jobs.broker import JobsBroker, connect, producing_broker
from internal_jobs.client import Jobs
from internal_jobs.jobs import Queue
from internal_jobs.wake import Waker
from internal_jobs.worker import WorkerOptions, run_worker
from plugins.storage.database import Database
from plugins.storage.tenants import create_tenant
from plugins.vault.keys import MasterKey, Vault
from tests.internal_jobs.crew import CREW, Settings, cell_command, host_for


@pytest.fixture
def vault(database: Database, tmp_path: Path) -> Vault:
    return Vault(database, MasterKey.load_or_create(tmp_path / "master.key"))


@pytest.fixture
def namespace() -> str:
    """Tests share a Valkey server, and nothing in it."""
    return f"jobs-{secrets.token_hex(4)}"


@pytest.fixture
async def tenant(database: Database) -> str:
    async with database.across.transaction() as connection:
        return (await create_tenant(connection, "Acme")).id


@pytest.fixture
async def other_tenant(database: Database) -> str:
    async with database.across.transaction() as connection:
        return (await create_tenant(connection, "Other")).id


@pytest.fixture
async def jobs(database: Database, vault: Vault, valkey_url: str, namespace: str) -> AsyncIterator[Jobs]:
    facade = Jobs(database=database, vault=vault, waker=Waker(valkey_url, namespace=namespace))
    yield facade
    await facade.close()


@pytest.fixture
def producer(valkey_url: str, namespace: str) -> Iterator[JobsBroker]:
    client = connect(valkey_url)
    yield producing_broker(client, namespace, 5.0)
    client.close()


@pytest.fixture
def options(namespace: str) -> WorkerOptions:
    slots: dict[Queue, int] = {"critical": 2, "default": 8, "bulk": 2}
    return WorkerOptions(namespace=namespace, slots=slots, lease=1.5, heartbeat_timeout=2.0, drain=1.0)


@pytest.fixture
def settings(database: Database, vault: Vault, valkey_url: str, options: WorkerOptions, tmp_path: Path) -> Settings:
    """What a worker process needs to know."""
    return Settings(
        database_url=database.engine.url.render_as_string(hide_password=False),
        redis_url=valkey_url,
        master_key=str(tmp_path / "master.key"),
        options=options,
    )


@pytest.fixture
async def worker(database: Database, vault: Vault, settings: Settings) -> AsyncIterator[asyncio.Task[None]]:
    """A worker in this process; it drains at the end of the test."""
    stop = asyncio.Event()
    async with host_for(database, vault) as host:
        running = asyncio.create_task(
            run_worker(
                database=database,
                vault=vault,
                host=host,
                registry=CREW,
                redis_url=settings.redis_url,
                cell=cell_command(settings),
                options=settings.options,
                stop=stop,
            )
        )
        yield running
        stop.set()
        await running
