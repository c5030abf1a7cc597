"""Keys through the API: who gets in, what each may do, and that nothing of a key is kept but its hash."""

from datetime import UTC, datetime, timedelta
from typing import get_args

import httpx
from sqlalchemy import select

from gateway.auth.keys import api_keys
from gateway.auth.permissions import PERMISSIONS, TenantRole
from gateway.compose import Platform
from tests.gateway.application import ADMIN, Headers, MakeTenant


async def test_a_new_key_works_at_once_and_is_shown_once(client: httpx.AsyncClient, platform: Platform) -> None:
    tenant = (await client.post("/v1/tenants", headers=ADMIN, json={"name": "Acme"})).json()
    made = await client.post(
        "/v1/api-keys", headers=ADMIN, json={"tenantId": tenant["id"], "name": "ci", "role": "owner"}
    )
    assert made.status_code == 201
    key = made.json()["key"]
    assert key.startswith("gw_")
    headers = {"Authorization": f"Bearer {key}"}
    assert (await client.get("/v1/me", headers=headers)).json()["tenantId"] == tenant["id"]

    listed = await client.get("/v1/api-keys", headers=headers)
    assert [item["id"] for item in listed.json()["items"]] == [made.json()["id"]]
    assert key not in listed.text
    async with platform.database.across.read() as connection:
        row = (await connection.execute(select(api_keys))).one()
    assert key not in str(row)
    assert key.split("_", 2)[2] not in str(row)


async def test_without_a_valid_key_nobody_gets_in(client: httpx.AsyncClient) -> None:
    for authorization in (
        "",
        "Bearer",
        "Bearer ",
        "Basic Z3c6Z3c=",
        "Bearer gw_01jd3x0v7k8m5qf2c9hz6w4t1b_nosuchsecret",
        "Bearer gw__",
        "Bearer gw_%00_x",
        "Bearer admin-key-of-the-tests-which-is-long-enougH",
    ):
        refused = await client.get("/v1/me", headers={"Authorization": authorization})
        assert refused.status_code == 401, authorization
        assert refused.headers["www-authenticate"] == "Bearer"
        assert refused.json()["type"] == "/problems/unauthenticated"
    assert (await client.get("/v1/me")).status_code == 401


async def test_a_changed_secret_is_refused(client: httpx.AsyncClient, owner: Headers) -> None:
    changed = owner["Authorization"][:-1] + ("A" if owner["Authorization"][-1] != "A" else "B")
    assert (await client.get("/v1/me", headers={"Authorization": changed})).status_code == 401


async def test_a_revoked_key_is_refused_at_once_in_the_same_process(client: httpx.AsyncClient, owner: Headers) -> None:
    mine = (await client.get("/v1/me", headers=owner)).json()["keyId"]
    assert (await client.delete(f"/v1/api-keys/{mine}", headers=owner)).status_code == 204
    assert (await client.get("/v1/me", headers=owner)).status_code == 401


async def test_an_expired_key_is_refused(client: httpx.AsyncClient, make_tenant: MakeTenant) -> None:
    expired = await make_tenant(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert (await client.get("/v1/me", headers=expired)).status_code == 401


async def test_a_role_has_its_permissions_and_scopes_narrow_them(
    client: httpx.AsyncClient, make_tenant: MakeTenant
) -> None:
    for role in get_args(TenantRole):
        whole = await make_tenant(role)
        assert (await client.get("/v1/me", headers=whole)).json()["permissions"] == sorted(PERMISSIONS[role])
        narrow = await make_tenant(role, scopes=["jobs.read", "keys.write"])
        permissions = (await client.get("/v1/me", headers=narrow)).json()["permissions"]
        assert permissions == sorted({"me.read", "jobs.read", "keys.write"} & {*PERMISSIONS[role], "me.read"})


async def test_a_role_without_the_permission_is_refused(client: httpx.AsyncClient, make_tenant: MakeTenant) -> None:
    viewer = await make_tenant("viewer")
    refused = await client.post("/v1/api-keys", headers=viewer, json={"name": "mine", "role": "owner"})
    assert refused.status_code == 403
    assert "keys.write" in refused.json()["detail"]


async def test_a_key_cannot_make_a_key_that_may_do_more(client: httpx.AsyncClient, make_tenant: MakeTenant) -> None:
    narrow = await make_tenant("owner", scopes=["keys.write", "jobs.read"])
    more = await client.post("/v1/api-keys", headers=narrow, json={"name": "more", "role": "owner"})
    assert more.status_code == 403
    same = {"name": "same", "role": "owner", "scopes": ["jobs.read"]}
    assert (await client.post("/v1/api-keys", headers=narrow, json=same)).status_code == 201


async def test_an_owner_cannot_reach_the_keys_of_another_tenant(
    client: httpx.AsyncClient, make_tenant: MakeTenant
) -> None:
    mine, theirs = await make_tenant(), await make_tenant()
    other = (await client.get("/v1/me", headers=theirs)).json()
    body = {"name": "x", "role": "viewer", "tenantId": other["tenantId"]}
    assert (await client.post("/v1/api-keys", headers=mine, json=body)).status_code == 403
    foreign = await client.delete(f"/v1/api-keys/{other['keyId']}", headers=mine)
    absent = await client.delete("/v1/api-keys/key_01jd3x0v7k8m5qf2c9hz6w4t1b", headers=mine)
    assert foreign.status_code == absent.status_code == 404
    assert (await client.get("/v1/me", headers=theirs)).status_code == 200


async def test_the_faults_of_a_key_are_named_together(client: httpx.AsyncClient, owner: Headers) -> None:
    body = {"name": "x", "role": "owner", "scopes": ["jobs.read", "moon.walk"], "expiresAt": "2001-01-01T00:00:00Z"}
    refused = await client.post("/v1/api-keys", headers=owner, json=body)
    assert refused.status_code == 422
    assert [fault["pointer"] for fault in refused.json()["errors"]] == ["/scopes/1", "/expiresAt"]


async def test_lists_come_in_pages(client: httpx.AsyncClient, owner: Headers) -> None:
    for name in ("a", "b", "c"):
        await client.post("/v1/api-keys", headers=owner, json={"name": name, "role": "viewer"})
    first = (await client.get("/v1/api-keys?limit=3", headers=owner)).json()
    assert [item["name"] for item in first["items"]] == ["c", "b", "a"]
    rest = (await client.get(f"/v1/api-keys?limit=3&cursor={first['nextCursor']}", headers=owner)).json()
    assert [item["name"] for item in rest["items"]] == ["test"]
    assert rest["nextCursor"] is None
    assert (await client.get("/v1/api-keys?cursor=../x", headers=owner)).status_code == 400
