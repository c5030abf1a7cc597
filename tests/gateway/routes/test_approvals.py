"""Approvals over HTTP: the token is the permission, and only those who may act ever see one."""

import asyncio
from typing import Any

import httpx
import pytest

from gateway.compose import Platform
from tests.gateway.application import Headers
from user_workflows.interpreter.approvals import OpenApproval

FORM = {"type": "object", "required": ["amount"], "properties": {"amount": {"type": "integer"}}}


async def ask(client: httpx.AsyncClient, headers: Headers, **config: Any) -> str:
    """Start an execution that asks, and return its path once it waits."""
    node = {"id": "ask", "pluginId": "approval", "config": {"title": "Pay?", **config}}
    made = await client.post("/v1/workflows", headers=headers, json={"name": "Ask", "definition": {"nodes": [node]}})
    where = made.headers["location"]
    assert (await client.post(f"{where}/versions", headers=headers)).status_code == 201
    execution: str = (await client.post(f"{where}/executions", headers=headers)).headers["location"]
    async with asyncio.timeout(60):
        while not (await client.get(f"{execution}/approvals", headers=headers)).json()["items"]:
            await asyncio.sleep(0.02)
    return execution


async def links(client: httpx.AsyncClient, headers: Headers, execution: str) -> list[dict[str, Any]]:
    (opened,) = (await client.get(f"{execution}/approvals", headers=headers)).json()["items"]
    found: list[dict[str, Any]] = opened["links"]
    return found


async def test_a_link_shows_what_is_asked_and_decides_once(api: httpx.AsyncClient, owner: Headers) -> None:
    execution = await ask(api, owner, message="5 for lunch", form=FORM, deadline="1h")
    (link,) = await links(api, owner, execution)
    path = link["url"].removeprefix("https://gateway.example.com")
    shown = await api.get(path)
    assert shown.status_code == 200
    assert {key: shown.json()[key] for key in ("title", "message", "form", "required", "decisions")} == {
        "title": "Pay?",
        "message": "5 for lunch",
        "form": FORM,
        "required": 1,
        "decisions": [],
    }
    wrong = await api.post(path, json={"decision": "approved", "data": {"amount": "much"}})
    assert (wrong.status_code, [each["pointer"] for each in wrong.json()["errors"]]) == (422, ["/data/amount"])
    given = {"decision": "approved", "data": {"amount": 5}, "comment": "enjoy"}
    decided = await api.post(path, json=given)
    assert (decided.status_code, decided.json()["decision"]) == (200, "approved")
    assert (await api.post(path, json=given)).json() == decided.json()
    other = await api.post(path, json={"decision": "rejected"})
    assert (other.status_code, "approved" in other.json()["detail"]) == (409, True)
    async with asyncio.timeout(60):
        while (shown := await api.get(execution, headers=owner)).json()["status"] != "completed":
            await asyncio.sleep(0.02)
    (decision,) = shown.json()["output"]["ask"]["decisions"]
    assert (decision["data"], decision["comment"]) == ({"amount": 5}, "enjoy")
    assert link["token"] not in (await api.get(f"{execution}/steps", headers=owner)).text


async def test_whoever_only_reads_never_sees_a_token(api: httpx.AsyncClient, owner: Headers) -> None:
    execution = await ask(api, owner)
    key = await api.post("/v1/api-keys", headers=owner, json={"name": "reader", "role": "viewer"})
    viewer = {"Authorization": f"Bearer {key.json()['key']}"}
    assert (await api.get(execution, headers=viewer)).status_code == 200
    assert (await api.get(f"{execution}/approvals", headers=viewer)).status_code == 403
    (link,) = await links(api, owner, execution)
    for path in (execution, f"{execution}/steps", f"{execution}/why/ask"):
        assert link["token"] not in (await api.get(path, headers=viewer)).text
    async with asyncio.timeout(60):
        while (why := (await api.get(f"{execution}/why/ask", headers=viewer)).json())["status"] != "waiting":
            await asyncio.sleep(0.02)
    assert "0 of 1" in why["reason"]
    await api.post(f"{execution}/terminate", headers=owner)


async def test_unknown_and_closed_tokens_are_one(api: httpx.AsyncClient, owner: Headers) -> None:
    execution = await ask(api, owner)
    (link,) = await links(api, owner, execution)
    await api.post(f"{execution}/terminate", headers=owner)
    answers = []
    for token in (link["token"], "A" * 43):
        path = f"/v1/approvals/{token}"
        for answer in (await api.get(path), await api.post(path, json={"decision": "approved"})):
            answers.append((answer.status_code, answer.json()["type"], answer.json()["detail"]))
    assert set(answers) == {(404, "/problems/not-found", "There is no approval with this token.")}


async def test_opening_twice_makes_one_set_of_links_and_mails(
    engine: Platform, api: httpx.AsyncClient, owner: Headers
) -> None:
    execution = await ask(api, owner, approvers=["ann@example.com", "bob@example.com"], required=2)
    before = await links(api, owner, execution)
    tenant = (await api.get("/v1/me", headers=owner)).json()["tenantId"]
    again = OpenApproval(
        tenant_id=tenant, execution_id=execution.rpartition("/")[2], node_id="ask", title="Pay?", required=2,
        approvers=("ann@example.com", "bob@example.com"),
    )  # fmt: skip
    await engine.approvals.open(again)
    assert await links(api, owner, execution) == before
    jobs = (await api.get("/v1/jobs", headers=owner)).json()["items"]
    assert sorted(job["type"] for job in jobs) == ["email.send", "email.send"]
    await api.post(f"{execution}/terminate", headers=owner)


@pytest.mark.parametrize("body", [{}, {"decision": "maybe"}, {"decision": "approved", "more": 1}])
async def test_a_decision_is_one_of_two_words(client: httpx.AsyncClient, body: Any) -> None:
    assert (await client.post(f"/v1/approvals/{'A' * 43}", json=body)).status_code == 422
