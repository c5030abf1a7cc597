"""Limits of jobs through the API: an owner's by type and host, the administrator's of tenants and for all."""

import httpx

from tests.gateway.application import ADMIN, Headers

TYPE = {"scope": "type", "subject": "email.send", "maxConcurrent": 2, "rate": {"count": 100, "per": "1m"}}
TENANT = {"scope": "tenant", "maxConcurrent": 50}


async def test_an_owner_sets_changes_and_lifts_a_limit(client: httpx.AsyncClient, owner: Headers) -> None:
    assert (await client.put("/v1/job-limits", headers=owner, json=TYPE)).status_code == 200
    changed = await client.put("/v1/job-limits", headers=owner, json=TYPE | {"maxConcurrent": 3, "rate": None})
    assert changed.json() == {"scope": "type", "subject": "email.send", "maxConcurrent": 3, "rate": None}
    listed = (await client.get("/v1/job-limits", headers=owner)).json()
    assert listed == {"items": [changed.json()], "nextCursor": None}
    query = "scope=type&subject=email.send"
    assert (await client.delete(f"/v1/job-limits?{query}", headers=owner)).status_code == 204
    assert (await client.delete(f"/v1/job-limits?{query}", headers=owner)).status_code == 404


async def test_only_the_administrator_limits_a_tenant(client: httpx.AsyncClient, owner: Headers) -> None:
    assert (await client.put("/v1/job-limits", headers=owner, json=TENANT)).status_code == 403
    tenant = (await client.get("/v1/me", headers=owner)).json()["tenantId"]
    where = f"/v1/job-limits?tenantId={tenant}"
    assert (await client.put(where, headers=ADMIN, json=TENANT)).status_code == 200
    assert [limit["scope"] for limit in (await client.get("/v1/job-limits", headers=owner)).json()["items"]] == [
        "tenant"
    ]
    assert (await client.delete("/v1/job-limits?scope=tenant", headers=owner)).status_code == 403
    assert (await client.delete(f"{where}&scope=tenant", headers=ADMIN)).status_code == 204


async def test_the_administrator_limits_a_host_for_all_tenants(client: httpx.AsyncClient, owner: Headers) -> None:
    host = {"scope": "host", "subject": "api.example.com", "maxConcurrent": 4}
    assert (await client.put("/v1/job-limits", headers=ADMIN, json=host)).status_code == 200
    assert (await client.get("/v1/job-limits", headers=owner)).json()["items"] == []
    assert (await client.put("/v1/job-limits", headers=ADMIN, json=TENANT)).status_code == 422


async def test_a_limit_that_cannot_be_set_says_where(client: httpx.AsyncClient, owner: Headers) -> None:
    refused = await client.put("/v1/job-limits", headers=owner, json={"scope": "type", "maxConcurrent": 1})
    assert refused.status_code == 422
    assert [fault["pointer"] for fault in refused.json()["errors"]] == ["/subject"]
