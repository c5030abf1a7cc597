"""Run controls through the API, on a real Temporal."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.gateway.application import Headers
from tests.gateway.routes.test_executions import WAIT, ended_execution, publish

FAILS: dict[str, Any] = {
    "nodes": [
        {"id": "a", "pluginId": "set", "config": {"values": {"n": "{{ input.n }}"}}},
        {"id": "bad", "pluginId": "set", "config": {"values": {"n": "{{ input.absent.deeper }}"}}},
    ],
    "edges": [{"source": "a", "target": "bad"}],
}


async def test_an_execution_is_paused_and_resumed(api: httpx.AsyncClient, owner: Headers) -> None:
    where = await publish(api, owner, WAIT)
    path = (await api.post(f"{where}/executions", headers=owner)).headers["location"]
    # A worker's first tasks come when Temporal knows its build.
    async with asyncio.timeout(60):
        while (await api.get(path, headers=owner)).json()["status"] != "running":
            await asyncio.sleep(0.05)
    for _ in range(2):
        paused = await api.post(f"{path}/pause", headers=owner)
        assert (paused.status_code, paused.json()["status"]) == (202, "paused")
    assert (await api.get(path, headers=owner)).json()["status"] == "paused"
    resumed = await api.post(f"{path}/resume", headers=owner, json={})
    assert (resumed.status_code, resumed.json()["status"]) == (202, "running")
    await api.post(f"{path}/signal", headers=owner, json={"name": "go"})
    assert (await ended_execution(api, owner, path))["status"] == "completed"
    late = await api.post(f"{path}/pause", headers=owner)
    assert (late.status_code, late.json()["type"]) == (409, "/problems/conflict")


async def test_a_waiting_node_is_skipped(api: httpx.AsyncClient, owner: Headers) -> None:
    where = await publish(api, owner, WAIT)
    path = (await api.post(f"{where}/executions", headers=owner)).headers["location"]
    wrong = await api.post(f"{path}/skip", headers=owner, json={"nodeId": "nowhere"})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/nodeId")
    assert (await api.post(f"{path}/skip", headers=owner, json={"nodeId": "hold"})).status_code == 202
    assert (await ended_execution(api, owner, path))["status"] == "completed"
    (step,) = (await api.get(f"{path}/steps", headers=owner)).json()["items"]
    assert (step["status"], step["reason"]) == ("skipped", "skipped by request")


async def test_a_failed_execution_is_retried_after_a_look_at_what_will_happen(
    api: httpx.AsyncClient, owner: Headers
) -> None:
    where = await publish(api, owner, FAILS)
    started = await api.post(f"{where}/executions", headers=owner | {"Prefer": "wait=20"}, json={"input": {"n": 1}})
    path = started.headers["location"]
    assert started.json()["status"] == "failed"
    foreseen = await api.post(f"{path}/retry?dryRun=true", headers=owner)
    assert (foreseen.status_code, foreseen.json()) == (200, {"reused": ["a"], "runs": ["bad"], "repeats": []})
    retried = await api.post(f"{path}/retry", headers=owner)
    assert (retried.status_code, retried.json()["id"]) == (202, started.json()["id"])
    assert (await ended_execution(api, owner, path))["status"] == "failed"


async def test_a_failed_node_is_skipped_and_the_execution_goes_on(api: httpx.AsyncClient, owner: Headers) -> None:
    where = await publish(api, owner, FAILS)
    started = await api.post(f"{where}/executions", headers=owner | {"Prefer": "wait=20"}, json={"input": {"n": 1}})
    path = started.headers["location"]
    assert started.json()["status"] == "failed"
    done = await api.post(f"{path}/skip", headers=owner, json={"nodeId": "a"})
    assert (done.status_code, "completed" in done.json()["detail"]) == (409, True)
    skipped = await api.post(f"{path}/skip", headers=owner, json={"nodeId": "bad"})
    assert (skipped.status_code, skipped.json()["id"]) == (202, started.json()["id"])
    ended = await ended_execution(api, owner, path)
    assert (ended["status"], ended["error"]) == ("completed", None)
    steps = (await api.get(f"{path}/steps", headers=owner)).json()["items"]
    assert {step["nodeId"]: step["status"] for step in steps} == {"a": "completed", "bad": "skipped"}


async def test_what_would_act_a_second_time_is_foreseen_with_its_effect(api: httpx.AsyncClient, owner: Headers) -> None:
    """Of what has acted, and of nothing else: a read may be made again without a word."""
    child = (await publish(api, owner, {"nodes": [FAILS["nodes"][0]]})).rpartition("/")[2]
    mail = {"to": "ann@example.com", "subject": "hello"}
    definition = {
        "nodes": [
            FAILS["nodes"][0],
            {"id": "job", "pluginId": "job.enqueue", "config": {"type": "email.send", "payload": mail}},
            {"id": "call", "pluginId": "workflow.call", "config": {"workflowId": child, "input": {"n": 1}}},
            FAILS["nodes"][1],
        ],
        "edges": [
            {"source": "a", "target": "job"},
            {"source": "job", "target": "call"},
            {"source": "call", "target": "bad"},
        ],
    }
    where = await publish(api, owner, definition)
    started = await api.post(f"{where}/executions", headers=owner | {"Prefer": "wait=20"}, json={"input": {"n": 1}})
    assert (started.json()["status"], started.json()["error"]["nodeId"]) == ("failed", "bad")
    path = started.headers["location"]
    again = [{"nodeId": "job", "effect": "idempotent"}, {"nodeId": "call", "effect": "unsafe"}]
    for action, body, reused, repeats in (
        ("retry", None, ["a", "job", "call"], []),
        ("rerun", {"fromNode": "call"}, ["a", "job"], again[1:]),
        ("replay", {}, [], again),
    ):
        foreseen = await api.post(f"{path}/{action}?dryRun=true", headers=owner, json=body)
        assert (foreseen.json()["reused"], foreseen.json()["repeats"]) == (reused, repeats)
    assert len((await api.get("/v1/jobs", headers=owner)).json()["items"]) == 1


async def test_an_execution_is_rerun_and_replayed_as_a_new_one(api: httpx.AsyncClient, owner: Headers) -> None:
    where = await publish(api, owner, FAILS)
    started = await api.post(f"{where}/executions", headers=owner | {"Prefer": "wait=20"}, json={"input": {"n": 1}})
    path, first = started.headers["location"], started.json()["id"]
    for action, body in (("rerun", {"fromNode": "bad", "input": {"absent": {"deeper": 2}}}), ("replay", {})):
        foreseen = await api.post(f"{path}/{action}?dryRun=true", headers=owner, json=body)
        assert foreseen.status_code == 200
        assert "bad" in foreseen.json()["runs"]
        again = await api.post(f"{path}/{action}", headers=owner | {"Idempotency-Key": action}, json=body)
        assert (again.status_code, again.json()["originId"]) == (202, first)
        assert again.json()["id"] != first
        repeated = await api.post(f"{path}/{action}", headers=owner | {"Idempotency-Key": action}, json=body)
        assert repeated.json()["id"] == again.json()["id"]
        ended = await ended_execution(api, owner, again.headers["location"])
        assert ended["status"] == ("completed" if action == "rerun" else "failed")
    wrong = await api.post(f"{path}/rerun", headers=owner, json={"fromNode": "nowhere"})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/fromNode")


@pytest.mark.parametrize(("body", "undone"), [(None, None), ({}, None), ({"compensate": True}, "failed")])
async def test_a_canceled_execution_is_undone_where_the_body_asks_for_it(
    api: httpx.AsyncClient, owner: Headers, body: dict[str, Any] | None, undone: str | None
) -> None:
    """What would undo it may not reach this machine, and so it is told that it was tried."""
    undo = {"pluginId": "http.request", "config": {"method": "DELETE", "url": "http://127.0.0.1:9/order"}}
    definition = {
        "nodes": [
            {"id": "made", "pluginId": "set", "config": {"values": {"n": 1}}, "compensate": undo},
            {"id": "hold", "pluginId": "wait", "config": {"signal": "go"}},
        ],
        "edges": [{"source": "made", "target": "hold"}],
    }
    where = await publish(api, owner, definition)
    path = (await api.post(f"{where}/executions", headers=owner)).headers["location"]
    async with asyncio.timeout(60):
        while (await api.get(f"{path}/steps", headers=owner)).json()["items"][0]["status"] != "completed":
            await asyncio.sleep(0.02)
    wrong = await api.post(f"{path}/cancel", headers=owner, json={"compensate": "yes"})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/compensate")
    canceled = await api.post(f"{path}/cancel", headers=owner, json=body)
    assert canceled.status_code == 202
    assert (await ended_execution(api, owner, path))["status"] == "canceled"
    made = (await api.get(f"{path}/steps", headers=owner)).json()["items"][0]
    assert made.get("compensation", {}).get("status") == undone
    if undone is not None:
        assert made["compensation"]["error"]["type"] == "egress.forbidden"
