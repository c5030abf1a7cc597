"""Webhooks: nothing unsigned starts anything, and one delivery starts one execution."""

import asyncio
import gzip
import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from gateway.routes import hooks
from plugins.sdk.credential import Secret
from plugins.signing import StandardWebhooks
from tests.gateway.application import Headers
from tests.plugins.signing.senders import BODY as SENT
from tests.plugins.signing.senders import SENDERS, reordered

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"order": 4711}'


async def hook(
    client: httpx.AsyncClient, headers: Headers, *, definition: dict[str, Any] | None = None, **config: Any
) -> str:
    """Activate a workflow with a webhook trigger and return the path of its URL."""
    credential = {"type": "signing", "name": "hook", "data": {"secret": SECRET}}
    secret = (await client.post("/v1/credentials", headers=headers, json=credential)).json()["id"]
    seen = {"id": "seen", "pluginId": "set", "config": {"values": {"all": "{{ trigger }}"}}}
    definition = (definition or {"nodes": [seen]}) | {
        "triggers": [{"id": "order", "type": "webhook", "config": {"secret": secret, **config}}],
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
    async with asyncio.timeout(60):
        while (shown := await api.get(execution, headers=owner)).json()["status"] in ("queued", "running"):
            await asyncio.sleep(0.05)
    seen = shown.json()["output"]["seen"]["all"]
    assert (seen["method"], seen["query"], seen["body"]) == ("POST", {"a": "1", "b": ["2", "3"]}, {"order": 4711})
    assert seen["headers"]["x-kept"] == "yes"
    assert shown.json()["trigger"] == {"type": "webhook", "id": "order"}
    assert "hunter2" not in shown.text
    assert signed()["webhook-signature"] not in shown.text


@pytest.mark.parametrize(
    "sign",
    [
        lambda: {},
        lambda: {"webhook-id": "msg_1", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"},
        lambda: signed(b"another body"),
        lambda: signed(at=time.time() - 900),
        lambda: signed(at=time.time() + 900),
        lambda: signed() | {"webhook-id": "msg_2"},
    ],
)
async def test_what_is_not_signed_as_agreed_starts_nothing(
    client: httpx.AsyncClient, owner: Headers, sign: Callable[[], Headers]
) -> None:
    url = await hook(client, owner)
    refused = await client.post(url, headers=sign(), content=BODY)
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


def responding(*nodes: dict[str, Any], edges: Any = ()) -> dict[str, Any]:
    return {"nodes": list(nodes), "edges": [{"source": source, "target": target} for source, target in edges]}


def respond(id: str = "answer", **config: Any) -> dict[str, Any]:
    return {"id": id, "pluginId": "respond", "config": config}


async def test_the_caller_gets_what_the_respond_node_says(api: httpx.AsyncClient, owner: Headers) -> None:
    answer = respond(status=201, headers={"X-Order": "{{ string(trigger.body.order) }}"}, body="{{ trigger.body }}")
    late = respond("late", status=500, body="too late")
    drawn = responding(answer, late, edges=[("answer", "late")])
    url = await hook(api, owner, definition=drawn, respond="workflow")
    first, again = [await api.post(url, headers=signed(), content=BODY) for _ in range(2)]
    assert (first.status_code, first.headers["x-order"], first.json()) == (201, "4711", {"order": 4711})
    assert first.headers["content-type"].startswith("application/json")
    # The same delivery is the same execution, and gets the same answer.
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert len((await api.get("/v1/executions", headers=owner)).json()["items"]) == 1


async def test_the_execution_goes_on_after_its_answer(api: httpx.AsyncClient, owner: Headers) -> None:
    wait = {"id": "wait", "pluginId": "wait", "config": {"signal": "go"}}
    drawn = responding(respond(body="taken"), wait, edges=[("answer", "wait")])
    url = await hook(api, owner, definition=drawn, respond="workflow")
    answer = await api.post(url, headers=signed(), content=BODY)
    assert (answer.status_code, answer.text) == (200, "taken")
    (execution,) = (await api.get("/v1/executions", headers=owner)).json()["items"]
    assert execution["status"] == "running"
    await api.post(f"/v1/executions/{execution['id']}/terminate", headers=owner)


async def test_an_execution_that_closes_without_an_answer_says_so(api: httpx.AsyncClient, owner: Headers) -> None:
    url = await hook(api, owner, respond="workflow")
    silent = await api.post(url, headers=signed(), content=BODY)
    assert (silent.status_code, silent.json()["status"]) == (200, "completed")
    stop = {"id": "stop", "pluginId": "stop", "config": {"status": "failed", "message": "hunter2"}}
    failing = await hook(api, owner, definition=responding(stop), respond="workflow")
    failed = await api.post(failing, headers=signed(), content=BODY)
    assert (failed.status_code, failed.json()["status"]) == (502, "failed")
    assert "hunter2" not in failed.text


async def test_a_workflow_that_takes_too_long_to_answer_is_let_go_on(
    api: httpx.AsyncClient, owner: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "LONGEST_WAIT", 0.3)
    wait = {"id": "wait", "pluginId": "wait", "config": {"signal": "go"}}
    drawn = responding(wait, respond(), edges=[("wait", "answer")])
    answer = await api.post(
        await hook(api, owner, definition=drawn, respond="workflow"), headers=signed(), content=BODY
    )
    assert answer.status_code == 202
    await api.post(f"/v1/executions/{answer.json()['executionId']}/terminate", headers=owner)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("text/html", "text/plain"),
        ("text/javascript", "text/plain"),
        ("image/svg+xml", "text/plain"),
        ("text/xml; charset=utf-16", "text/xml"),
        ("application/problem+json", "application/problem+json"),
    ],
)
async def test_an_answer_is_data_and_never_a_page_of_this_origin(
    api: httpx.AsyncClient, owner: Headers, given: str, sent: str
) -> None:
    page = "<script>alert(1)</script>"
    drawn = responding(respond(headers={"Content-Type": given, "Cache-Control": "no-store"}, body=page))
    url = await hook(api, owner, definition=drawn, respond="workflow")
    answer = await api.post(url, headers=signed(), content=BODY)
    assert (answer.text, answer.headers["content-type"].removesuffix("; charset=utf-8")) == (page, sent)
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


