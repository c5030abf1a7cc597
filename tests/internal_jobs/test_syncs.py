"""Syncs as jobs: killed and gone on with, stopped between two pages, and telling how far they are."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import psutil
import pytest
from msgspec import structs

from internal_jobs.client import JobRequest, Jobs
from internal_jobs.poison import MAX_REDELIVERIES
from plugins.host.retry import Retry
from plugins.storage.database import Database
from plugins.vault.credentials import Credentials
from plugins.vault.keys import Vault
from tests.internal_jobs.crew import Settings, cell_command
from tests.internal_jobs.watch import reach, show
from tests.plugins.builtin.sync.catalogue import Catalogue, open_catalogue
from tests.plugins.builtin.sync.shop import open_shop
from tests.plugins.target import open_target

COLUMNS = {"id": "/id", "name": "/name", "price": "/price"}
#: as many as no job survives that comes no further
KILLS = MAX_REDELIVERIES + 1


def payload(catalogue: Catalogue) -> dict[str, Any]:
    cursor = {"type": "token", "param": "after", "next": "/next"}
    return {
        "source": {
            **{"type": "http", "url": f"{catalogue.target.url}/token", "items": "/data/items", "total": "/total"},
            "cursor": cursor,
        },
        "sink": {"type": "sql", "table": "warehouse.Products", "columns": COLUMNS, "key": ["id"]},
    }


@pytest.fixture
def credentials(database: Database, vault: Vault) -> Credentials:
    return Credentials(database, vault)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """What the call of a killed worker has begun is soon taken over."""
    return structs.replace(settings, effect_lease=0.5)


@asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[None]:
    """A worker process; at the end of the block it, and every process of its own, is killed."""
    process = await asyncio.create_subprocess_exec(*cell_command(settings))
    try:
        yield
    finally:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for member in family:
            member.kill()
        await process.wait()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_killed_sync_goes_on_where_it_was_without_a_gap_or_a_duplicate(
    credentials: Credentials, jobs: Jobs, tenant: str, postgres_url: str, settings: Settings
) -> None:
    async with open_shop(postgres_url) as shop, open_catalogue(595, size=20, pause=0.05) as catalogue:
        credential = await credentials.create(tenant, type="database", name="shop", data={"url": shop.url})
        request = JobRequest(
            type="data.sync", payload=payload(catalogue), credentials={"database": credential.id}, timeout="1h"
        )
        job = await jobs.enqueue(tenant, request)
        begun = []
        for kill in range(1, KILLS + 1):
            begun.append(len(catalogue.asked))
            async with working(settings):
                await catalogue.asks(4 * kill + kill - 1)
        begun.append(len(catalogue.asked))
        async with working(settings):
            done = await reach(jobs, tenant, job.id, seconds=60)
        assert done.status == "completed", done.error
        assert done.result == {"pages": 30, "records": 595, "complete": True, "cursor": None}
        assert await shop.rows() == catalogue.records
    first = [catalogue.asked[number] for number in begun]
    assert first[0] == 0
    assert all(later > earlier for earlier, later in pairwise(first)), "it went on, and did not begin again"
    assert set(catalogue.asked) == set(range(0, 595, 20))
    assert len(catalogue.asked) <= catalogue.pages + 2 * KILLS


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_killed_sync_tells_an_api_nothing_twice_without_saying_so(
    vault: Vault, jobs: Jobs, tenant: str, settings: Settings
) -> None:
    """The receiver is the ground truth: by its keys each record came once, in order."""
    await vault.sealer(tenant)
    async with open_catalogue(295, size=20, pause=0.05) as catalogue, open_target() as receiver:
        receiver.answer("/in", 204)
        sink = {"type": "http", "url": receiver.url + "/in", "batch": 8}
        job = await jobs.enqueue(
            tenant, JobRequest(type="data.sync", payload=payload(catalogue) | {"sink": sink}, timeout="1h")
        )
        async with working(settings):
            await catalogue.asks(7)
        asked = len(catalogue.asked)
        async with working(settings):
            done = await reach(jobs, tenant, job.id, seconds=60)
        assert done.status == "completed", done.error
    assert catalogue.asked[asked] >= 80, "it went on, and did not begin again"
    told = {request.headers["idempotency-key"]: request.body for request in receiver.requests}
    assert all(told[request.headers["idempotency-key"]] == request.body for request in receiver.requests)
    assert [record for body in told.values() for record in json.loads(body)] == catalogue.records


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_canceled_sync_stops_between_two_pages_and_tells_how_far_it_was(
    credentials: Credentials, jobs: Jobs, tenant: str, postgres_url: str, worker: "asyncio.Task[None]"
) -> None:
    async with open_shop(postgres_url) as shop, open_catalogue(5_000, size=10, pause=0.05) as catalogue:
        credential = await credentials.create(tenant, type="database", name="shop", data={"url": shop.url})
        request = JobRequest(
            type="data.sync", payload=payload(catalogue), credentials={"database": credential.id}, timeout="5m"
        )
        job = await jobs.enqueue(tenant, request)
        told = await show(jobs, tenant, job.id, lambda job: job.progress is not None)
        assert 0 < told.progress["percent"] < 100
        await jobs.cancel(tenant, job.id)
        canceled = await reach(jobs, tenant, job.id)
        assert canceled.status == "canceled"
        rows = await shop.rows()
        assert len(rows) % 10 == 0
        assert rows == catalogue.records[: len(rows)]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_sync_that_outlasts_its_timeout_goes_on_for_as_long_as_it_comes_further(
    credentials: Credentials, jobs: Jobs, tenant: str, postgres_url: str, worker: "asyncio.Task[None]"
) -> None:
    async with open_shop(postgres_url) as shop, open_catalogue(250, size=10, pause=0.1) as catalogue:
        credential = await credentials.create(tenant, type="database", name="shop", data={"url": shop.url})
        request = JobRequest(
            type="data.sync",
            payload=payload(catalogue),
            credentials={"database": credential.id},
            timeout="1s",
            retry=Retry(max_attempts=2, initial_interval="50ms"),
        )
        job = await jobs.enqueue(tenant, request)
        done = await reach(jobs, tenant, job.id, seconds=60)
        assert done.status == "completed", done.error
        assert done.attempts > 2
        assert await shop.rows() == catalogue.records
