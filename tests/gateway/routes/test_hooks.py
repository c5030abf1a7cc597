"""Webhooks: nothing unsigned starts anything, and one delivery starts one execution."""

import asyncio
import hashlib
import hmac
import time
from typing import Any

import httpx
import pytest

from plugins.sdk.credential import Secret
from plugins.signing import StandardWebhooks
from tests.gateway.application import Headers

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"order": 4711}'


async def hook(client: httpx.AsyncClient, headers: Headers, **config: Any) -> str:
    """Activate a workflow with a webhook trigger and return the path of its URL."""
    credential = {"type": "signing", "name": "hook", "data": {"secret": SECRET}}
    secret = (await client.post("/v1/credentials", headers=headers, json=credential)).json()["id"]
    definition = {
        "triggers": [{"id": "order", "type": "webhook", "config": {"secret": secret, **config}}],
        "nodes": [{"id": "seen", "pluginId": "set", "config": {"values": {"all": "{{ trigger }}"}}}],
    }
    made = await client.post("/v1/workflows", headers=headers, json={"name": "Hook", "definition": definition})
    where = made.headers["location"]
    assert (await client.post(f"{where}/versions", headers=headers)).status_code == 201
    active = await client.post(f"{where}/activate", headers=headers)
    assert active.status_code == 200, active.text
    url: str = active.json()["triggers"][0]["url"]
    assert url.startswith("https://gateway.example.com/hooks/")
    return url.removeprefix("https://gateway.example.com")


def signed(body: bytes = BODY, *, id: str = "msg_1", at: float | None = None) -> Headers:
    timestamp = int(time.time() if at is None else at)
    headers = StandardWebhooks().sign(Secret(SECRET), id=id, timestamp=timestamp, body=body)
    return headers | {"content-type": "application/json"}


async def test_a_signed_delivery_starts_one_execution_however_often_and_concurrently_it_is_sent(
    api: httpx.AsyncClient, owner: Headers
) -> None:
    url = await hook(api, owner)
    answers = await asyncio.gather(*(api.post(url, headers=signed(), content=BODY) for _ in range(30)))
    assert {answer.status_code for answer in answers} == {202}
    (id,) = {answer.json()["executionId"] for answer in answers}
    assert len((await api.get("/v1/executions", headers=owner)).json()["items"]) == 1
    other = await api.post(url, headers=signed(id="msg_2"), content=BODY)
    assert other.json()["executionId"] != id


async def test_the_delivery_is_what_expressions_see_without_its_secrets(api: httpx.AsyncClient, owner: Headers) -> None:
    url = await hook(api, owner)
    secrets = {"Authorization": "Bearer hunter2", "Cookie": "session=hunter2", "X-Kept": "yes"}
    fired = await api.post(f"{url}?a=1&b=2&b=3", headers=signed() | secrets, content=BODY)
    execution = fired.headers["location"]
    async with asyncio.timeout(20):
        while (shown := await api.get(execution, headers=owner)).json()["status"] in ("queued", "running"):
            await asyncio.sleep(0.05)
    seen = shown.json()["output"]["seen"]["all"]
    assert (seen["method"], seen["query"], seen["body"]) == ("POST", {"a": "1", "b": ["2", "3"]}, {"order": 4711})
    assert seen["headers"]["x-kept"] == "yes"
    assert shown.json()["trigger"] == {"type": "webhook", "id": "order"}
    assert "hunter2" not in shown.text
    assert signed()["webhook-signature"] not in shown.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"webhook-id": "msg_1", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"},
        signed(b"another body"),
        signed(at=time.time() - 900),
        signed(at=time.time() + 900),
        signed() | {"webhook-id": "msg_2"},
    ],
)
async def test_what_is_not_signed_as_agreed_starts_nothing(
    client: httpx.AsyncClient, owner: Headers, headers: Headers
) -> None:
    url = await hook(client, owner)
    refused = await client.post(url, headers=headers, content=BODY)
    assert (refused.status_code, refused.json()["type"]) == (401, "/problems/invalid-signature")
    assert SECRET not in refused.text
    assert (await client.get("/v1/executions", headers=owner)).json()["items"] == []


async def test_a_plain_hmac_with_a_header_of_its_own(api: httpx.AsyncClient, owner: Headers) -> None:
    url = await hook(api, owner, scheme="hmac", header="X-Sig", prefix="sha256=", methods=["POST", "PUT"])
    digest = hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()
    headers = {"X-Sig": f"sha256={digest}", "content-type": "text/plain"}
    first, second = [await api.put(url, headers=headers, content=BODY) for _ in range(2)]
    assert first.status_code == 202
    # The signature and the body are all there is to tell deliveries apart.
    assert first.json() == second.json()
    assert (await api.put(url, headers={"X-Sig": digest}, content=BODY)).status_code == 401


async def test_without_its_secret_a_webhook_is_closed(client: httpx.AsyncClient, owner: Headers) -> None:
    url = await hook(client, owner)
    (credential,) = (await client.get("/v1/credentials", headers=owner)).json()["items"]
    await client.delete(f"/v1/credentials/{credential['id']}", headers=owner)
    refused = await client.post(url, headers=signed(), content=BODY)
    assert refused.status_code == 401


async def test_only_an_active_workflow_listens(client: httpx.AsyncClient, owner: Headers) -> None:
    url = await hook(client, owner)
    (workflow,) = (await client.get("/v1/workflows", headers=owner)).json()["items"]
    await client.post(f"/v1/workflows/{workflow['id']}/deactivate", headers=owner)
    assert (await client.post(url, headers=signed(), content=BODY)).status_code == 404
    unknown = await client.post("/hooks/no-such-token", headers=signed(), content=BODY)
    assert (unknown.status_code, unknown.json()["type"]) == (404, "/problems/not-found")


async def test_a_delivery_is_measured_and_parsed_only_when_it_is_signed(
    client: httpx.AsyncClient, owner: Headers
) -> None:
    url = await hook(client, owner)
    large = b'"' + b"x" * 2**20 + b'"'
    assert (await client.post(url, headers=signed(large), content=large)).status_code == 413
    assert (await client.get(url)).status_code == 405
    broken = b"{broken"
    assert (await client.post(url, content=broken)).status_code == 401
    assert (await client.post(url, headers=signed(broken), content=broken)).status_code == 400
