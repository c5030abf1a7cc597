"""The main job, end to end, on a whole installation."""

import time
from typing import Any

import pytest

from tests.e2e.installation import Installation
from tests.user_workflows.drawing import edges, node


def hundred_nodes() -> dict[str, Any]:
    """Ten branches of ten, joined at the end."""
    nodes = [node("start", values={"n": "{{ input.n }}"})]
    pairs = []
    for branch in range(10):
        before = "start"
        for position in range(10):
            id = f"b{branch}_{position}"
            nodes.append(node(id, values={"n": "{{ input.n + 1 }}"}))
            pairs.append(f"{before}>{id}")
            before = id
        pairs.append(f"{before}>sum")
    nodes.append(node("sum", values={"n": "{{ " + " + ".join(f"nodes.b{b}_9.output.n" for b in range(10)) + " }}"}))
    return {"nodes": nodes, "edges": edges(*pairs)}


def test_twenty_executions_of_a_definition_of_a_hundred_nodes_complete_correctly(installation: Installation) -> None:
    workflow = installation.publish(hundred_nodes())
    started = [installation.start(workflow, {"n": n}) for n in range(20)]
    finished = [installation.finish(execution) for execution in started]
    assert [item["output"] for item in finished] == [{"sum": {"n": 10 * (n + 10)}} for n in range(20)]
    steps = installation.call("GET", f"/v1/executions/{started[-1]}/steps")["items"]
    assert len(steps) == 102
    assert {step["status"] for step in steps} == {"completed"}


@pytest.mark.parametrize("plugin", ["greeting.send", "greeting.shout"])
def test_a_strangers_plugin_runs_on_both_engines_with_one_key_for_every_attempt(
    installation: Installation, plugin: str
) -> None:
    ledger = installation.ledger
    drawn = {"name": f"{plugin} step", "ledger": ledger.url, "failures": 2}
    definition = {"nodes": [{"id": "greet", "pluginId": plugin, "config": drawn}]}
    execution = installation.finish(installation.start(installation.publish(definition)))
    request = {"type": plugin, "payload": {**drawn, "name": f"{plugin} job"}}
    job = installation.settle(installation.call("POST", "/v1/jobs", request)["id"])
    assert execution["output"]["greet"]["attempt"] == 3
    assert (job["status"], job["attempts"], job["result"]["attempt"]) == ("completed", 3, 3)
    for engine in ("step", "job"):
        entries = [entry for entry in ledger.entries() if entry.get("name") == f"{plugin} {engine}"]
        assert [entry["attempt"] for entry in entries] == [1, 2, 3]
        assert len({entry["key"] for entry in entries}) == 1


def test_one_idempotency_key_is_one_execution_and_one_answer(installation: Installation) -> None:
    workflow = installation.publish({"nodes": [node("a", values={})]})
    path, key = f"/v1/workflows/{workflow}/executions", {"Idempotency-Key": "order-1"}
    answers = [installation.client.post(path, json={"input": 1}, headers=key) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert installation.client.post(path, json={"input": 2}, headers=key).status_code == 422


def test_prefer_wait_answers_with_the_finished_execution(installation: Installation) -> None:
    workflow = installation.publish({"nodes": [node("a", values={"x": "{{ input }}"})]})
    answer = installation.client.post(
        f"/v1/workflows/{workflow}/executions", json={"input": 7}, headers={"Prefer": "wait=20"}
    )
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["output"]) == ("completed", {"a": {"x": 7}})
    assert answer.json()["historyEvents"] == 6


def test_a_stopped_temporal_is_a_503_within_five_seconds_and_jobs_go_on(installation: Installation) -> None:
    workflow = installation.publish({"nodes": [node("a", values={})]})
    temporal = installation.process("temporal")
    temporal.suspend()
    try:
        began = time.monotonic()
        refused = installation.client.post(f"/v1/workflows/{workflow}/executions", json={})
        took = time.monotonic() - began
        job = {"type": "greeting.send", "payload": {"name": "no temporal", "ledger": installation.ledger.url}}
        settled = installation.settle(installation.call("POST", "/v1/jobs", job)["id"])
    finally:
        temporal.resume()
    assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
    assert int(refused.headers["Retry-After"]) >= 1
    assert took < 5
    assert settled["status"] == "completed"
    assert installation.finish(installation.start(workflow))["status"] == "completed"


def test_jobs_are_accepted_while_valkey_is_down_and_run_when_it_is_back(installation: Installation) -> None:
    valkey = installation.process("valkey")
    valkey.suspend()
    try:
        job = {"type": "greeting.send", "payload": {"name": "no valkey", "ledger": installation.ledger.url}}
        accepted = [installation.call("POST", "/v1/jobs", job)["id"] for _ in range(5)]
    finally:
        valkey.resume()
    assert {installation.settle(id)["status"] for id in accepted} == {"completed"}


def test_another_tenants_objects_are_absent_ones(installation: Installation) -> None:
    admin = {"Authorization": f"Bearer {installation.dev.admin_key}"}
    tenant = installation.call("POST", "/v1/tenants", {"name": "Other"}, **admin)["id"]
    body = {"tenantId": tenant, "name": "theirs", "role": "owner"}
    theirs = {"Authorization": f"Bearer {installation.call('POST', '/v1/api-keys', body, **admin)['key']}"}
    workflow = installation.publish({"nodes": [node("a", values={})]})
    execution = installation.start(workflow)
    for path in (f"/v1/workflows/{workflow}", f"/v1/executions/{execution}", f"/v1/executions/{execution}/steps"):
        foreign = installation.client.get(path, headers=theirs)
        absent = installation.client.get(path.replace("_01", "_0z"), headers=theirs)
        assert foreign.status_code == absent.status_code == 404
        told = [{**answer.json(), "detail": None, "instance": None} for answer in (foreign, absent)]
        assert told[0] == told[1]
