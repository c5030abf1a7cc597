"""What an installation grants its tenants, through the API."""

import httpx
import pytest

from tests.gateway.application import ADMIN, Headers


async def test_a_tenant_is_granted_a_tier_a_weight_and_a_queue(client: httpx.AsyncClient) -> None:
    tenant = (await client.post("/v1/tenants", headers=ADMIN, json={"name": "Acme"})).json()["id"]
    path = f"/v1/tenants/{tenant}/tier"
    assert (await client.get(path, headers=ADMIN)).json() == {"tier": "standard", "weight": None, "queue": None}
    for tier in ({"tier": "premium", "weight": 9.5, "queue": "gold-2"}, {"tier": "basic"}):
        put = await client.put(path, headers=ADMIN, json=tier)
        assert put.status_code == 200, put.text
        assert put.json() == (await client.get(path, headers=ADMIN)).json() == {"weight": None, "queue": None} | tier


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"tier": "gold"}, "/tier"),
        ({"weight": 0}, "/weight"),
        ({"weight": 1001}, "/weight"),
        ({"queue": "steps"}, "/queue"),
        ({"queue": "a.b"}, "/queue"),
        ({"queue": "gold\n"}, "/queue"),
        ({"queue": ""}, "/queue"),
        ({"queue": "x" * 41}, "/queue"),
        ({"more": 1}, ""),
    ],
)
async def test_what_cannot_be_granted_is_refused_by_its_name(
    client: httpx.AsyncClient, body: object, pointer: str
) -> None:
    tenant = (await client.post("/v1/tenants", headers=ADMIN, json={"name": "Acme"})).json()["id"]
    refused = await client.put(f"/v1/tenants/{tenant}/tier", headers=ADMIN, json=body)
    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"][0]["pointer"].startswith(pointer)


async def test_only_the_administrator_grants_and_only_to_who_is_there(
    client: httpx.AsyncClient, owner: Headers
) -> None:
    mine = (await client.get("/v1/me", headers=owner)).json()["tenantId"]
    assert (await client.put(f"/v1/tenants/{mine}/tier", headers=owner, json={"tier": "premium"})).status_code == 403
    for ask in (
        client.get("/v1/tenants/ten_0/tier", headers=ADMIN),
        client.put("/v1/tenants/ten_0/tier", headers=ADMIN, json={}),
    ):
        assert (await ask).status_code == 404
