"""Every operation, as everybody who may not: nobody comes in without the permission that the document names."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest

from gateway.app import create_app
from gateway.auth.permissions import PERMISSIONS, Role, TenantRole
from gateway.compose import Platform
from gateway.settings import Settings
from tests.figures import Figures
from tests.gateway.application import ADMIN, Headers, new_tenant
from user_workflows.inbox.event import RawEvent

UNKNOWN = {"Authorization": "Bearer gw_01jd3x0v7k8m5qf2c9hz6w4t1b_bm9ib2R5IGhhcyBldmVyIGlzc3VlZCB0aGlzIG9uZQ"}
ID = "01jd3x0v7k8m5qf2c9hz6w4t1b"

Operation = tuple[str, str, str]


def paths() -> dict[str, Any]:
    """What the document says of each path."""
    nowhere = Settings(database_url="sqlite://", redis_url="redis://127.0.0.1:1", master_key_file=Path("/"))
    found: dict[str, Any] = create_app(nowhere).openapi_schema.to_schema()["paths"]
    return found


def operations() -> list[Operation]:
    """Every operation that needs a principal: method, path with ids of nothing, permission."""
    found = []
    for path, item in paths().items():
        for method, operation in item.items():
            if operation["security"]:
                (permission,) = re.findall(r"Permission: `([a-z.]+)`", operation["description"])
                filled = re.sub(r"\{(\w+?)(_id)?\}", lambda match: f"{match[1]}_{ID}" if match[2] else "1", path)
                found.append((method.upper(), filled, permission))
    return found


@pytest.fixture(scope="session")
async def outsiders(serving: tuple[Platform, httpx.AsyncClient]) -> dict[str, Headers]:
    """Those whom nobody knows, by what is wrong with them."""
    platform, client = serving
    expired = await new_tenant(platform, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    revoked = await new_tenant(platform)
    key = (await client.get("/v1/me", headers=revoked)).json()["keyId"]
    await client.delete(f"/v1/api-keys/{key}", headers=revoked)
    owner = (await new_tenant(platform))["Authorization"]
    return {
        "no key": {},
        "a key that nobody issued": UNKNOWN,
        "an expired key": expired,
        "a revoked key": revoked,
        "a shortened key": {"Authorization": owner[:-1]},
        "another scheme": {"Authorization": owner.replace("Bearer", "Basic")},
        "a key in the query": {},
    }


@pytest.fixture(scope="session")
async def insiders(serving: tuple[Platform, httpx.AsyncClient]) -> dict[str, Headers]:
    """One key of each role, and the administrator's."""
    platform, _ = serving
    return {role: await new_tenant(platform, role) for role in get_args(TenantRole)} | {"admin": ADMIN}


@pytest.fixture(scope="session")
async def narrow(serving: tuple[Platform, httpx.AsyncClient]) -> Headers:
    """An owner's key that may do nothing but say whose it is."""
    return await new_tenant(serving[0], scopes=["me.read"])


def test_the_document_names_operations_enough() -> None:
    assert len(operations()) > 50
    assert {permission for _, _, permission in operations()} <= set().union(*PERMISSIONS.values())


@pytest.mark.parametrize(("method", "path", "permission"), operations())
async def test_nobody_comes_in_without_the_permission(
    client: httpx.AsyncClient,
    outsiders: dict[str, Headers],
    insiders: dict[str, Headers],
    narrow: Headers,
    figures: Figures,
    *,
    method: str,
    path: str,
    permission: str,
) -> None:
    for what, headers in outsiders.items():
        query = {"api_key": UNKNOWN["Authorization"]} if "query" in what else None
        answer = await client.request(method, path, headers=headers, params=query, json={"anything": 1})
        assert answer.status_code == 401, f"{what}: {answer.text}"
        assert answer.headers["www-authenticate"] == "Bearer"
    refused = {role: headers for role, headers in insiders.items() if permission not in PERMISSIONS[_role(role)]}
    if permission != "me.read":
        refused["narrow"] = narrow
    for who, headers in refused.items():
        answer = await client.request(method, path, headers=headers, json={"anything": 1})
        assert (answer.status_code, answer.json()["type"]) == (403, "/problems/forbidden"), f"{who}: {answer.text}"
    assert refused or permission == "me.read"
    figures("T23", operations=1, requests=len(outsiders) + len(refused), let_in=0)


def _role(name: str) -> Role:
    (role,) = (role for role in get_args(Role) if role == name)
    return role  # type: ignore[no-any-return]  # get_args knows no more


