"""Retention: each store forgets what is older than its setting, and only the installation may ask for it."""

import asyncio
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import func, select, update

from gateway.compose import Platform
from gateway.idempotency.store import idempotency_keys
from gateway.installation import INSTALLATION, register_installation
from gateway.retention import PURGE, ask_for_purge, purge_plugin
from plugins.host.invoke import Call, CallFailed, Host, Outcome
from plugins.host.registry import Registry
from plugins.storage.database import now
from tests.gateway.application import ADMIN, Headers


async def purge(platform: Platform, tenant_id: str) -> Outcome:
    registry = Registry([purge_plugin(platform)])
    host = Host(registry=registry, ledger=platform.ledger, lender=platform.lender, egress=platform.egress)
    call = Call(plugin=PURGE, config={}, tenant_id=tenant_id, origin="job_1", step=PURGE, job_id="job_1")
    return await host.invoke(call, heartbeat=lambda _: None, is_cancelled=lambda: False)


async def test_what_is_older_than_its_retention_is_deleted(client: httpx.AsyncClient, platform: Platform) -> None:
    await register_installation(platform.database)
    for key in ("old", "new"):
        await client.post("/v1/tenants", headers=ADMIN | {"Idempotency-Key": key}, json={"name": key})
    aged = now() - timedelta(seconds=platform.settings.retention.idempotency + 1)
    async with platform.database.across.transaction() as connection:
        first = select(func.min(idempotency_keys.c.id)).scalar_subquery()
        await connection.execute(update(idempotency_keys).where(idempotency_keys.c.id == first).values(created_at=aged))
    assert (await purge(platform, INSTALLATION)).output == {
        "executions": 0,
        "inbox": 0,
        "jobs": 0,
        "deliveries": 0,
        "scheduleFirings": 0,
        "effects": 0,
        "idempotency": 1,
    }


async def test_a_tenant_cannot_ask_for_it(client: httpx.AsyncClient, platform: Platform, owner: Headers) -> None:
    refused = await client.post("/v1/jobs", headers=owner, json={"type": PURGE, "payload": {}})
    assert refused.status_code == 422
    tenant_id = (await client.get("/v1/me", headers=owner)).json()["tenantId"]
    with pytest.raises(CallFailed) as failed:
        await purge(platform, tenant_id)
    assert failed.value.failure.type == "chore.forbidden"


async def test_several_workers_ask_for_one_purge(platform: Platform) -> None:
    await asyncio.gather(*(ask_for_purge(platform) for _ in range(5)))
    found = await platform.jobs.list(INSTALLATION)
    assert [job.type for job in found.items] == [PURGE]
