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

UNKNOWN = {"Authorization": "Bearer gw_01jd3x0v7k8m5qf2c9hz6w4t1b_bm9ib2R5IGhhcyBldmVyIGlzc3VlZCB0aGlzIG9uZQ"}
ID = "01jd3x0v7k8m5qf2c9hz6w4t1b"

Operation = tuple[str, str, str]


def operations() -> list[Operation]:
    """Every operation that needs a principal: method, path with ids of nothing, permission."""
    nowhere = Settings(database_url="sqlite://", redis_url="redis://127.0.0.1:1", master_key_file=Path("/"))
    paths = create_app(nowhere).openapi_schema.to_schema()["paths"]
    found = []
    for path, item in paths.items():
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
    return {
        "wf": workflow.json()["id"],
        "ex": execution["id"],
        "cred": credential.json()["id"],
        "job": (await client.post("/v1/jobs", headers=headers, json=job)).json()["id"],
        "key": (await client.get("/v1/me", headers=headers)).json()["keyId"],
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


#: where an id may stand besides the path: its prefix, method, path and body, with what then is done to what was made
PLACES: dict[str, tuple[str, str, Callable[[str], str], Callable[[str], Any], list[str]]] = {
    "a filter of executions": ("wf", "GET", lambda id: f"/v1/executions?workflowId={id}", lambda _: None, []),
    "a filter of the trail": ("wf", "GET", lambda id: f"/v1/audit?objectId={id}", lambda _: None, []),
    "a filter of inbound events": ("wf", "GET", lambda id: f"/v1/inbound-events?workflowId={id}", lambda _: None, []),
    "a cursor of workflows": ("wf", "GET", lambda id: f"/v1/workflows?cursor={id}", lambda _: None, []),
    "a cursor of executions": ("ex", "GET", lambda id: f"/v1/executions?cursor={id}", lambda _: None, []),
    "a cursor of credentials": ("cred", "GET", lambda id: f"/v1/credentials?cursor={id}", lambda _: None, []),
    "a cursor of jobs": ("job", "GET", lambda id: f"/v1/jobs?cursor={id}", lambda _: None, []),
    "a ticket": ("ex", "POST", lambda _: "/v1/stream-tickets", lambda id: {"executionId": id}, []),
    "a credential of a job": (
        "cred",
        "POST",
        lambda _: "/v1/jobs",
        lambda id: {
            "type": "webhook.deliver",
            "payload": {"url": "https://example.com", "event": "x"},
            "credentials": {"signing": id},
        },
        [],
    ),
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
    text = re.sub(r"(wf|job|ex|cred)_[0-9a-z]{26}", "NEW", text)
    return response.status_code, re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z|[0-9a-f]{64}|/hooks/[\w-]+", "_", text)
