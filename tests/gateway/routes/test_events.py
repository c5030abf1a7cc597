"""Events through the API: each starts all that listen to it, once however often it comes."""

import asyncio
from typing import Any

import httpx

from tests.gateway.application import Headers, MakeTenant
from tests.gateway.routes.test_executions import ended_execution, publish

HEADERS = {"content-type": "application/cloudevents+json"}


def listening(**config: Any) -> dict[str, Any]:
    return {
        "triggers": [{"id": "paid", "type": "event", "config": {"eventType": "order.paid", **config}}],
        "nodes": [{"id": "seen", "pluginId": "set", "config": {"values": {"total": "{{ trigger.data.total }}"}}}],
    }


def event(id: str, **attributes: Any) -> dict[str, Any]:
    made = {"specversion": "1.0", "type": "order.paid", "source": "/shop", "id": id, "data": {"total": 5}}
    return made | attributes


async def activate(api: httpx.AsyncClient, owner: Headers, definition: Any) -> str:
    """Publish and activate a workflow, and return its id."""
    where = await publish(api, owner, definition)
    active = await api.post(f"{where}/activate", headers=owner)
    assert active.status_code == 200, active.text
    return where.rpartition("/")[2]


async def send(api: httpx.AsyncClient, owner: Headers, body: Any, **headers: str) -> list[dict[str, Any]]:
    taken = await api.post("/v1/events", headers=owner | HEADERS | headers, json=body)
    assert taken.status_code == 202, taken.text
    found: list[dict[str, Any]] = taken.json()["executions"]
    return found


async def test_one_event_starts_every_workflow_that_listens(
    api: httpx.AsyncClient, owner: Headers, make_tenant: MakeTenant
) -> None:
    every = await activate(api, owner, listening())
    large = await activate(api, owner, listening(filter="{{ trigger.data.total > 100 }}"))
    shop = await activate(api, owner, listening(source="/shop", filter="{{ trigger.data.total > 1 }}"))
    await activate(api, owner, listening(source="/elsewhere"))
    await activate(api, owner, listening(filter="{{ trigger.data.absent == 1 }}"))
    await publish(api, owner, listening())
    await activate(api, await make_tenant(), listening())
    started = await send(api, owner, event("1"))
    assert {each["workflowId"] for each in started} == {every, shop}
    assert {(each["triggerId"], each["eventId"]) for each in started} == {("paid", "1")}
    for each in started:
        ended = await ended_execution(api, owner, f"/v1/executions/{each['id']}")
        assert (ended["output"], ended["trigger"]) == ({"seen": {"total": 5}}, {"type": "event", "id": "paid"})
        assert ended["input"]["source"] == "/shop"
    more = await send(api, owner, event("2", data={"total": 101}))
    assert {each["workflowId"] for each in more} == {every, large, shop}


async def test_an_event_that_comes_again_starts_nothing_more(api: httpx.AsyncClient, owner: Headers) -> None:
    await activate(api, owner, listening())
    answers = await asyncio.gather(*(send(api, owner, event("1")) for _ in range(10)))
    assert len({each["id"] for answer in answers for each in answer}) == 1
    batch = [event("1"), event("2"), event("1", source="/other"), event("2")]
    started = await send(api, owner, batch, **{"content-type": "application/cloudevents-batch+json"})
    ids = [each["id"] for each in started]
    assert [each["eventId"] for each in started] == ["1", "2", "1", "2"]
    assert ids[0] == answers[0][0]["id"]
    assert ids[1] == ids[3]
    assert len(set(ids)) == 3


async def test_what_listens_follows_the_published_version_and_the_activation(
    api: httpx.AsyncClient, owner: Headers
) -> None:
    workflow = f"/v1/workflows/{await activate(api, owner, listening())}"
    await api.put(f"{workflow}/draft", headers=owner, json=listening(eventType="order.sent"))
    assert (await api.post(f"{workflow}/versions", headers=owner)).status_code == 201
    assert await send(api, owner, event("1")) == []
    assert len(await send(api, owner, event("2", type="order.sent"))) == 1
    await api.post(f"{workflow}/versions/1/publish", headers=owner)
    assert len(await send(api, owner, event("3"))) == 1
    await api.post(f"{workflow}/deactivate", headers=owner)
    assert await send(api, owner, event("4")) == []
    await api.post(f"{workflow}/activate", headers=owner)
    await api.delete(workflow, headers=owner)
    assert await send(api, owner, event("5")) == []


async def test_a_binary_event_starts_too_and_what_is_no_event_is_refused(
    api: httpx.AsyncClient, owner: Headers
) -> None:
    await activate(api, owner, listening())
    attributes = {"ce-specversion": "1.0", "ce-type": "order.paid", "ce-source": "/shop", "ce-id": "1"}
    taken = await api.post("/v1/events", headers=owner | attributes, json={"total": 7})
    (started,) = taken.json()["executions"]
    assert (await ended_execution(api, owner, f"/v1/executions/{started['id']}"))["output"] == {"seen": {"total": 7}}
    plain = await api.post("/v1/events", headers=owner, json={"total": 7})
    assert (plain.status_code, plain.json()["type"]) == (415, "/problems/unsupported-media-type")
    wrong = await api.post("/v1/events", headers=owner | HEADERS, json=event("", source="a b"))
    assert (wrong.status_code, {fault["pointer"] for fault in wrong.json()["errors"]}) == (422, {"/id", "/source"})
    surrogate = b'{"specversion": "1.0", "type": "\\ud800", "source": "/s", "id": "1"}'
    odd = await api.post("/v1/events", headers=owner | HEADERS, content=surrogate)
    assert odd.status_code in (202, 400)


async def test_a_stopped_temporal_keeps_the_events(client: httpx.AsyncClient, owner: Headers) -> None:
    await activate(client, owner, listening())
    refused = await client.post("/v1/events", headers=owner | HEADERS, json=event("1"))
    assert (refused.status_code, refused.json()["type"]) == (503, "/problems/unavailable")
    kept = (await client.get("/v1/executions", headers=owner)).json()["items"]
    assert [execution["status"] for execution in kept] == ["queued"]