@pytest.fixture(scope="session")
async def theirs(serving: tuple[Platform, httpx.AsyncClient]) -> dict[str, str]:
    """What another tenant has, by the prefix of its id."""
    platform, client = serving
    headers = await new_tenant(platform)
    definition = {"nodes": [{"id": "a", "pluginId": "set", "config": {"values": {}}}]}
    workflow = await client.post("/v1/workflows", headers=headers, json={"name": "x", "definition": definition})
    where = workflow.headers["location"]
    await client.post(f"{where}/versions", headers=headers)
    await client.post(f"{where}/executions", headers=headers)
    (execution,) = (await client.get("/v1/executions", headers=headers)).json()["items"]
    signing = {"type": "signing", "name": "x", "data": {"secret": "whsec_bm90aGluZw=="}}
    credential = await client.post("/v1/credentials", headers=headers, json=signing)
    job = {"type": "http.request", "payload": {"url": "https://example.com"}, "delay": "1d"}
    endpoint = await client.post("/v1/endpoints", headers=headers, json={"url": "https://example.com"})
    sent = await client.post("/v1/deliveries", headers=headers, json={"type": "invoice.paid"})
    schedule = {"name": "x", "every": "1d", "job": {"type": "http.request", "payload": {"url": "https://example.com"}}}
    me = (await client.get("/v1/me", headers=headers)).json()
    event = RawEvent(type="webhook", delivery_id="d", method="POST", headers={}, query={}, body=b"{}")
    await platform.inbox.keep(me["tenantId"], workflow.json()["id"], "hook", event, key="key", verdict="unreadable")
    (received,) = (await client.get("/v1/inbound-events", headers=headers)).json()["items"]
    return {
        "ten": me["tenantId"],
        "ep": endpoint.json()["id"],
        "dlv": sent.json()["items"][0]["id"],
        "in": received["id"],
        "sch": (await client.post("/v1/job-schedules", headers=headers, json=schedule)).json()["id"],
        "rep": (await client.post("/v1/dead-letters/replay", headers=headers, json={})).json()["id"],
        "aud": (await client.get("/v1/audit", headers=headers)).json()["items"][0]["id"],
        "wf": workflow.json()["id"],
        "ex": execution["id"],
        "cred": credential.json()["id"],
        "job": (await client.post("/v1/jobs", headers=headers, json=job)).json()["id"],
        "key": me["keyId"],
    }


def calling(id: str) -> Any:
    call = {"id": "call", "pluginId": "workflow.call", "config": {"workflowId": id}}
    return {"name": "x", "definition": {"nodes": [call]}}


def bound(id: str) -> Any:
    deliver = {"id": "d", "pluginId": "webhook.deliver", "config": {"url": "https://example.com", "event": "x"}}
    return {"name": "x", "definition": {"nodes": [deliver | {"credentials": {"signing": id}}]}}


def hooked(id: str) -> Any:
    node = {"id": "a", "pluginId": "set", "config": {"values": {}}}
    hook = {"id": "hook", "type": "webhook", "config": {"secret": id}}
    return {"name": "x", "definition": {"nodes": [node], "triggers": [hook]}}


def failing(id: str) -> Any:
    return {"name": "x", "definition": {"nodes": [{"id": "a", "pluginId": "set"}], "errorWorkflow": id}}


def signing_job(id: str) -> dict[str, Any]:
    payload = {"url": "https://example.com", "event": "x"}
    return {"type": "webhook.deliver", "payload": payload, "credentials": {"signing": id}}


#: parameter of a query → the prefix of the ids that it takes, for each list
QUERIES = {
    ("/v1/executions", "workflowId"): "wf",
    ("/v1/inbound-events", "workflowId"): "wf",
    ("/v1/audit", "objectId"): "wf",
    ("/v1/deliveries", "endpointId"): "ep",
    ("/v1/usage", "tenantId"): "ten",
    ("/v1/api-keys", "tenantId"): "ten",
    ("/v1/job-limits", "tenantId"): "ten",
    ("/v1/workflows", "cursor"): "wf",
    ("/v1/executions", "cursor"): "ex",
    ("/v1/inbound-events", "cursor"): "in",
    ("/v1/audit", "cursor"): "aud",
    ("/v1/api-keys", "cursor"): "key",
    ("/v1/credentials", "cursor"): "cred",
    ("/v1/jobs", "cursor"): "job",
    ("/v1/job-schedules", "cursor"): "sch",
    ("/v1/dead-letters", "cursor"): "job",
    ("/v1/dead-letters/replays", "cursor"): "rep",
    ("/v1/endpoints", "cursor"): "ep",
    ("/v1/deliveries", "cursor"): "dlv",
}

