"""Webhooks over a real jobs worker, and a receiver on loopback."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from internal_jobs.bindings import JobBindings
from internal_jobs.client import Jobs
from internal_jobs.webhooks.desk import Webhooks
from internal_jobs.worker import WorkerOptions, run_worker
from plugins.egress.client import EgressClient
from plugins.egress.guard import Guard
from plugins.host.invoke import Host
from plugins.host.ledger import Ledger
from plugins.host.registry import Registry
from plugins.host.retry import Retry
from plugins.storage.database import Database
from plugins.vault.keys import Vault
from plugins.vault.lending import Lender
from tests.plugins.target import Target, open_target


@pytest.fixture
async def receiver() -> AsyncIterator[Target]:
    async with open_target() as opened:
        yield opened


@pytest.fixture
def webhooks(database: Database, vault: Vault, jobs: Jobs) -> Webhooks:
    """With three attempts in quick succession, where production makes twelve over days."""
    retry = Retry(max_attempts=3, initial_interval="20ms", backoff=1.0, max_interval="20ms")
    return Webhooks(database=database, vault=vault, jobs=jobs, retry=retry)


@pytest.fixture
async def delivering(
    database: Database, vault: Vault, webhooks: Webhooks, valkey_url: str, options: WorkerOptions, receiver: Target
) -> AsyncIterator[None]:
    """A jobs worker that delivers, and may reach the receiver alone."""
    stop = asyncio.Event()
    registry = Registry(webhooks.chores())
    egress = EgressClient(Guard(allow=[f"127.0.0.1:{receiver.port}"]))
    host = Host(
        registry=registry,
        ledger=Ledger(database, vault),
        lender=Lender(database, vault, permit=JobBindings(database).refusal),
        egress=egress,
    )
    running = asyncio.create_task(
        run_worker(
            database=database,
            vault=vault,
            host=host,
            registry=registry,
            redis_url=valkey_url,
            # Nothing here kills its worker.
            cell=(),
            options=options,
            stop=stop,
        )
    )
    yield
    stop.set()
    await running
    await egress.close()
