"""Rotating a tenant's data key over the API, and the chore that seals again."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from gateway.compose import Platform
from gateway.installation import INSTALLATION
from gateway.renewal import RENEW, renew_plugin
from plugins.host.invoke import Call, CallFailed, Host
from plugins.host.registry import Registry
from plugins.storage.database import now
from plugins.storage.ids import new_id
from plugins.vault.keys import tenant_keys
from plugins.vault.renewal import REST
from tests.gateway.application import ADMIN, Headers, MakeTenant


async def renew(platform: Platform, tenant_id: str, **config: Any) -> Any:
    registry = Registry([renew_plugin(platform)])
    host = Host(registry=registry, ledger=platform.ledger, lender=platform.lender, egress=platform.egress)
    job_id = new_id("job")
    call = Call(plugin=RENEW, config=config, tenant_id=tenant_id, origin=job_id, step=RENEW, job_id=job_id)
    return (await host.invoke(call, heartbeat=lambda _: None, is_cancelled=lambda: False)).output


async def age(platform: Platform, tenant_id: str, by: timedelta) -> None:
    one = update(tenant_keys).where(tenant_keys.c.tenant_id == tenant_id)
    async with platform.database.transaction(tenant_id) as connection:
        await connection.execute(one.values(created_at=now() - by))
    platform.vault._distrust(tenant_id)


async def test_a_key_is_rotated_what_lives_long_renewed_and_the_old_key_destroyed(
    client: httpx.AsyncClient, platform: Platform, owner: Headers
) -> None:
    tenant_id = (await client.get("/v1/me", headers=owner)).json()["tenantId"]
    keys = f"/v1/tenants/{tenant_id}/keys"
    secret = {"type": "bearer", "name": "api", "data": {"token": "t"}}
    credential = (await client.post("/v1/credentials", headers=owner, json=secret)).json()["id"]
    await client.post("/v1/workflows", headers=owner, json={"name": "w", "definition": {"nodes": []}})
    limit = {"scope": "type", "subject": "email.send", "maxConcurrent": 3}
    assert (await client.put("/v1/job-limits", headers=owner, json=limit)).status_code == 200
    endpoint = {"url": "https://example.com/hook", "events": ["*"]}
    made = await client.post("/v1/endpoints", headers=owner, json=endpoint)
    assert made.status_code == 201, made.text

    rotated = await client.post(f"{keys}/rotate", headers=owner)
    assert rotated.status_code == 201, rotated.text
    assert (rotated.json()["version"], rotated.json()["state"]) == (2, "active")
    listed = (await client.get(keys, headers=ADMIN)).json()["items"]
    assert [(key["version"], key["state"]) for key in listed] == [(2, "active"), (1, "retired")]
    asked = await platform.jobs.list(INSTALLATION, type=RENEW)
    assert [(job.status, job.payload) for job in asked.items] == [("scheduled", {"tenantId": tenant_id})]

    early = await client.delete(f"{keys}/1", headers=owner)
    assert (early.status_code, "may be destroyed from" in early.json()["detail"]) == (409, True)
    await age(platform, tenant_id, REST + timedelta(minutes=1))
    needed = await client.delete(f"{keys}/1", headers=owner)
    assert "1 of credentials" in needed.json()["detail"]
    assert await renew(platform, INSTALLATION) == {tenant_id: 4}
    assert await renew(platform, INSTALLATION, tenantId=tenant_id) == {}
    assert (await client.get(f"/v1/credentials/{credential}", headers=owner)).json()["name"] == "api"
    assert await platform.renewal.needs(tenant_id, 1) == {}
    # It has rested, and the chore has left nothing that needs it: the chore has destroyed it, too.
    listed = (await client.get(keys, headers=ADMIN)).json()["items"]
    assert [(key["version"], key["state"]) for key in listed] == [(2, "active"), (1, "destroyed")]
    assert (await client.delete(f"{keys}/1", headers=owner)).status_code == 404
    assert (await client.get(f"/v1/credentials/{credential}", headers=owner)).json()["name"] == "api"
    assert (await client.get("/v1/endpoints", headers=owner)).json()["items"][0]["url"] == endpoint["url"]
    assert (await client.get("/v1/job-limits", headers=owner)).json()["items"][0]["maxConcurrent"] == 3


async def test_keys_of_others_are_absent_and_an_editor_rotates_none(
    client: httpx.AsyncClient, make_tenant: MakeTenant, owner: Headers
) -> None:
    other = (await client.get("/v1/me", headers=await make_tenant())).json()["tenantId"]
    mine = (await client.get("/v1/me", headers=owner)).json()["tenantId"]
    for tenant_id in (other, "ten_0", "*", "a,b"):
        for ask in (
            client.get(f"/v1/tenants/{tenant_id}/keys", headers=owner),
            client.post(f"/v1/tenants/{tenant_id}/keys/rotate", headers=owner),
            client.delete(f"/v1/tenants/{tenant_id}/keys/1", headers=owner),
        ):
            assert (await ask).status_code == 404
    editor = await make_tenant("editor")
    assert (await client.post(f"/v1/tenants/{mine}/keys/rotate", headers=editor)).status_code == 403


async def test_a_tenant_cannot_ask_for_the_chore(platform: Platform, client: httpx.AsyncClient, owner: Headers) -> None:
    tenant_id = (await client.get("/v1/me", headers=owner)).json()["tenantId"]
    with pytest.raises(CallFailed) as failed:
        await renew(platform, tenant_id)
    assert failed.value.failure.type == "chore.forbidden"
