"""Credentials through the API: data goes in and never comes out."""

import asyncio
import time

import httpx
import jsonschema
import pytest

from gateway.compose import Platform
from plugins import Bearer
from plugins.vault.lending import Borrower
from tests.gateway.application import Headers, MakeTenant, new_tenant
from tests.plugins.vault.test_forms import GOOD

BEARER = {"type": "bearer", "name": "GitHub", "data": {"token": "hunter2-hunter2"}, "allowedHosts": ["api.github.com"]}


async def test_a_credential_is_stored_changed_rotated_and_forgotten(client: httpx.AsyncClient, owner: Headers) -> None:
    made = await client.post("/v1/credentials", headers=owner, json=BEARER)
    assert made.status_code == 201
    where = made.headers["location"]
    assert where == f"/v1/credentials/{made.json()['id']}"
    changed = await client.patch(where, headers=owner, json={"name": "GitHub, read only"})
    assert changed.json()["name"] == "GitHub, read only"
    assert changed.json()["allowedHosts"] == ["api.github.com"]
    rotated = await client.post(f"{where}/rotate", headers=owner, json={"data": {"token": "hunter3-hunter3"}})
    assert rotated.json()["rotatedAt"] is not None
    shown = await client.get(where, headers=owner)
    listed = await client.get("/v1/credentials", headers=owner)
    assert listed.json() == {"items": [shown.json()], "nextCursor": None}
    everything = made.text + changed.text + rotated.text + shown.text + listed.text
    assert "hunter" not in everything
    assert (await client.delete(where, headers=owner)).status_code == 204
    assert (await client.get(where, headers=owner)).status_code == 404


async def test_the_faults_of_a_credential_are_named_together_without_a_value(
    client: httpx.AsyncClient, owner: Headers
) -> None:
    body = {"type": "basic", "name": "", "data": {"username": "a:hunter2", "passwort": "hunter2"}}
    refused = await client.post("/v1/credentials", headers=owner, json=body)
    assert refused.status_code == 422
    assert {fault["pointer"] for fault in refused.json()["errors"]} >= {"/name", "/data/password", "/data/passwort"}
    assert "hunter2" not in refused.text


async def test_a_viewer_sees_no_credentials(client: httpx.AsyncClient, make_tenant: MakeTenant) -> None:
    assert (await client.get("/v1/credentials", headers=await make_tenant("viewer"))).status_code == 403


async def test_every_type_is_described_by_a_schema_of_its_data(client: httpx.AsyncClient, owner: Headers) -> None:
    described = {
        item["type"]: item for item in (await client.get("/v1/credential-types", headers=owner)).json()["items"]
    }
    assert described.keys() == GOOD.keys()
    for type, data in GOOD.items():
        schema = described[type]["dataSchema"]
        jsonschema.validate(data, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({}, schema)
        hidden = {name for name, field in schema["properties"].items() if "writeOnly" in str(field)}
        assert hidden, f"nothing of {type} is secret"
    assert described["oauth2"]["lentAs"] == "bearer"


async def test_a_credential_says_when_it_was_last_used(client: httpx.AsyncClient, platform: Platform) -> None:
    headers = await new_tenant(platform)
    tenant_id = (await client.get("/v1/me", headers=headers)).json()["tenantId"]
    where = (await client.post("/v1/credentials", headers=headers, json=BEARER)).headers["location"]
    assert (await client.get(where, headers=headers)).json()["lastUsedAt"] is None
    id = where.rpartition("/")[2]
    borrower = Borrower(tenant_id=tenant_id, plugin_id="http.request", step="hook", trigger_id="hook")
    await platform.lender.lend(borrower, Bearer("auth"), id)
    deadline = time.monotonic() + 10
    while (await client.get(where, headers=headers)).json()["lastUsedAt"] is None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