async def test_what_must_not_be_sent_fails_the_step_when_it_is_rendered(api: httpx.AsyncClient, owner: Headers) -> None:
    bad = respond(headers={"X-Split": "{{ 'a' + '\\r\\n' + 'Set-Cookie: b' }}"})
    url = await hook(api, owner, definition=responding(bad), respond="workflow")
    answer = await api.post(url, headers=signed(), content=BODY)
    assert (answer.status_code, "set-cookie" in answer.headers) == (502, False)
    id = answer.json()["executionId"]
    failed = (await api.get(f"/v1/executions/{id}", headers=owner)).json()
    assert failed["error"]["type"] == "respond.invalid"
    assert "X-Split" in failed["error"]["message"]


@pytest.mark.parametrize("name", SENDERS)
async def test_every_senders_delivery_starts_one_execution_when_it_comes_again_and_none_when_it_is_forged(
    api: httpx.AsyncClient, owner: Headers, name: str
) -> None:
    sender = SENDERS[name]
    config: dict[str, Any] = {"scheme": name, **sender.config}
    url = await hook(api, owner, **config)
    now = int(time.time())
    json = {"content-type": "application/json"}
    first = await api.post(url, headers=sender.sign(SENT, now) | json, content=SENT)
    assert first.status_code == 202, first.text
    # The same event, signed anew where the time is signed.
    again = await api.post(url, headers=sender.sign(SENT, now + (1 if sender.id else 0)) | json, content=SENT)
    assert again.json() == first.json()

    async def chunks() -> AsyncIterator[bytes]:
        for byte in SENT:
            yield bytes([byte])

    chunked = await api.post(url, headers=sender.sign(SENT, now) | json, content=chunks())
    assert chunked.json() == first.json()
    packed = gzip.compress(SENT)
    forged: list[tuple[Headers, bytes]] = [
        (sender.other(sender.sign(SENT, now)), SENT),
        (sender.sign(SENT, now), reordered(SENT)),
        # What is signed are the bytes on the line, not what they unpack to.
        (sender.sign(SENT, now) | {"content-encoding": "gzip"}, packed),
    ]
    for headers, body in forged:
        refused = await api.post(url, headers=headers | json, content=body)
        assert (refused.status_code, refused.json()["type"]) == (401, "/problems/invalid-signature")
    large = b'"' + b"x" * 10 * 2**20 + b'"'
    assert (await api.post(url, headers=sender.sign(large, now) | json, content=large)).status_code == 413
    assert len((await api.get("/v1/executions", headers=owner)).json()["items"]) == 1
    shown = (await api.get(first.headers["location"], headers=owner)).text
    assert sender.sign(SENT, now)[sender.signature] not in shown


