"""Keys through the API: who gets in, what each may do, and that nothing of a key is kept but its hash."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import get_args

import httpx
import pytest
from msgspec import structs
from sqlalchemy import select

from gateway.auth.keys import api_keys, find_by_key
from gateway.auth.pepper import Pepper
from gateway.auth.permissions import PERMISSIONS, TenantRole
from gateway.compose import Platform, open_platform
from gateway.errors import SettingsError
from gateway.settings import Settings
from tests.gateway.application import ADMIN, Headers, MakeTenant, answering, new_tenant


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


async def test_a_service_has_jobs_to_do_and_nothing_to_look_at(
    client: httpx.AsyncClient, make_tenant: MakeTenant
) -> None:
    service = await make_tenant("service")
    job = {"type": "http.request", "payload": {"url": "https://example.com"}, "delay": "1d"}
    assert (await client.post("/v1/jobs", headers=service, json=job)).status_code == 202
    assert (await client.get("/v1/jobs", headers=service)).status_code == 200
    assert (await client.post("/v1/deliveries", headers=service, json={"type": "invoice.paid"})).status_code == 202
    for method, path in (
        ("GET", "/v1/workflows"),
        ("GET", "/v1/executions"),
        ("GET", "/v1/credentials"),
        ("POST", "/v1/workflows/wf_01jd3x0v7k8m5qf2c9hz6w4t1b/executions"),
        ("POST", "/v1/events"),
        ("POST", "/v1/stream-tickets"),
    ):
        assert (await client.request(method, path, headers=service)).status_code == 403, path


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


async def test_a_rotated_key_and_its_successor_both_work_until_the_overlap_ends(
    client: httpx.AsyncClient, owner: Headers, platform: Platform
) -> None:
    body = {"name": "ci", "role": "viewer", "scopes": ["jobs.read"], "expiresAt": "2100-01-01T00:00:00Z"}
    old = (await client.post("/v1/api-keys", headers=owner, json=body)).json()
    rotated = await client.post(f"/v1/api-keys/{old['id']}/rotate", headers=owner, json={"overlap": "1h"})
    assert rotated.status_code == 201, rotated.text
    new = rotated.json()
    assert {name: new[name] for name in ("name", "role", "scopes")} == {
        name: old[name] for name in ("name", "role", "scopes")
    }
    assert new["expiresAt"] > "2099"
    until = datetime.fromisoformat(new["previousExpiresAt"])
    assert timedelta(minutes=59) < until - datetime.now(UTC) <= timedelta(hours=1)
    for key in (old["key"], new["key"]):
        assert (await client.get("/v1/me", headers={"Authorization": f"Bearer {key}"})).status_code == 200
    await end(platform, old["id"])
    for key, status in ((old["key"], 401), (new["key"], 200)):
        assert await find_by_key(platform.database, key) is not None
        async with answering(platform) as another:
            answer = await another.get("/v1/me", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == status


async def test_two_valid_keys_have_one_name_and_no_third(client: httpx.AsyncClient, owner: Headers) -> None:
    body = {"name": "ci", "role": "viewer"}
    first = (await client.post("/v1/api-keys", headers=owner, json=body)).json()
    second = (await client.post(f"/v1/api-keys/{first['id']}/rotate", headers=owner)).json()
    for refused in (
        await client.post(f"/v1/api-keys/{first['id']}/rotate", headers=owner),
        await client.post(f"/v1/api-keys/{second['id']}/rotate", headers=owner),
        await client.post("/v1/api-keys", headers=owner, json=body),
    ):
        assert (refused.status_code, "revoke one" in refused.json()["detail"]) == (409, True)
    await client.delete(f"/v1/api-keys/{first['id']}", headers=owner)
    assert (await client.post(f"/v1/api-keys/{first['id']}/rotate", headers=owner)).status_code == 409, "it has ended"
    assert (await client.post(f"/v1/api-keys/{second['id']}/rotate", headers=owner)).status_code == 201


async def test_of_many_rotations_of_one_key_at_once_one_makes_a_key(client: httpx.AsyncClient, owner: Headers) -> None:
    made = (await client.post("/v1/api-keys", headers=owner, json={"name": "ci", "role": "viewer"})).json()
    where = f"/v1/api-keys/{made['id']}/rotate"
    answers = await asyncio.gather(*(client.post(where, headers=owner) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + 7 * [409]


async def test_of_many_keys_of_one_name_made_and_rotated_at_once_two_are_valid(
    platform: Platform, settings: Settings, make_tenant: MakeTenant
) -> None:
    """Over the connections of two processes: on PostgreSQL nothing but a lock keeps them from counting alike."""
    owner = await make_tenant()
    async with (
        open_platform(settings) as second,
        answering(platform) as one,
        answering(second) as two,
    ):
        for number in range(3):
            body = {"name": f"ci{number}", "role": "viewer"}
            first = (await one.post("/v1/api-keys", headers=owner, json=body)).json()["id"]
            answers = await asyncio.gather(
                *(client.post("/v1/api-keys", headers=owner, json=body) for client in 2 * (one, two)),
                *(client.post(f"/v1/api-keys/{first}/rotate", headers=owner) for client in (one, two)),
            )
            told = sorted(answer.status_code for answer in answers)
            assert told == [201] + 5 * [409], [answer.text for answer in answers]
        listed = (await one.get("/v1/api-keys?limit=100", headers=owner)).json()["items"]
    names = [key["name"] for key in listed if key["name"].startswith("ci")]
    assert names == [f"ci{number}" for number in reversed(range(3)) for _ in range(2)]


async def test_a_rotation_gives_no_more_than_the_caller_has(client: httpx.AsyncClient, make_tenant: MakeTenant) -> None:
    owner = await make_tenant()
    mine = (await client.get("/v1/me", headers=owner)).json()["keyId"]
    body = {"name": "narrow", "role": "owner", "scopes": ["keys.write", "jobs.read"]}
    narrow = (await client.post("/v1/api-keys", headers=owner, json=body)).json()
    headers = {"Authorization": f"Bearer {narrow['key']}"}
    assert (await client.post(f"/v1/api-keys/{mine}/rotate", headers=headers)).status_code == 403
    assert (await client.post(f"/v1/api-keys/{narrow['id']}/rotate", headers=headers)).status_code == 201
    foreign = await client.post(f"/v1/api-keys/{mine}/rotate", headers=await make_tenant())
    assert foreign.status_code == 404


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"overlap": "31d"}, ["/overlap"]),
        ({"overlap": "soon"}, ["/overlap"]),
        ({"overlap": "99999d", "expiresAt": "2001-01-01T00:00:00Z"}, ["/expiresAt", "/overlap"]),
    ],
)
async def test_a_rotation_that_cannot_be_is_refused(
    client: httpx.AsyncClient, owner: Headers, body: dict[str, str], pointers: list[str]
) -> None:
    mine = (await client.get("/v1/me", headers=owner)).json()["keyId"]
    refused = await client.post(f"/v1/api-keys/{mine}/rotate", headers=owner, json=body)
    assert (refused.status_code, [fault["pointer"] for fault in refused.json()["errors"]]) == (422, pointers)


async def test_the_last_use_of_a_key_is_told_and_written_once_a_minute_beside_the_requests(
    client: httpx.AsyncClient, owner: Headers, platform: Platform
) -> None:
    deadline = time.monotonic() + 10
    while (used := (await client.get("/v1/api-keys", headers=owner)).json()["items"][0]["lastUsedAt"]) is None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert datetime.now(UTC) - datetime.fromisoformat(used) < timedelta(seconds=15)
    for _ in range(50):
        await client.get("/v1/me", headers=owner)
    await platform.keys_used.close()
    assert (await client.get("/v1/api-keys", headers=owner)).json()["items"][0]["lastUsedAt"] == used


async def test_a_pepper_hashes_new_keys_and_older_hashes_go_on_working(
    settings: Settings, platform: Platform, tmp_path: Path
) -> None:
    old = (await new_tenant(platform))["Authorization"].removeprefix("Bearer ")
    file = tmp_path / "keys.pepper"
    file.write_text("first-secret-of-more-than-32-characters\n")
    file.chmod(0o600)
    peppered = structs.replace(settings, key_pepper_file=file)
    async with open_platform(peppered) as opened, answering(opened) as client:
        headers = {"Authorization": f"Bearer {old}"}
        made = (await client.post("/v1/api-keys", headers=headers, json={"name": "new", "role": "viewer"})).json()
        assert (await client.get("/v1/me", headers={"Authorization": f"Bearer {made['key']}"})).status_code == 200
    async with platform.database.across.read() as connection:
        query = select(api_keys.c.key_sha256).where(api_keys.c.id == made["id"])
        stored = (await connection.execute(query)).scalar_one()
    assert stored != sha256(made["key"].encode()).digest()
    # Another secret in front: what was hashed under the one before still opens; without it, it does not.
    file.write_text(f"second-secret-of-more-than-32-characters\n{file.read_text()}")
    assert await find_by_key(platform.database, made["key"], Pepper.load(file)) is not None
    assert await find_by_key(platform.database, old, Pepper.load(file)) is not None
    assert await find_by_key(platform.database, made["key"]) is None


@pytest.mark.parametrize(
    ("content", "mode", "said"), [("short", 0o600, "32"), ("", 0o600, "32"), ("x" * 32, 0o604, "open to others")]
)
def test_a_pepper_that_protects_nothing_is_refused(tmp_path: Path, content: str, mode: int, said: str) -> None:
    file = tmp_path / "keys.pepper"
    file.write_text(content)
    file.chmod(mode)
    with pytest.raises(SettingsError, match=said):
        Pepper.load(file)
    with pytest.raises(SettingsError, match="cannot read"):
        Pepper.load(tmp_path / "absent")


async def end(platform: Platform, key_id: str) -> None:
    """Let a key have expired."""
    async with platform.database.across.transaction() as connection:
        past = datetime.now(UTC) - timedelta(seconds=1)
        await connection.execute(api_keys.update().where(api_keys.c.id == key_id).values(expires_at=past))
