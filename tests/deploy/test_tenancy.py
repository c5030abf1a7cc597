"""The tenant comes first in whatever is stored: tables, their keys and references, Redis, Temporal."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec import structs
from redis.asyncio import Redis
from sqlalchemy import UniqueConstraint

from deploy.tables import metadata
from gateway.compose import Platform, open_platform
from internal_jobs.jobs import JobRequest
from plugins.storage.database import Database
from plugins.storage.tenants import create_tenant
from tests.gateway.application import settings_over
from tests.gateway.working import working
from tests.servers import own_namespace
from user_workflows.interpreter.messages import TriggerCall

TABLES = {table.name: table for table in metadata.sorted_tables if table.name != "tenants"}

#: unique over all tenants: what is presented by somebody of whom nothing else is known
PRESENTED = {"api_keys": {"id"}, "workflow_triggers": {"token_hash"}, "approval_links": {"token_hash"}}


@pytest.mark.parametrize("name", TABLES)
def test_every_key_begins_with_the_tenant(name: str) -> None:
    table = TABLES[name]
    assert next(column.name for column in table.primary_key) == "tenant_id"
    unique = [constraint.columns for constraint in table.constraints if isinstance(constraint, UniqueConstraint)]
    unique += [index.columns for index in table.indexes if index.unique]
    for columns in unique:
        names = [column.name for column in columns]
        assert names[0] == "tenant_id" or set(names) == PRESENTED.get(name), names


@pytest.mark.parametrize("name", TABLES)
def test_every_reference_stays_within_the_tenant(name: str) -> None:
    for reference in TABLES[name].foreign_key_constraints:
        pairs = {(element.parent.name, element.column.name) for element in reference.elements}
        assert ("tenant_id", "id" if reference.referred_table.name == "tenants" else "tenant_id") in pairs


@pytest.fixture
async def platform(
    database: Database, valkey_url: str, temporal_address: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Platform]:
    url = database.engine.url.render_as_string(hide_password=False)
    settings = settings_over(url, valkey_url, tmp_path_factory.mktemp("tenancy"))
    async with (
        open_platform(
            structs.replace(settings, temporal=await own_namespace(temporal_address)), lazy=False
        ) as platform,
        working(platform),
    ):
        yield platform


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_names_on_temporal_and_in_redis_begin_with_the_tenant(platform: Platform, valkey_url: str) -> None:
    async with platform.database.transaction("ten_named") as connection:
        await create_tenant(connection, "Acme", id="ten_named")
    definition = {
        "triggers": [{"id": "daily", "type": "cron", "config": {"cron": "0 9 * * *"}}],
        "nodes": [{"id": "s", "pluginId": "set", "config": {"values": {"a": 1}}}],
    }
    workflow = await platform.workflows.create("ten_named", name="w", definition=definition)
    await platform.workflows.publish("ten_named", workflow.id)
    await platform.workflows.activate("ten_named", workflow.id)
    trigger = TriggerCall(type="manual", payload=None)
    execution = await platform.executions.start("ten_named", workflow.id, trigger=trigger)
    assert (await platform.executions.wait("ten_named", execution.id, 30)).is_closed
    await platform.jobs.enqueue("ten_named", JobRequest(type="http.request", payload={}))

    async with Redis.from_url(valkey_url, decode_responses=True) as redis, asyncio.timeout(60):
        while not (keys := [key async for key in redis.scan_iter(match="*ten_named*")]):
            await asyncio.sleep(0.05)
    assert [key for key in keys if not key.startswith("ten_named:")] == []
    async with asyncio.timeout(60):
        while not (ids := [found.id async for found in platform.temporal.list_workflows()]):
            await asyncio.sleep(0.05)
        while not (schedules := [found.id async for found in await platform.temporal.list_schedules()]):
            await asyncio.sleep(0.05)
    assert [id for id in (*ids, *schedules) if not id.startswith("ten_named/")] == []
