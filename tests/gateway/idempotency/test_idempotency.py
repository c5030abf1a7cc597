"""One key, one effect, one answer: however often, however concurrently, and whoever dies in between."""

import asyncio
from datetime import timedelta

import httpx
import pytest
from litestar import Response, post
from sqlalchemy import func, select, update

from gateway.app import create_app
from gateway.auth.permissions import requires
from gateway.compose import Platform
from gateway.idempotency import middleware
from gateway.idempotency.store import idempotency_keys
from plugins.storage.database import now
from plugins.storage.tenants import tenants
from tests.gateway.application import ADMIN, Headers, MakeTenant, asking

KEY = {"Idempotency-Key": "order-4711"}


async def count_tenants(platform: Platform, name: str) -> int:
    async with platform.database.across.read() as connection:
        found = await connection.execute(select(func.count()).select_from(tenants).where(tenants.c.name == name))
    return found.scalar_one()


async def test_fifty_concurrent_duplicates_act_once_and_get_one_answer(
    client: httpx.AsyncClient, platform: Platform
) -> None:
    responses = await asyncio.gather(
        *(client.post("/v1/tenants", headers=ADMIN | KEY, json={"name": "Fifty"}) for _ in range(50))
    )
    assert {response.status_code for response in responses} == {201}
    assert len({response.content for response in responses}) == 1
    assert await count_tenants(platform, "Fifty") == 1


async def test_the_same_key_with_another_body_is_refused(client: httpx.AsyncClient) -> None:
    await client.post("/v1/tenants", headers=ADMIN | KEY, json={"name": "One"})
    other = await client.post("/v1/tenants", headers=ADMIN | KEY, json={"name": "Two"})
    assert other.status_code == 422
    assert other.json()["type"] == "/problems/idempotency-key-reused"


async def test_a_refused_request_may_be_mended_under_its_key(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/tenants", headers=ADMIN | KEY, json={"nam": "One"})).status_code == 422
    assert (await client.post("/v1/tenants", headers=ADMIN | KEY, json={"name": "One"})).status_code == 201


async def test_keys_are_a_tenants_own(client: httpx.AsyncClient, make_tenant: MakeTenant) -> None:
    body = {"name": "ci", "role": "viewer"}
    answers = [await client.post("/v1/api-keys", headers=await make_tenant() | KEY, json=body) for _ in range(2)]
    assert answers[0].json()["key"] != answers[1].json()["key"]


async def test_keys_are_a_routes_own(client: httpx.AsyncClient, owner: Headers) -> None:
    made = await client.post("/v1/api-keys", headers=owner | KEY, json={"name": "ci", "role": "viewer"})
    assert made.status_code == 201
    elsewhere = await client.post("/v1/tenants", headers=ADMIN | KEY, json={"name": "One"})
    assert elsewhere.status_code == 201


async def test_a_replay_needs_the_permission_too(client: httpx.AsyncClient, owner: Headers) -> None:
    body = {"name": "ci", "role": "viewer"}
    made = (await client.post("/v1/api-keys", headers=owner | KEY, json=body)).json()
    weaker = {"Authorization": f"Bearer {made['key']}"}
    assert (await client.post("/v1/api-keys", headers=weaker | KEY, json=body)).status_code == 403


async def test_remembered_answers_are_sealed(client: httpx.AsyncClient, platform: Platform, owner: Headers) -> None:
    body = {"name": "ci", "role": "viewer"}
    made = (await client.post("/v1/api-keys", headers=owner | KEY, json=body)).json()
    async with platform.database.across.read() as connection:
        (row,) = (await connection.execute(select(idempotency_keys))).all()
    assert made["key"].encode() not in row.answer_sealed
    assert KEY["Idempotency-Key"] not in row.id


async def test_a_malformed_key_is_refused(client: httpx.AsyncClient) -> None:
    for key in ("", " ", "x" * 256, "schlüssel", "a\tb"):
        headers = ADMIN | {"Idempotency-Key": key.encode("latin-1")}
        refused = await client.post("/v1/tenants", headers=headers, json={"name": "One"})  # type: ignore[arg-type]
        assert refused.status_code == 400, key


async def test_the_claim_of_a_dead_process_is_taken_over(client: httpx.AsyncClient, platform: Platform) -> None:
    await client.post("/v1/tenants", headers=ADMIN | KEY, json={"name": "Dead"})
    async with platform.database.across.transaction() as connection:
        await connection.execute(
            update(idempotency_keys).values(answer_sealed=None, lease_until=now() - timedelta(seconds=1))
        )
    again = await client.post("/v1/tenants", headers=ADMIN | KEY, json={"name": "Dead"})
    assert again.status_code == 201


async def test_answers_older_than_their_retention_are_forgotten(client: httpx.AsyncClient, platform: Platform) -> None:
    await client.post("/v1/tenants", headers=ADMIN | KEY, json={"name": "Old"})
    assert await platform.answers.purge(now() - timedelta(hours=1)) == 0
    assert await platform.answers.purge(now() + timedelta(hours=1)) == 1


async def test_an_answer_that_takes_long_is_waited_for_then_a_conflict(
    platform: Platform, owner: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "PATIENCE", 0.2)
    release, entered = asyncio.Event(), asyncio.Event()
    effects = 0

    @post("/slow", opt=requires("jobs.write"))
    async def slow() -> Response[dict[str, int]]:
        nonlocal effects
        effects += 1
        entered.set()
        await release.wait()
        return Response({"effects": effects}, status_code=202, headers={"Location": "/there"})

    async with asking(create_app(platform, routes=[slow])) as client:
        first = asyncio.create_task(client.post("/slow", headers=owner | KEY))
        await entered.wait()
        early = await client.post("/slow", headers=owner | KEY)
        assert early.status_code == 409
        assert early.json()["type"] == "/problems/idempotency-key-in-flight"
        release.set()
        answer, late = await first, await client.post("/slow", headers=owner | KEY)
    assert (late.status_code, late.content, late.headers["location"]) == (202, answer.content, "/there")
    assert effects == 1


async def test_failures_are_not_remembered(platform: Platform, owner: Headers) -> None:
    statuses = iter([500, 429, 201])

    @post("/flaky", opt=requires("jobs.write"))
    async def flaky() -> Response[None]:
        return Response(None, status_code=next(statuses))

    async with asking(create_app(platform, routes=[flaky])) as client:
        seen = [(await client.post("/flaky", headers=owner | KEY)).status_code for _ in range(4)]
    assert seen == [500, 429, 201, 201]
