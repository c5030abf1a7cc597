"""``/v1/limits`` names what is refused for being too large, as the code that refuses it has it."""

import re
from typing import Any

import httpx

from plugins.host.perform import MAX_OUTPUT
from tests.gateway.application import ADMIN, Headers
from tests.gateway.routes.test_events import activate, event, listening
from tests.gateway.routes.test_executions import ended_execution, publish
from tests.gateway.routes.test_hooks import BODY, hook, signed
from user_workflows.codec import MAX_PAYLOAD
from user_workflows.interpreter.loops import MAX_RESULTS


async def test_limits_of_what_executions_hold_are_shown(client: httpx.AsyncClient, owner: Headers) -> None:
    limits = (await client.get("/v1/limits", headers=owner)).json()
    assert limits["stepOutputBytes"] == MAX_OUTPUT
    assert limits["foreachResultsBytes"] == MAX_RESULTS
    assert limits["payloadBytes"] == MAX_PAYLOAD


async def test_the_administrator_caps_a_tenant_and_the_tenant_sees_it(api: httpx.AsyncClient, owner: Headers) -> None:
    tenant = (await api.get("/v1/me", headers=owner)).json()["tenantId"]
    path = f"/v1/tenants/{tenant}/limits"
    caps = {"startsPerMinute": 2, "payloadBytes": 100, "jobsPerMinute": 60}
    assert (await api.put(path, headers=owner, json=caps)).status_code == 403
    capped = await api.put(path, headers=ADMIN, json=caps)
    assert capped.status_code == 200, capped.text
    wrong = await api.put(path, headers=ADMIN, json={"startsPerMinute": 0, "most": 1})
    assert wrong.status_code == 422
    assert {fault["pointer"] for fault in wrong.json()["errors"]} == {"/startsPerMinute", "/most"}

    where = await publish(api, owner, {"nodes": [{"id": "a", "pluginId": "set", "config": {"values": {}}}]})
    strict = await publish(
        api,
        owner,
        {
            "nodes": [{"id": "a", "pluginId": "set", "config": {"values": {}}}],
            "concurrency": {"limit": 1, "policy": "reject"},
        },
    )
    large = await api.post(f"{where}/executions", headers=owner, json={"input": "x" * 100})
    assert (large.status_code, large.json()["type"]) == (413, "/problems/input-too-large")
    first = await api.post(f"{where}/executions", headers=owner | {"Prefer": "wait=20"}, json={})
    assert first.headers["ratelimit-policy"] == '"starts";q=2;w=60'
    assert first.headers["ratelimit"].startswith('"starts";r=1;t=')
    batch = await api.post(f"{where}/executions/batch", headers=owner, json={"items": [{}, {}]})
    assert batch.headers["ratelimit"].startswith('"starts";r=0;t=')
    queued = (await api.get(f"/v1/executions/{batch.json()['items'][1]['id']}", headers=owner)).json()
    assert queued["queue"]["position"] == 1
    assert queued["queue"]["reason"] == "the tenant has had its 2 starts within a minute"

    refused = await api.post(f"{strict}/executions", headers=owner, json={})
    assert (refused.status_code, refused.json()["type"]) == (429, "/problems/over-cap")
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert refused.headers["ratelimit"] == f'"starts";r=0;t={refused.headers["retry-after"]}'

    shown = (await api.get("/v1/limits", headers=owner)).json()["tenant"]
    assert shown["caps"]["startsPerMinute"] == {"limit": 2, "used": 2, "source": "tenant"}
    assert shown["caps"]["payloadBytes"] == {"limit": 100, "used": None, "source": "tenant"}
    assert shown["caps"]["concurrentExecutions"]["source"] == "installation"
    assert shown["jobsPerMinute"] == {"limit": 60, "used": None, "source": "tenant"}
    assert shown["queued"] == 1
    (workflow,) = shown["workflows"]
    assert (workflow["policy"], workflow["caps"]["concurrentExecutions"]["limit"]) == ("reject", 1)

    lifted = await api.put(path, headers=ADMIN, json={})
    assert lifted.json()["caps"]["startsPerMinute"] == {"limit": None, "used": None, "source": "installation"}
    assert lifted.json()["queued"] == 0
    again = await api.post(f"{where}/executions", headers=owner, json={})
    assert "ratelimit" not in again.headers


