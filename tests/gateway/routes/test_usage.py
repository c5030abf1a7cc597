"""What a tenant has used is counted as its records say, and estimated by the installation's prices."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from msgspec import structs

from gateway.compose import open_platform
from gateway.prices import Prices, cost_of, parse_prices
from gateway.settings import Settings
from internal_jobs.usage import JobUsage
from plugins.storage.ids import first_id, new_id
from tests.gateway.application import ADMIN, Headers, MakeTenant, answering
from user_workflows.executions.usage import ExecutionUsage

LOOP = {
    "nodes": [
        {"id": "a", "pluginId": "if", "config": {"condition": "{{ false }}"}},
        {"id": "never", "pluginId": "set", "config": {"values": {}}},
        {
            "id": "each",
            "pluginId": "foreach",
            "config": {
                "items": "{{ [1, 2, 3] }}",
                "nodes": [{"id": "in", "pluginId": "set", "config": {"values": {}}}],
            },
        },
    ],
    "edges": [{"source": "a", "sourceHandle": "true", "target": "never"}, {"source": "a", "target": "each"}],
}


async def usage(client: httpx.AsyncClient, headers: Headers, **query: Any) -> dict[str, Any]:
    answer = await client.get("/v1/usage", headers=headers, params=query)
    assert answer.status_code == 200, answer.text
    used: dict[str, Any] = answer.json()
    return used


async def test_what_has_run_is_counted(api: httpx.AsyncClient, owner: Headers) -> None:
    made = await api.post("/v1/workflows", headers=owner, json={"name": "x", "definition": LOOP})
    where = made.headers["location"]
    await api.post(f"{where}/versions", headers=owner)
    began = datetime.now(UTC)
    wait = {"Prefer": "wait=20"}
    ended = [await api.post(f"{where}/executions", headers=owner | wait) for _ in range(2)]
    assert [answer.json()["status"] for answer in ended] == ["completed", "completed"], ended[0].text
    job = {"type": "http.request", "payload": {"url": "https://example.com"}, "delay": "1d"}
    await api.post("/v1/jobs/batch", headers=owner, json={"items": [job] * 3})
    async with asyncio.timeout(60):
        while (used := await usage(api, owner))["executions"]["historyEvents"] == 0:
            await asyncio.sleep(0.05)
    shown = [(await api.get(answer.headers["location"], headers=owner)).json() for answer in ended]
    assert used["executions"]["byStatus"] == {"completed": 2}
    # if, foreach and its three items, of each; what was skipped did nothing.
    assert used["executions"]["steps"] == 2 * 5
    for figure in ("historyEvents", "billableActions"):
        assert used["executions"][figure] == sum(each[figure] for each in shown) > 0
    assert used["jobs"] == {"jobs": 3, "byStatus": {"scheduled": 3}, "attempts": 0}
    assert "estimatedCost" not in used
    before = await usage(api, owner, until=began.isoformat())
    assert (before["executions"]["executions"], before["jobs"]["jobs"]) == (0, 0)
    after = await usage(api, owner, since=(began - timedelta(seconds=1)).isoformat())
    assert after["executions"]["executions"] == 2


async def test_use_is_its_tenants_and_the_administrators_to_see(client: httpx.AsyncClient, owner: Headers) -> None:
    mine = (await client.get("/v1/me", headers=owner)).json()["tenantId"]
    assert (await usage(client, ADMIN, tenantId=mine))["jobs"]["jobs"] == 0
    other = (await client.post("/v1/tenants", headers=ADMIN, json={"name": "x"})).json()["id"]
    assert (await client.get(f"/v1/usage?tenantId={other}", headers=owner)).status_code == 403
    assert (await client.get("/v1/usage", headers=ADMIN)).status_code == 422


@pytest.mark.parametrize(
    "query",
    [
        "since=2026-01-01T00:00:00",
        "until=0001-01-01T00:00:00Z",
        "since=2030-01-01T00:00:00Z&until=2029-01-01T00:00:00Z",
        "since=yesterday",
    ],
)
async def test_a_time_that_is_none_is_refused(client: httpx.AsyncClient, owner: Headers, query: str) -> None:
    refused = await client.get(f"/v1/usage?{query}", headers=owner)
    assert (refused.status_code, refused.json()["type"]) == (400, "/problems/bad-request"), refused.text


async def test_what_has_been_used_is_estimated_by_the_installations_prices(
    settings: Settings, make_tenant: MakeTenant
) -> None:
    prices = parse_prices(json.dumps({"currency": "EUR", "execution": "0.1", "job": "0.25"}))
    owner = await make_tenant()
    async with open_platform(structs.replace(settings, prices=prices)) as priced, answering(priced) as client:
        job = {"type": "http.request", "payload": {"url": "https://example.com"}, "delay": "1d"}
        await client.post("/v1/jobs/batch", headers=owner, json={"items": [job] * 3})
        assert (await usage(client, owner))["estimatedCost"] == {"currency": "EUR", "amount": "0.75"}


def test_prices_are_exact() -> None:
    prices = parse_prices(
        json.dumps({"currency": "EUR", "execution": "0.1", "billableAction": "0.00005", "job": "0.2"})
    )
    executions = ExecutionUsage(executions=3, by_status={}, steps=9, history_events=100, billable_actions=7)
    cost = cost_of(prices, executions, JobUsage(jobs=1, by_status={}, attempts=5))
    assert (cost.currency, cost.amount) == ("EUR", Decimal("0.50035"))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"currency": "euro"}', '{"currency": "EUR", "job": "-1"}', '{"currency": "EUR", "x": 1}']
)
def test_a_price_table_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"JSON object|negative"):
        parse_prices(text)
    assert Prices(currency="EUR").job == 0


def test_ids_are_found_by_the_time_they_were_made() -> None:
    before = datetime.now(UTC)
    id = new_id("ex")
    assert first_id("ex", before) <= id < first_id("ex", before + timedelta(minutes=1))
