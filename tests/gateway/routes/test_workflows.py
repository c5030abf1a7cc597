"""Workflows and their versions through the API."""

from typing import Any

import httpx
import pytest

from tests.gateway.application import Headers

GOOD: dict[str, Any] = {"nodes": [{"id": "a", "pluginId": "set", "config": {"values": {"x": 1}}}]}
FAULTY: dict[str, Any] = {"nodes": [{"id": "a", "pluginId": "stt"}], "edges": [{"source": "a", "target": "b"}], "x": 1}


async def make(client: httpx.AsyncClient, headers: Headers, definition: Any = GOOD) -> dict[str, Any]:
    made = await client.post("/v1/workflows", headers=headers, json={"name": "Test", "definition": definition})
    assert made.status_code == 201, made.text
    body: dict[str, Any] = made.json()
    assert made.headers["location"] == f"/v1/workflows/{body['id']}"
    return body


async def test_a_draft_is_stored_whatever_it_is_and_its_faults_are_named(
    client: httpx.AsyncClient, owner: Headers
) -> None:
    workflow = await make(client, owner, FAULTY)
    assert workflow["draft"] == FAULTY
    assert len(workflow["faults"]) == 3
    assert {"code", "severity", "pointer", "message"} <= workflow["faults"][0].keys()
    refused = await client.post(f"/v1/workflows/{workflow['id']}/versions", headers=owner)
    assert refused.status_code == 422
    assert refused.json()["type"] == "/problems/invalid-definition"
    assert {fault["pointer"] for fault in refused.json()["errors"]} == {
        fault["pointer"] for fault in workflow["faults"]
    }


async def test_versions_are_published_listed_and_rolled_back(client: httpx.AsyncClient, owner: Headers) -> None:
    workflow = await make(client, owner)
    where = f"/v1/workflows/{workflow['id']}"
    first = await client.post(f"{where}/versions", headers=owner, json={})
    assert (first.status_code, first.json()["version"]) == (201, 1)
    assert first.headers["location"] == f"{where}/versions/1"
    await client.put(f"{where}/draft", headers=owner, json=GOOD | {"name": "second"})
    assert (await client.post(f"{where}/versions", headers=owner)).json()["version"] == 2
    listed = (await client.get(f"{where}/versions?limit=1", headers=owner)).json()
    assert [item["version"] for item in listed["items"]] == [2]
    rest = (await client.get(f"{where}/versions?cursor={listed['nextCursor']}", headers=owner)).json()
    assert [item["version"] for item in rest["items"]] == [1]
    shown = (await client.get(f"{where}/versions/1", headers=owner)).json()
    assert shown["definition"] == GOOD
    judged = await client.post("/v1/definitions/validate", headers=owner, json={"definition": GOOD})
    assert shown["plan"] == judged.json()["plan"]
    back = await client.post(f"{where}/versions/1/publish", headers=owner)
    assert (back.status_code, back.json()["version"]) == (200, 1)
    assert (await client.get(where, headers=owner)).json()["publishedVersion"] == 1


@pytest.mark.parametrize("version", ["0", "7", "-1", "x", "1e3", "99999999999999999999"])
async def test_an_absent_version_is_not_found(client: httpx.AsyncClient, owner: Headers, version: str) -> None:
    workflow = await make(client, owner)
    absent = await client.get(f"/v1/workflows/{workflow['id']}/versions/{version}", headers=owner)
    assert absent.status_code == 404
    assert absent.json()["type"] == "/problems/not-found"


async def test_a_stale_draft_is_not_overwritten(client: httpx.AsyncClient, owner: Headers) -> None:
    where = f"/v1/workflows/{(await make(client, owner))['id']}/draft"
    read = await client.get(where, headers=owner)
    assert read.json() == GOOD
    changed = await client.put(where, headers=owner | {"If-Match": read.headers["etag"]}, json=FAULTY)
    assert changed.status_code == 200
    assert changed.headers["etag"] != read.headers["etag"]
    assert len(changed.json()["faults"]) == 3
    stale = await client.put(where, headers=owner | {"If-Match": read.headers["etag"]}, json=GOOD)
    assert (stale.status_code, stale.json()["type"]) == (412, "/problems/precondition-failed")
    malformed = await client.put(where, headers=owner | {"If-Match": "three"}, json=GOOD)
    assert malformed.status_code == 400
    assert (await client.put(where, headers=owner, json=[])).status_code == 422


async def test_a_workflow_is_renamed_listed_and_deleted(client: httpx.AsyncClient, owner: Headers) -> None:
    where = f"/v1/workflows/{(await make(client, owner))['id']}"
    assert (await client.patch(where, headers=owner, json={"name": "Renamed"})).json()["name"] == "Renamed"
    assert [item["name"] for item in (await client.get("/v1/workflows", headers=owner)).json()["items"]] == ["Renamed"]
    assert (await client.delete(where, headers=owner)).status_code == 204
    assert (await client.get(where, headers=owner)).status_code == 404
    assert (await client.get("/v1/workflows", headers=owner)).json()["items"] == []


async def test_a_definition_is_judged_without_being_stored(client: httpx.AsyncClient, owner: Headers) -> None:
    good = await client.post("/v1/definitions/validate", headers=owner, json={"definition": GOOD})
    assert good.status_code == 200
    verdict = good.json()
    assert (verdict["valid"], verdict["faults"]) == (True, [])
    assert verdict["plan"]["homes"] == {"a": "inline"}
    assert verdict["plan"]["historyEvents"] > 0
    strange: tuple[Any, ...] = (FAULTY, {}, [], 5, None, "x", {"nodes": None})
    for definition in strange:
        bad = await client.post("/v1/definitions/validate", headers=owner, json={"definition": definition})
        assert (bad.status_code, bad.json()["valid"], bad.json()["plan"]) == (200, False, None)
        assert bad.json()["faults"]


def calling(target: str) -> dict[str, Any]:
    return {"nodes": [{"id": "call", "pluginId": "workflow.call", "config": {"workflowId": target}}]}


async def test_a_circle_of_calls_is_a_problem_that_names_it(client: httpx.AsyncClient, owner: Headers) -> None:
    first = (await make(client, owner))["id"]
    assert (await client.post(f"/v1/workflows/{first}/versions", headers=owner)).status_code == 201
    second = (await make(client, owner, calling(first)))["id"]
    assert (await client.post(f"/v1/workflows/{second}/versions", headers=owner)).status_code == 201
    await client.put(f"/v1/workflows/{first}/draft", headers=owner, json=calling(second))
    refused = await client.post(f"/v1/workflows/{first}/versions", headers=owner)
    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/invalid-definition")
    (error,) = refused.json()["errors"]
    assert (error["code"], error["pointer"]) == ("call.cycle", "/nodes/0/config/workflowId")
    assert f"{first} → {second} → {first}" in error["detail"]


async def test_who_says_for_which_workflow_a_definition_is_drawn_is_told_of_calls_of_itself(
    client: httpx.AsyncClient, owner: Headers
) -> None:
    body = {"definition": calling("wf_1"), "workflowId": "wf_1"}
    verdict = (await client.post("/v1/definitions/validate", headers=owner, json=body)).json()
    assert [fault["code"] for fault in verdict["faults"]] == ["call.self"]
    verdict = (await client.post("/v1/definitions/validate", headers=owner, json=body | {"workflowId": "wf_2"})).json()
    assert (verdict["valid"], verdict["faults"]) == (True, [])
