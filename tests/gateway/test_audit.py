"""Whoever acts is on the trail: before it is done, with what came of it, without secrets, for the tenant alone."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar.routes import HTTPRoute
from sqlalchemy.exc import OperationalError

from gateway.app import create_app
from gateway.audit.trail import Trail
from gateway.auth.permissions import PUBLIC
from gateway.settings import Settings
from tests.gateway.application import ADMIN_KEY, Headers, MakeTenant
from tests.gateway.routes.test_events import activate, event, listening
from tests.gateway.routes.test_executions import publish
from tests.gateway.routes.test_hooks import BODY, hook, signed

DEFINITION = {"nodes": [{"id": "a", "pluginId": "set", "config": {"values": {}}}]}


async def trail(client: httpx.AsyncClient, headers: Headers, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get("/v1/audit", headers=headers, params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_what_is_done_to_an_object_can_be_read_from_its_making_on(
    client: httpx.AsyncClient, owner: Headers
) -> None:
    made = await client.post("/v1/workflows", headers=owner, json={"name": "x", "definition": DEFINITION})
    workflow = made.json()["id"]
    await client.post(f"/v1/workflows/{workflow}/versions", headers=owner)
    await client.patch(f"/v1/workflows/{workflow}", headers=owner, json={"name": ""})
    await client.delete(f"/v1/workflows/{workflow}", headers=owner)
    await client.post("/v1/workflows", headers=owner, json={"name": "another", "definition": DEFINITION})
    found = await trail(client, owner, objectId=workflow)
    assert [(record["action"], record["outcome"]["status"]) for record in found] == [
        ("delete_workflow", 204),
        ("rename_workflow", 422),
        ("publish_draft", 201),
        ("make_workflow", 201),
    ]
    key = (await client.get("/v1/me", headers=owner)).json()["keyId"]
    assert {(record["actor"], record["role"]) for record in found} == {(key, "owner")}
    assert found[2]["path"] == f"/v1/workflows/{workflow}/versions"
    assert (found[3].get("objectId"), found[3]["outcome"]["madeId"]) == (None, workflow)
    assert found[0]["at"] <= found[0]["outcome"]["at"]


async def test_a_trail_is_narrowed_and_continued(client: httpx.AsyncClient, owner: Headers) -> None:
    for index in range(5):
        await client.post("/v1/workflows", headers=owner, json={"name": f"w{index}", "definition": DEFINITION})
    first = (await client.get("/v1/audit?limit=2", headers=owner)).json()
    rest = (await client.get(f"/v1/audit?cursor={first['nextCursor']}", headers=owner)).json()
    assert (len(first["items"]), len(rest["items"]), rest["nextCursor"]) == (2, 3, None)
    assert await trail(client, owner, action="delete_workflow") == []
    assert await trail(client, owner, actor="key_x") == []
    assert len(await trail(client, owner, after=first["items"][1]["at"])) == 1


async def test_a_trail_is_its_tenants_and_its_owners_alone(client: httpx.AsyncClient, make_tenant: MakeTenant) -> None:
    ours, theirs = await make_tenant(), await make_tenant()
    await client.post("/v1/workflows", headers=ours, json={"name": "x", "definition": DEFINITION})
    assert await trail(client, theirs) == []
    editor = await client.post("/v1/api-keys", headers=ours, json={"name": "e", "role": "editor"})
    headers = {"Authorization": f"Bearer {editor.json()['key']}"}
    assert (await client.get("/v1/audit", headers=headers)).status_code == 403


async def test_what_the_administrator_does_is_on_the_installations_trail(client: httpx.AsyncClient) -> None:
    admin = {"Authorization": f"Bearer {ADMIN_KEY}"}
    tenant = (await client.post("/v1/tenants", headers=admin, json={"name": "new"})).json()["id"]
    (record,) = await trail(client, admin, objectId=tenant)
    assert (record["actor"], record["action"]) == ("admin", "make_tenant")


async def test_no_secret_reaches_the_trail(client: httpx.AsyncClient, owner: Headers) -> None:
    body = {"type": "bearer", "name": "x", "data": {"token": "hunter2-hunter2"}}
    credential = (await client.post("/v1/credentials", headers=owner, json=body)).json()["id"]
    rotated = {"data": {"token": "hunter3-hunter3"}}
    await client.post(f"/v1/credentials/{credential}/rotate?token=hunter4", headers=owner, json=rotated)
    key = (await client.post("/v1/api-keys", headers=owner, json={"name": "e", "role": "editor"})).json()
    shown = (await client.get("/v1/audit", headers=owner)).text
    assert key["id"] in shown
    assert credential in shown
    assert "hunter" not in shown
    assert key["key"] not in shown


async def test_what_is_answered_again_was_done_once(client: httpx.AsyncClient, owner: Headers) -> None:
    headers = owner | {"Idempotency-Key": "once"}
    for _ in range(3):
        assert (
            await client.post("/v1/workflows", headers=headers, json={"name": "x", "definition": DEFINITION})
        ).status_code == 201
    assert len(await trail(client, owner)) == 1


async def test_nothing_is_done_that_cannot_be_written_down(
    client: httpx.AsyncClient, owner: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **__: Any) -> str:
        raise OperationalError("INSERT", {}, Exception("disk full"))

    monkeypatch.setattr(Trail, "begin", fail)
    refused = await client.post("/v1/workflows", headers=owner, json={"name": "x", "definition": DEFINITION})
    assert refused.status_code == 503
    assert (await client.get("/v1/workflows", headers=owner)).json()["items"] == []


async def test_an_action_whose_end_nobody_saw_says_so(
    client: httpx.AsyncClient, owner: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("INSERT", {}, Exception("disk full"))

    with monkeypatch.context() as broken:
        broken.setattr(Trail, "conclude", fail)
        made = await client.post("/v1/workflows", headers=owner, json={"name": "x", "definition": DEFINITION})
    assert made.status_code == 201
    (record,) = await trail(client, owner)
    assert (record["action"], record.get("outcome")) == ("make_workflow", None)


async def test_what_is_a_record_itself_names_who_asked_for_it(api: httpx.AsyncClient, owner: Headers) -> None:
    key = (await api.get("/v1/me", headers=owner)).json()["keyId"]
    where = await publish(api, owner, DEFINITION)
    await activate(api, owner, listening())
    started = await api.post(f"{where}/executions", headers=owner)
    batch = await api.post(f"{where}/executions/batch", headers=owner, json={"items": [{}]})
    structured = owner | {"content-type": "application/cloudevents+json"}
    told = await api.post("/v1/events", headers=structured, json=event("1"))
    made = batch.json()["items"] + told.json()["executions"]
    executions = [started.json()["id"], *(each["id"] for each in made)]
    shown = [(await api.get(f"/v1/executions/{id}", headers=owner)).json() for id in executions]
    assert [(each["trigger"]["type"], each["actor"]) for each in (started.json(), *shown)] == [
        ("manual", key),
        ("manual", key),
        ("manual", key),
        ("event", key),
    ]
    job = {"type": "http.request", "payload": {"url": "https://example.com"}, "delay": "1d"}
    one = await api.post("/v1/jobs", headers=owner, json=job)
    many = await api.post("/v1/jobs/batch", headers=owner, json={"items": [job]})
    jobs = [one.json()["id"], *(each["id"] for each in many.json()["items"])]
    assert one.json()["actor"] == key
    assert {(await api.get(f"/v1/jobs/{id}", headers=owner)).json()["actor"] for id in jobs} == {key}
    # What nobody asked for by the API names nobody.
    fired = await api.post(await hook(api, owner), headers=signed(), content=BODY)
    assert (await api.get(fired.headers["location"], headers=owner)).json()["actor"] is None


def test_only_what_is_a_record_itself_is_not_on_the_trail() -> None:
    app = create_app(Settings(database_url="sqlite://", redis_url="redis://127.0.0.1:1", master_key_file=Path("/")))
    unaudited = {
        handler.handler_name
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if not handler.http_methods & {"GET", "OPTIONS"}
        and handler.opt.get("permission") != PUBLIC
        and not handler.opt.get("audited", True)
    }
    assert unaudited == {
        "start_execution",
        "start_batch",
        "receive_events",
        "enqueue_job",
        "enqueue_batch",
        "promote_job",
        # They change nothing.
        "validate_definition",
        "render_email_template",
        "issue_ticket",
    }