#: parameters whose ids mean something within one object only
WITHIN = {("/v1/inbound-events", "triggerId")}


def test_every_id_in_a_query_is_swapped() -> None:
    found = {
        (path, parameter["name"])
        for path, item in paths().items()
        for parameter in item.get("get", {}).get("parameters", ())
        if parameter["in"] == "query" and re.fullmatch(r"cursor|\w+Id", parameter["name"]) and "{" not in path
    }
    assert found == QUERIES.keys() | WITHIN


@pytest.mark.parametrize(("path", "name"), QUERIES)
async def test_an_id_of_another_tenant_in_a_query_is_one_of_nothing(
    client: httpx.AsyncClient, owner: Headers, theirs: dict[str, str], figures: Figures, path: str, name: str
) -> None:
    prefix = QUERIES[path, name]
    ids = (theirs[prefix], f"{prefix}_{ID}")
    answers = [await client.get(path, headers=owner, params={name: id}) for id in ids]
    assert comparable(answers[0], ids[0]) == comparable(answers[1], ids[1])
    assert not any(their in answers[0].text.replace(ids[0], "") for their in theirs.values())
    figures("T23", ids_swapped=1, told_apart=0)


#: where an id may stand besides the path: its prefix, method, path and body, with what then is done to what was made
PLACES: dict[str, tuple[str, str, Callable[[str], str], Callable[[str], Any], list[str]]] = {
    "a ticket": ("ex", "POST", lambda _: "/v1/stream-tickets", lambda id: {"executionId": id}, []),
    "a credential of a job": ("cred", "POST", lambda _: "/v1/jobs", signing_job, []),
    "a credential of one job of many": (
        "cred",
        "POST",
        lambda _: "/v1/jobs/batch",
        lambda id: {"items": [signing_job(id)]},
        [],
    ),
    "a credential of a schedule": (
        "cred",
        "POST",
        lambda _: "/v1/job-schedules",
        lambda id: {"name": "x", "every": "1d", "job": signing_job(id)},
        [],
    ),
    "a tenant of a key": (
        "ten",
        "POST",
        lambda _: "/v1/api-keys",
        lambda id: {"name": "x", "role": "viewer", "tenantId": id},
        [],
    ),
    "one dead letter of many": (
        "job",
        "POST",
        lambda _: "/v1/dead-letters/replay",
        lambda id: {"filter": {"ids": [id]}},
        [],
    ),
    "a definition to be judged": ("cred", "POST", lambda _: "/v1/definitions/validate", bound, []),
    "a credential of a node": ("cred", "POST", lambda _: "/v1/workflows", bound, ["versions", "activate"]),
    "a secret of a trigger": ("cred", "POST", lambda _: "/v1/workflows", hooked, ["versions", "activate"]),
    "a workflow that is called": ("wf", "POST", lambda _: "/v1/workflows", calling, ["versions"]),
    "a workflow for errors": ("wf", "POST", lambda _: "/v1/workflows", failing, ["versions"]),
}


@pytest.mark.parametrize("place", PLACES)
async def test_an_id_of_another_tenant_is_one_of_nothing_wherever_it_stands(
    client: httpx.AsyncClient, owner: Headers, theirs: dict[str, str], figures: Figures, place: str
) -> None:
    prefix, method, path, body, then = PLACES[place]
    said = []
    for id in (theirs[prefix], f"{prefix}_{ID}"):
        answer = await client.request(method, path(id), headers=owner, json=body(id))
        seen = [comparable(answer, id)]
        for step in then:
            where = f"/v1/workflows/{answer.json()['id']}/{step}"
            seen.append(comparable(await client.post(where, headers=owner), id, answer.json()["id"]))
        said.append(seen)
    assert said[0] == said[1]
    figures("T23", ids_swapped=1, told_apart=0)


def comparable(response: httpx.Response, *ids: str) -> tuple[int, str]:
    """An answer without what two of the same must differ in."""
    text = response.text
    for id in ids:
        text = text.replace(id, "ID")
    text = re.sub(r"(wf|job|ex|cred|sch|rep|key|ep|dlv|aud)_[0-9a-z]{26}", "NEW", text)
    return response.status_code, re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z|[0-9a-f]{64}|/hooks/[\w-]+", "_", text)
