"""Dead letters through the API. What becomes of a replay is `tests/internal_jobs/test_dead_letters.py`'s."""

import httpx
import pytest

from gateway.compose import Platform
from tests.gateway.application import Headers

NESTED = {"type": "job.enqueue", "payload": {"type": "job.enqueue"}, "tags": ["night"]}


@pytest.fixture
async def dead(client: httpx.AsyncClient, owner: Headers, platform: Platform) -> str:
    job = (await client.post("/v1/jobs", headers=owner, json=NESTED)).json()
    async with platform.database.across.transaction() as connection:
        await connection.exec_driver_sql(
            "UPDATE jobs SET status = 'dead', error_type = 'http.503', closed_at = created_at WHERE id = ?",
            (job["id"],),
        )
    return str(job["id"])


async def test_dead_letters_are_searched(client: httpx.AsyncClient, owner: Headers, dead: str) -> None:
    for query in ("", "?type=job.enqueue&tag=night&errorType=http&closedAfter=2020-01-01T00:00:00Z"):
        found = (await client.get(f"/v1/dead-letters{query}", headers=owner)).json()
        assert [job["id"] for job in found["items"]] == [dead]
    assert (await client.get("/v1/dead-letters?errorType=smtp", headers=owner)).json()["items"] == []
    assert (await client.get("/v1/dead-letters?closedAfter=yesterday", headers=owner)).status_code == 400


async def test_a_payload_is_edited_as_far_as_its_plugin_takes_it(
    client: httpx.AsyncClient, owner: Headers, dead: str
) -> None:
    where = f"/v1/dead-letters/{dead}"
    refused = await client.patch(where, headers=owner, json={"payload": {"type": 1}})
    assert refused.status_code == 422
    assert [fault["pointer"] for fault in refused.json()["errors"]] == ["/payload/type"]
    edited = await client.patch(where, headers=owner, json={"payload": {"type": "email.send"}})
    assert edited.json()["payload"] == {"type": "email.send"}
    assert (await client.post(f"/v1/jobs/{dead}/retry", headers=owner)).json()["status"] == "queued"
    assert (await client.patch(where, headers=owner, json={"payload": {}})).status_code == 409


async def test_a_replay_is_started_shown_listed_and_stopped(client: httpx.AsyncClient, owner: Headers) -> None:
    asked = {"filter": {"tag": "night"}, "ratePerSecond": 2.5}
    started = await client.post("/v1/dead-letters/replay", headers=owner, json=asked)
    assert started.status_code == 202
    shown = (await client.get(started.headers["location"], headers=owner)).json()
    assert (shown["status"], shown["filter"]["tag"], shown["ratePerSecond"]) == ("running", "night", 2.5)
    assert (await client.get("/v1/dead-letters/replays", headers=owner)).json()["items"] == [shown]
    stopped = (await client.post(f"{started.headers['location']}/stop", headers=owner)).json()
    assert (stopped["status"], stopped["reason"]) == ("stopped", "asked")
    wrong = await client.post("/v1/dead-letters/replay", headers=owner, json={"ratePerSecond": 0})
    assert wrong.status_code == 422