async def test_slack_is_answered_that_somebody_is_here_and_nothing_starts(
    client: httpx.AsyncClient, owner: Headers
) -> None:
    url = await hook(client, owner, scheme="slack")
    body = b'{"challenge":"<script>3eZbrw1a</script>","type":"url_verification"}'
    signed_by_slack = SENDERS["slack"].sign(body, int(time.time()))
    answered = await client.post(url, headers=signed_by_slack, content=body)
    assert (answered.status_code, answered.json()) == (200, {"challenge": "<script>3eZbrw1a</script>"})
    assert answered.headers["content-type"].startswith("application/json")
    assert (await client.post(url, content=body)).status_code == 401
    assert (await client.get("/v1/executions", headers=owner)).json()["items"] == []


async def test_a_packed_delivery_is_signed_as_it_is_sent_and_read_unpacked(
    api: httpx.AsyncClient, owner: Headers
) -> None:
    url = await hook(api, owner)
    headers = {"content-encoding": "gzip"}
    packed = gzip.compress(BODY)
    taken = await api.post(url, headers=signed(packed) | headers, content=packed)
    assert taken.status_code == 202, taken.text
    assert (await api.get(taken.headers["location"], headers=owner)).json()["input"]["body"] == {"order": 4711}
    bomb = gzip.compress(b'"' + b"x" * 100 * 2**20 + b'"')
    assert len(bomb) < 2**20
    for number, body in enumerate((bomb, packed[:-1], BODY, b"")):
        refused = await api.post(url, headers=signed(body, id=f"bad_{number}") | headers, content=body)
        assert (refused.status_code, refused.json()["type"]) == (400, "/problems/bad-request"), number
    assert len((await api.get("/v1/executions", headers=owner)).json()["items"]) == 1


async def test_over_a_cap_a_delivery_is_kept_and_starts_later_or_is_refused_until_there_is_room(
    api: httpx.AsyncClient, owner: Headers
) -> None:
    wait = {"id": "wait", "pluginId": "wait", "config": {"signal": "go"}}
    for policy, status in (("queue", 202), ("reject", 429)):
        drawn = responding(wait) | {"concurrency": {"limit": 1, "policy": policy}}
        url = await hook(api, owner, definition=drawn)
        first = await api.post(url, headers=signed(), content=BODY)
        over = await api.post(url, headers=signed(id="msg_2"), content=BODY)
        assert over.status_code == status, over.text
        assert status == 202 or int(over.headers["retry-after"]) > 0
        (newest, _) = (await api.get("/v1/inbound-events?limit=2", headers=owner)).json()["items"]
        assert (newest["deliveryId"], newest["verdict"]) == ("msg_2", "accepted" if status == 202 else "refused")
        await go(api, owner, first.headers["location"])
        async with asyncio.timeout(60):
            while (again := await api.post(url, headers=signed(id="msg_2"), content=BODY)).status_code != 202:
                await asyncio.sleep(0.1)
        assert status == 429 or again.json() == over.json()
        await go(api, owner, again.headers["location"])
        workflow = (await api.get(first.headers["location"], headers=owner)).json()["workflowId"]
        kept = (await api.get(f"/v1/inbound-events?workflowId={workflow}", headers=owner)).json()["items"]
        assert [event["deliveryId"] for event in kept] == ["msg_2", "msg_1"]
        assert kept[0]["executionId"] == again.json()["executionId"]
        assert kept[0]["verdict"] == "accepted"


async def go(api: httpx.AsyncClient, owner: Headers, execution: str) -> None:
    """Let an execution that waits, or will, come to its end."""
    async with asyncio.timeout(60):
        while (await api.get(execution, headers=owner)).json()["status"] != "running":
            await asyncio.sleep(0.05)
        await api.post(f"{execution}/signal", headers=owner, json={"name": "go"})
        while (await api.get(execution, headers=owner)).json()["status"] != "completed":
            await asyncio.sleep(0.05)
