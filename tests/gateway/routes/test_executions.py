"""Executions through the API, on a real Temporal."""

import asyncio
from typing import Any

import httpx
import pytest

from gateway.routes.executions import preferred_wait
from tests.gateway.application import Headers

SUM: dict[str, Any] = {
    "variables": {"step": 2},
    "nodes": [
        {"id": "add", "pluginId": "set", "config": {"values": {"sum": "{{ trigger.n + vars.step }}"}}},
        {"id": "big", "pluginId": "if", "config": {"condition": "{{ nodes.add.output.sum > 10 }}"}},
        {"id": "loud", "pluginId": "set", "config": {"values": {"text": "big"}}},
    ],
    "edges": [{"source": "add", "target": "big"}, {"source": "big", "sourceHandle": "true", "target": "loud"}],
}
WAIT: dict[str, Any] = {"nodes": [{"id": "hold", "pluginId": "wait", "config": {"signal": "go"}}]}


async def publish(client: httpx.AsyncClient, headers: Headers, definition: Any) -> str:
    """Publish a workflow and return its path."""
    made = await client.post("/v1/workflows", headers=headers, json={"name": "Test", "definition": definition})
    where: str = made.headers["location"]
    published = await client.post(f"{where}/versions", headers=headers)
    assert published.status_code == 201, published.text
    return where


async def ended_execution(client: httpx.AsyncClient, headers: Headers, path: str) -> Any:
    """Wait until an execution is closed, and return it."""
    async with asyncio.timeout(60):
        while (shown := (await client.get(path, headers=headers)).json())["status"] in ("queued", "running"):
            await asyncio.sleep(0.05)
    return shown


async def test_a_start_that_waits_answers_with_the_end(api: httpx.AsyncClient, owner: Headers) -> None:
    where = await publish(api, owner, SUM)
    done = await api.post(
        f"{where}/executions", headers=owner | {"Prefer": "wait=20"}, json={"input": {"n": 3}, "tags": ["small"]}
    )
    assert done.status_code == 200
    assert done.headers["preference-applied"] == "wait=20"
    execution = done.json()
    assert execution["status"] == "completed"
    assert execution["input"] == {"n": 3}
    assert execution["historyEvents"] > 0
    shown = (await api.get(done.headers["location"], headers=owner)).json()
    assert shown == execution
    steps = (await api.get(f"{done.headers['location']}/steps", headers=owner)).json()["items"]
    assert {step["nodeId"]: step["status"] for step in steps} == {
        "add": "completed",
        "big": "completed",
        "loud": "skipped",
    }
    assert next(step["output"] for step in steps if step["nodeId"] == "add") == {"sum": 5}
    listed = (await api.get("/v1/executions?tag=small&status=completed", headers=owner)).json()
    assert [item["id"] for item in listed["items"]] == [execution["id"]]


async def test_a_start_that_does_not_wait_is_accepted_and_can_be_canceled(
    api: httpx.AsyncClient, owner: Headers
) -> None:
    where = await publish(api, owner, WAIT)
    started = await api.post(f"{where}/executions", headers=owner)
    assert started.status_code == 202
    path = started.headers["location"]
    assert (await api.post(f"{path}/cancel", headers=owner, json={})).status_code == 202
    async with asyncio.timeout(60):
        while (shown := (await api.get(path, headers=owner)).json())["status"] in ("queued", "running"):
            await asyncio.sleep(0.05)
    assert shown["status"] == "canceled"
    again = await api.post(f"{path}/cancel", headers=owner)
    assert (again.status_code, again.json()["type"]) == (409, "/problems/conflict")


async def test_a_signal_ends_a_wait_and_termination_ends_everything(api: httpx.AsyncClient, owner: Headers) -> None:
    where = await publish(api, owner, WAIT)
    first, second = [(await api.post(f"{where}/executions", headers=owner)).headers["location"] for _ in range(2)]
    signal = {"name": "go", "payload": {"ok": True}}
    assert (await api.post(f"{first}/signal", headers=owner, json=signal)).status_code == 202
    assert (await api.post(f"{second}/terminate", headers=owner)).json()["status"] == "terminated"
    async with asyncio.timeout(60):
        while (shown := (await api.get(first, headers=owner)).json())["status"] in ("queued", "running"):
            await asyncio.sleep(0.05)
    assert (shown["status"], shown["output"]) == ("completed", {"hold": {"ok": True}})


async def test_one_key_starts_one_execution_however_concurrently(api: httpx.AsyncClient, owner: Headers) -> None:
    where = await publish(api, owner, SUM)
    other = await publish(api, owner, SUM)
    headers = owner | {"Idempotency-Key": "order-1"}
    answers = await asyncio.gather(
        *(api.post(f"{where}/executions", headers=headers, json={"input": {"n": 1}}) for _ in range(50))
    )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    by_body = [await api.post(f"{where}/executions", headers=owner, json={"key": "order-1"}) for _ in range(2)]
    assert {answer.json()["id"] for answer in by_body} == {answers[0].json()["id"]}
    elsewhere = await api.post(f"{other}/executions", headers=headers, json={"input": {"n": 1}})
    assert elsewhere.json()["id"] != answers[0].json()["id"]


