"""Temporal's UI shows an owner what is sealed of their own tenant, and nobody else anything."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from msgspec import Struct, structs
from temporalio.api.common.v1 import Payload
from temporalio.converter import WorkflowSerializationContext

from gateway.body import MAX_BODY
from gateway.compose import Platform, open_platform
from gateway.settings import Settings
from plugins.storage.blobs import Blobs
from tests.gateway.application import ADMIN, Headers, answering, new_tenant
from user_workflows.codec import TenantCodec
from user_workflows.payloads import MOST_SHOWN

UI = "https://temporal.example.com"
PATH = "/v1/temporal/codec/decode"
LOST = base64.b64encode(b"binary/gateway-v1").decode()


class World(Struct):
    platform: Platform
    client: httpx.AsyncClient
    owner: Headers

    async def tenant_id(self, headers: Headers) -> str:
        return str((await self.client.get("/v1/me", headers=headers)).json()["tenantId"])

    async def sealed(self, value: Any, headers: Headers | None = None) -> dict[str, Any]:
        """A payload as a worker puts it on Temporal, and as the UI reads it there."""
        tenant_id = await self.tenant_id(headers or self.owner)
        context = WorkflowSerializationContext(namespace="default", workflow_id=f"{tenant_id}/ex_1")
        codec = TenantCodec(self.platform.vault, Blobs(self.platform.database)).with_context(context)
        plain = Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(value).encode())
        (payload,) = await codec.encode([plain])
        return {
            "metadata": {name: base64.b64encode(part).decode() for name, part in payload.metadata.items()},
            "data": base64.b64encode(payload.data).decode(),
        }

    async def decode(self, *payloads: Any, headers: Headers | None = None) -> httpx.Response:
        who = (self.owner if headers is None else headers) | {"Origin": UI, "X-Namespace": "default"}
        return await self.client.post(PATH, headers=who, json={"payloads": payloads})


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    shown = structs.replace(settings, temporal_ui_origin=UI)
    async with open_platform(shown) as platform, answering(platform) as client:
        yield World(platform, client, await new_tenant(platform))


async def test_an_owner_reads_what_is_sealed_of_the_own_tenant(world: World) -> None:
    values = [{"secret": "canary"}, ["x" * 200_000], None]
    answer = await world.decode(*[await world.sealed(value) for value in values])
    assert answer.status_code == 200, answer.text
    payloads = answer.json()["payloads"]
    assert [json.loads(base64.b64decode(payload["data"])) for payload in payloads] == values
    assert {base64.b64decode(payload["metadata"]["encoding"]) for payload in payloads} == {b"json/plain"}
    assert (answer.headers["access-control-allow-origin"], answer.headers["vary"]) == (UI, "Origin")
    assert answer.headers["cache-control"] == "no-store"


async def test_what_is_not_sealed_comes_back_as_it_is(world: World) -> None:
    plain = {"metadata": {"encoding": base64.b64encode(b"json/plain").decode()}, "data": "eyJhIjoxfQ=="}
    assert (await world.decode(plain)).json() == {"payloads": [plain]}
    assert (await world.decode()).json() == {"payloads": []}


async def test_a_payload_of_another_tenant_is_as_one_that_nobody_can_open(world: World) -> None:
    mine = await world.sealed({"mine": 1})
    other = await new_tenant(world.platform)
    theirs = await world.sealed({"theirs": 1}, other)
    disguised = theirs | {"metadata": mine["metadata"]}
    unknown = theirs | {"metadata": theirs["metadata"] | {"tenant": base64.b64encode(b"ten_x").decode()}}
    broken = mine | {"data": base64.b64encode(b"nonsense").decode()}
    bare = {"metadata": {"encoding": LOST}, "data": ""}
    said = []
    for payload in (theirs, disguised, unknown, broken, bare):
        answer = await world.decode(mine, payload)
        said.append((answer.status_code, answer.json()["errors"]))
    assert said == [(422, [{"pointer": "/payloads/1", "detail": "cannot be opened"}])] * 5
    assert (await world.decode(theirs, headers=other)).status_code == 200


@pytest.mark.parametrize("payload", [{"data": "not base64!"}, {"metadata": {"encoding": "%"}}, {"data": 5}, "text"])
async def test_what_is_no_payload_is_refused(world: World, payload: Any) -> None:
    answer = await world.decode(payload)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("/payloads/0")


async def test_only_owners_look(world: World) -> None:
    payload = await world.sealed(1)
    for role in ("editor", "runner", "viewer", "service"):
        assert (await world.decode(payload, headers=await new_tenant(world.platform, role))).status_code == 403
    assert (await world.decode(payload, headers=ADMIN)).status_code == 403
    assert (await world.decode(payload, headers={})).status_code == 401


async def test_no_other_origin_is_let_in(world: World) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for origin in (UI, "https://evil.example.com", "null"):
        allowed = await world.client.options(PATH, headers=asked | {"Origin": origin})
        assert allowed.status_code == 204
        assert allowed.headers["access-control-allow-origin"] == UI
        assert allowed.headers["access-control-allow-methods"] == "POST"
        assert "access-control-allow-credentials" not in allowed.headers


async def test_the_ui_may_read_what_went_wrong(world: World) -> None:
    """As a browser asks: what the preflight lets through is what the UI sends, and each refusal says whom it is for."""
    sent = world.owner | {"Content-Type": "application/json", "X-Namespace": "default", "Origin": UI}
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": ",".join(sent).lower()}
    preflight = await world.client.options(PATH, headers=asked | {"Origin": UI})
    let_through = preflight.headers["access-control-allow-headers"].lower().split(", ")
    assert {name.lower() for name in sent} - {"origin"} <= set(let_through)

    viewer = await new_tenant(world.platform, "viewer")
    wrong = {"payloads": [{"data": "not base64!"}]}
    for status, changes, body in (
        (401, {"Authorization": "Bearer nobody"}, b"{}"),
        (401, {"Authorization": ""}, b"{}"),
        (403, viewer, b"{}"),
        (400, {}, b"{"),
        (415, {"Content-Type": "text/plain"}, b"{}"),
        (422, {}, json.dumps(wrong).encode()),
        (413, {}, b" " * (MAX_BODY + 1)),
    ):
        refused = await world.client.post(PATH, headers=sent | changes, content=body)
        told = (refused.status_code, refused.headers.get("access-control-allow-origin"), refused.headers.get("vary"))
        assert told == (status, UI, "Origin"), refused.text
        assert refused.json()["status"] == status
    assert "access-control-allow-origin" not in (await world.client.get("/v1/me")).headers


async def test_a_look_is_on_the_trail(world: World) -> None:
    await world.decode(await world.sealed(1))
    records = (await world.client.get("/v1/audit", headers=world.owner)).json()["items"]
    assert [record["action"] for record in records] == ["decode_payloads"]
    assert records[0]["outcome"]["status"] == 200


async def test_more_than_anybody_reads_is_not_shown(world: World) -> None:
    large = await world.sealed("x" * MOST_SHOWN)
    answer = await world.decode(large)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/payloads/0")
    assert "too large" in answer.text


async def test_it_is_off_unless_a_setting_names_the_ui(client: httpx.AsyncClient, owner: Headers) -> None:
    assert (await client.options(PATH)).status_code == 404
    asked = await client.post(PATH, headers=owner, json={"payloads": []})
    assert (asked.status_code, asked.headers.get("access-control-allow-origin")) == (404, None)
