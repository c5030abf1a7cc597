"""A dry run of a whole workflow through the API: it answers what would happen, and leaves nothing behind."""

from typing import Any

import httpx

from tests.gateway.application import Headers, MakeTenant
from tests.gateway.routes.test_executions import SUM, publish

ACTS: dict[str, Any] = {
    "nodes": [
        {"id": "get", "pluginId": "http.request", "config": {"url": "https://example.com"},
         "pinnedOutput": {"status": 200, "headers": {}, "body": {"id": 7}}},
        {"id": "mail", "pluginId": "email.send",
         "config": {"to": "ann@example.com", "subject": "number {{ nodes.get.output.body.id }}"}},
        {"id": "job", "pluginId": "job.enqueue", "config": {"type": "email.send", "payload": {}}},
    ],
    "edges": [{"source": "get", "target": "mail"}, {"source": "mail", "target": "job"}],
}  # fmt: skip


async def test_it_answers_each_step_and_leaves_nothing_behind(api: httpx.AsyncClient, owner: Headers) -> None:
    where = await publish(api, owner, ACTS)
    answer = await api.post(f"{where}/executions?dryRun=true", headers=owner, json={"input": {"n": 3}})
    assert answer.status_code == 200, answer.text
    assert "location" not in answer.headers
    told = answer.json()
    assert (told["status"], told["version"], told["input"]) == ("completed", 1, {"n": 3})
    assert [(step["nodeId"], step["status"], step["source"]) for step in told["steps"]] == [
        ("get", "completed", "pinned"),
        ("mail", "completed", "made"),
        ("job", "completed", "made"),
    ]
    assert told["steps"][1]["input"]["body"] == {"id": 7}
    assert (await api.get("/v1/executions", headers=owner)).json()["items"] == []
    assert (await api.get("/v1/jobs", headers=owner)).json()["items"] == []


async def test_it_goes_as_the_execution_goes(api: httpx.AsyncClient, owner: Headers) -> None:
    where = await publish(api, owner, SUM)
    for n in (3, 30, "x"):
        foreseen = (await api.post(f"{where}/executions?dryRun=true", headers=owner, json={"input": {"n": n}})).json()
        done = await api.post(f"{where}/executions", headers=owner | {"Prefer": "wait=20"}, json={"input": {"n": n}})
        steps = (await api.get(f"{done.headers['location']}/steps", headers=owner)).json()["items"]
        keys = ("nodeId", "status", "port", "input", "output", "reason")
        assert {tuple(str(step[key]) for key in keys) for step in foreseen["steps"]} == {
            tuple(str(step[key]) for key in keys) for step in steps
        }
        assert {key: foreseen[key] for key in ("status", "output")} == {
            key: done.json()[key] for key in ("status", "output")
        }


async def test_a_draft_is_rehearsed_before_it_is_published(api: httpx.AsyncClient, owner: Headers) -> None:
    made = await api.post("/v1/workflows", headers=owner, json={"name": "Draft", "definition": SUM})
    path = f"{made.headers['location']}/executions?dryRun=true"
    assert (await api.post(path, headers=owner, json={"input": {"n": 1}})).status_code == 409
    told = (await api.post(f"{path}&draft=true", headers=owner, json={"input": {"n": 1}})).json()
    assert (told["status"], told["version"]) == ("completed", None)
    broken = {"nodes": [{"id": "a", "pluginId": "nothing"}]}
    await api.put(f"{made.headers['location']}/draft", headers=owner, json=broken)
    refused = await api.post(f"{path}&draft=true", headers=owner)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/nodes/0/pluginId"


async def test_draft_alone_and_a_draft_with_a_version_are_refused(api: httpx.AsyncClient, owner: Headers) -> None:
    where = await publish(api, owner, SUM)
    for query, body in (("draft=true", {}), ("dryRun=true&draft=true", {"version": 1})):
        answer = await api.post(f"{where}/executions?{query}", headers=owner, json=body)
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["pointer"] == "draft"


async def test_pins_of_the_request_stand_for_outputs_and_belong_to_a_dry_run(
    api: httpx.AsyncClient, owner: Headers
) -> None:
    where = await publish(api, owner, ACTS)
    pins = {"get": {"status": 200, "headers": {}, "body": {"id": 8}}, "mail": {"messageId": "<a@b>"}}
    told = (await api.post(f"{where}/executions?dryRun=true", headers=owner, json={"pins": pins})).json()
    assert [step["source"] for step in told["steps"]] == ["pinned", "pinned", "made"]
    assert (told["steps"][1]["input"]["body"], told["steps"][1]["output"]) == ({"id": 8}, {"messageId": "<a@b>"})

    unknown = await api.post(f"{where}/executions?dryRun=true", headers=owner, json={"pins": {"a/b": 1}})
    assert (unknown.status_code, unknown.json()["errors"][0]["pointer"]) == (422, "/pins/a~1b")
    real = await api.post(f"{where}/executions", headers=owner, json={"pins": pins})
    assert (real.status_code, real.json()["errors"][0]["pointer"]) == (400, "/pins")
    batch = await api.post(f"{where}/executions/batch", headers=owner, json={"items": [{"pins": pins}]})
    assert batch.status_code == 422
    assert (await api.get("/v1/executions", headers=owner)).json()["items"] == []


async def test_who_may_not_start_may_not_rehearse_and_a_foreign_workflow_is_absent(
    api: httpx.AsyncClient, owner: Headers, make_tenant: MakeTenant
) -> None:
    where = await publish(api, owner, SUM)
    path = f"{where}/executions?dryRun=true"
    assert (await api.post(path, headers=await make_tenant())).status_code == 404
    assert (await api.post(f"{path}&draft=true", headers=await make_tenant())).status_code == 404
    assert (await api.post(path, headers=await make_tenant(role="viewer"))).status_code == 403