async def test_a_batch_starts_in_order_and_a_repeated_one_starts_nothing_more(
    api: httpx.AsyncClient, owner: Headers
) -> None:
    where = await publish(api, owner, SUM)
    headers = owner | {"Idempotency-Key": "batch-1"}
    items = [{"input": {"n": n}, "tags": [f"n-{n}"]} for n in range(12)]
    items[7]["key"] = items[8]["key"] = "the-same"
    answers = await asyncio.gather(
        *(api.post(f"{where}/executions/batch", headers=headers, json={"items": items}) for _ in range(3))
    )
    assert {answer.status_code for answer in answers} == {202}, answers[0].text
    assert len({answer.content for answer in answers}) == 1
    started = [item["id"] for item in answers[0].json()["items"]]
    assert len(started) == 12
    assert len(set(started)) == 11
    assert started[7] == started[8]
    ended = [await ended_execution(api, owner, f"/v1/executions/{id}") for id in started]
    assert [execution["input"]["n"] for execution in ended] == [n - (n == 8) for n in range(12)]
    assert {execution["status"] for execution in ended} == {"completed"}
    listed = (await api.get("/v1/executions?tag=n-11", headers=owner)).json()["items"]
    assert [item["id"] for item in listed] == [started[11]]


async def test_a_batch_with_a_fault_starts_nothing(client: httpx.AsyncClient, owner: Headers) -> None:
    where = await publish(client, owner, SUM)
    items = [{}, {"version": 9}, {"version": 1}, {"version": 9}]
    refused = await client.post(f"{where}/executions/batch", headers=owner, json={"items": items})
    assert refused.status_code == 422
    assert {fault["pointer"] for fault in refused.json()["errors"]} == {"/items/1/version", "/items/3/version"}
    malformed = {"items": [{"tags": [""]}, {"delay": "soon"}]}
    refused = await client.post(f"{where}/executions/batch", headers=owner, json=malformed)
    assert {fault["pointer"] for fault in refused.json()["errors"]} == {"/items/0/tags/0", "/items/1/delay"}
    for count in (0, 1_001):
        assert (
            await client.post(f"{where}/executions/batch", headers=owner, json={"items": [{}] * count})
        ).status_code == 422
    assert (await client.get("/v1/executions", headers=owner)).json()["items"] == []


async def test_a_batch_that_finds_temporal_stopped_is_kept_and_answered_within_five_seconds(
    client: httpx.AsyncClient, owner: Headers
) -> None:
    where = await publish(client, owner, SUM)
    headers = owner | {"Idempotency-Key": "batch-2"}
    async with asyncio.timeout(5):
        refused = await client.post(f"{where}/executions/batch", headers=headers, json={"items": [{}] * 50})
    assert (refused.status_code, refused.json()["type"]) == (503, "/problems/unavailable")
    # Each has its key, so that the sweep starts it.
    kept = (await client.get("/v1/executions", headers=owner)).json()["items"]
    assert [execution["status"] for execution in kept] == ["queued"] * 50


async def test_what_cannot_start_says_why(client: httpx.AsyncClient, owner: Headers) -> None:
    draft = await client.post("/v1/workflows", headers=owner, json={"name": "Test", "definition": SUM})
    unpublished = await client.post(f"{draft.headers['location']}/executions", headers=owner)
    assert (unpublished.status_code, unpublished.json()["type"]) == (409, "/problems/conflict")
    body = {"version": 0, "tags": [""], "delay": "soon", "inputs": {}}
    refused = await client.post(f"{draft.headers['location']}/executions", headers=owner, json=body)
    assert {fault["pointer"] for fault in refused.json()["errors"]} >= {"/version", "/delay", "/inputs"}


async def test_a_stopped_temporal_is_unavailable_within_five_seconds(client: httpx.AsyncClient, owner: Headers) -> None:
    where = await publish(client, owner, SUM)
    async with asyncio.timeout(5):
        refused = await client.post(f"{where}/executions", headers=owner | {"Prefer": "wait=30"})
    assert (refused.status_code, refused.json()["type"]) == (503, "/problems/unavailable")
    assert int(refused.headers["retry-after"]) >= 1
    ready = await client.get("/health/ready")
    assert ready.json()["parts"] == {"database": "ok", "redis": "ok", "temporal": "down"}


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ([], None),
        (["respond-async"], None),
        (["wait=5"], 5),
        (["respond-async, wait=10"], 10),
        (["respond-async", "Wait = 10"], 10),
        (["wait=100000"], 60),
        (["wait=soon"], None),
        (["await=5"], None),
    ],
)
def test_the_preferred_wait_is_read_from_the_header(prefer: list[str], seconds: float | None) -> None:
    assert preferred_wait(prefer) == seconds