async def test_caps_of_a_workflow_change_live_and_stay_over_new_versions(
    api: httpx.AsyncClient, owner: Headers
) -> None:
    drawn = {
        "nodes": [{"id": "hold", "pluginId": "wait", "config": {"signal": "go"}}],
        "concurrency": {"limit": 1, "payloadBytes": 1_000},
    }
    where = await publish(api, owner, drawn)
    path = f"{where}/limits"
    shown = (await api.get(path, headers=owner)).json()
    assert shown["caps"]["concurrentExecutions"] == {"limit": 1, "used": 0, "source": "workflow"}
    assert (shown["policy"], shown["policySource"]) == ("queue", "workflow")
    started = [(await api.post(f"{where}/executions", headers=owner)).headers["location"] for _ in range(3)]

    async def queued() -> list[bool]:
        return [(await api.get(each, headers=owner)).json()["queue"] is not None for each in started]

    assert await queued() == [False, True, True]
    wider = await api.put(path, headers=owner, json={"concurrentExecutions": 2, "policy": "reject"})
    assert wider.status_code == 200, wider.text
    assert wider.json()["caps"]["concurrentExecutions"] == {"limit": 2, "used": 2, "source": "override"}
    assert wider.json()["caps"]["payloadBytes"] == {"limit": 1_000, "used": None, "source": "workflow"}
    assert (wider.json()["policy"], wider.json()["policySource"]) == ("reject", "override")
    # Who waits is let in at once, or goes on waiting; who comes now is refused.
    assert await queued() == [False, False, True]
    assert (await api.post(f"{where}/executions", headers=owner)).status_code == 429

    await api.put(f"{where}/draft", headers=owner, json={"nodes": drawn["nodes"]})
    assert (await api.post(f"{where}/versions", headers=owner)).status_code == 201
    assert (await api.get(path, headers=owner)).json()["caps"]["concurrentExecutions"]["limit"] == 2
    bare = (await api.put(path, headers=owner, json={})).json()
    assert {cap["limit"] for cap in bare["caps"].values()} == {None}
    assert (await api.get("/v1/limits", headers=owner)).json()["tenant"]["workflows"] == []
    assert await queued() == [False, False, False]

    wrong = await api.put(path, headers=owner, json={"concurrentExecutions": 0, "policy": "drop", "most": 1})
    assert {fault["pointer"] for fault in wrong.json()["errors"]} == {"/concurrentExecutions", "/policy", "/most"}
    for each in started:
        await api.post(f"{each}/terminate", headers=owner)


async def test_whatever_starts_something_says_how_many_starts_are_left(api: httpx.AsyncClient, owner: Headers) -> None:
    tenant = (await api.get("/v1/me", headers=owner)).json()["tenantId"]
    await api.put(f"/v1/tenants/{tenant}/limits", headers=ADMIN, json={"startsPerMinute": 100})
    failing = {"id": "a", "pluginId": "stop", "config": {"status": "failed", "message": "no"}}
    where = await publish(api, owner, {"nodes": [failing]})
    await activate(api, owner, listening())
    url = await hook(api, owner)
    left = 100

    async def told(path: str, headers: Headers, **request: Any) -> httpx.Response:
        nonlocal left
        answer = await api.post(path, headers=headers, **request)
        left -= 1
        assert answer.headers["ratelimit-policy"] == '"starts";q=100;w=60'
        assert re.fullmatch(rf'"starts";r={left};t=\d+', answer.headers["ratelimit"])
        return answer

    failed = await told(f"{where}/executions", owner | {"Prefer": "wait=20"}, json={})
    assert failed.json()["status"] == "failed"
    execution = failed.headers["location"]
    await told(f"{execution}/replay", owner)
    await told(f"{execution}/rerun", owner, json={"fromNode": "a"})
    await told("/v1/events", owner | {"content-type": "application/cloudevents+json"}, json=event("1"))
    await told(url, signed(), content=BODY)
    (kept, *_) = (await api.get("/v1/inbound-events", headers=owner)).json()["items"]
    await told(f"/v1/inbound-events/{kept['id']}/redeliver", owner)
    await told(f"{execution}/retry", owner)
    assert (await ended_execution(api, owner, execution))["status"] == "failed"
    await told(f"{execution}/skip", owner, json={"nodeId": "a"})


async def test_the_document_says_which_answers_carry_rate_limits(client: httpx.AsyncClient) -> None:
    document = (await client.get("/schema/openapi.json")).json()
    paced = {
        (method, path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in ("get", "post", "put", "patch", "delete")
        if all("RateLimit" in response.get("headers", {}) for response in operation["responses"].values())
    }
    of_executions = "/v1/executions/{execution_id}"
    assert paced == {
        *((method, "/hooks/{token}") for method in ("get", "post", "put", "patch", "delete")),
        ("post", "/v1/workflows/{workflow_id}/executions"),
        ("post", "/v1/workflows/{workflow_id}/executions/batch"),
        *(("post", f"{of_executions}/{action}") for action in ("retry", "skip", "rerun", "replay")),
        ("post", "/v1/events"),
        ("post", "/v1/inbound-events/{event_id}/redeliver"),
    }


async def test_caps_of_no_tenant_are_not_there(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/tenants/ten_absent/limits", headers=ADMIN)).status_code == 404
    assert (await client.put("/v1/tenants/ten_absent/limits", headers=ADMIN, json={})).status_code == 404
