"""Jobs through the API: accepted while the database is there, refused with every reason when they could never run."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from gateway.compose import open_platform
from gateway.settings import Settings
from tests.gateway.application import Headers, MakeTenant, answering

NESTED: dict[str, Any] = {"type": "job.enqueue", "payload": {"type": "job.enqueue"}}


async def test_a_job_is_accepted_and_shown(client: httpx.AsyncClient, owner: Headers) -> None:
    accepted = await client.post("/v1/jobs", headers=owner, json=NESTED | {"tags": ["a"], "delay": "1h"})
    assert accepted.status_code == 202
    job = accepted.json()
    assert accepted.headers["location"] == f"/v1/jobs/{job['id']}"
    shown = (await client.get(accepted.headers["location"], headers=owner)).json()
    assert shown["status"] == "scheduled"
    assert shown["payload"] == NESTED["payload"]
    assert shown["attempts"] == 0
    listed = (await client.get("/v1/jobs?status=scheduled&tag=a", headers=owner)).json()
    assert [item["id"] for item in listed["items"]] == [job["id"]]
    assert (await client.get("/v1/jobs?tag=b", headers=owner)).json() == {"items": [], "nextCursor": None}


async def test_one_key_makes_one_job_however_concurrently(client: httpx.AsyncClient, owner: Headers) -> None:
    headers = owner | {"Idempotency-Key": "receipt-1"}
    responses = await asyncio.gather(*(client.post("/v1/jobs", headers=headers, json=NESTED) for _ in range(20)))
    assert {response.status_code for response in responses} == {202}
    assert len({response.json()["id"] for response in responses}) == 1
    assert len((await client.get("/v1/jobs", headers=owner)).json()["items"]) == 1


async def test_a_batch_answers_in_order(client: httpx.AsyncClient, owner: Headers) -> None:
    items = [NESTED | {"tags": [f"n{number}"]} for number in range(5)]
    headers = owner | {"Idempotency-Key": "batch"}
    accepted = await client.post("/v1/jobs/batch", headers=headers, json={"items": items})
    assert accepted.status_code == 202
    ids = [item["id"] for item in accepted.json()["items"]]
    tags = [(await client.get(f"/v1/jobs/{id}", headers=owner)).json()["tags"] for id in ids]
    assert tags == [[f"n{number}"] for number in range(5)]
    again = await client.post("/v1/jobs/batch", headers=headers, json={"items": items})
    assert again.content == accepted.content


async def test_a_batch_is_kept_whole_or_not_at_all(client: httpx.AsyncClient, owner: Headers) -> None:
    faulty = [
        NESTED,
        {"type": "job.enqeue", "payload": {}},
        {"type": "job.enqueue", "payload": {"type": 1}},
    ]
    refused = await client.post("/v1/jobs/batch", headers=owner, json={"items": faulty})
    assert refused.status_code == 422
    assert [fault["pointer"] for fault in refused.json()["errors"]] == ["/items/1/type", "/items/2/payload/type"]
    far = (datetime.now(UTC) + timedelta(days=4000)).isoformat()
    refused = await client.post("/v1/jobs/batch", headers=owner, json={"items": [NESTED, NESTED | {"at": far}]})
    assert [fault["pointer"] for fault in refused.json()["errors"]] == ["/items/1/at"]
    assert (await client.get("/v1/jobs", headers=owner)).json()["items"] == []


async def test_a_job_that_could_never_run_is_refused_with_every_reason(
    client: httpx.AsyncClient, owner: Headers
) -> None:
    unknown = await client.post("/v1/jobs", headers=owner, json={"type": "job.enqeue", "payload": {}})
    assert unknown.status_code == 422
    assert "job.enqueue" in unknown.json()["errors"][0]["detail"]
    wrong = NESTED | {"payload": {"queue": "fast", "extra": 1}}
    refused = await client.post("/v1/jobs", headers=owner, json=wrong)
    pointers = {fault["pointer"] for fault in refused.json()["errors"]}
    assert pointers == {"/payload/type", "/payload/queue", "/payload/extra"}


async def test_a_waiting_job_is_cancelled_once(client: httpx.AsyncClient, owner: Headers) -> None:
    job = (await client.post("/v1/jobs", headers=owner, json=NESTED | {"delay": "1h"})).json()
    canceled = await client.post(f"/v1/jobs/{job['id']}/cancel", headers=owner)
    assert (canceled.status_code, canceled.json()["status"]) == (202, "canceled")
    retried = await client.post(f"/v1/jobs/{job['id']}/retry", headers=owner, json={})
    assert retried.json()["status"] == "queued"


async def test_jobs_are_accepted_while_redis_is_down(settings: Settings, make_tenant: MakeTenant) -> None:
    owner = await make_tenant()
    alone = Settings(
        database_url=settings.database_url,
        redis_url="redis://127.0.0.1:1",
        master_key_file=settings.master_key_file,
        temporal=settings.temporal,
    )
    async with open_platform(alone) as platform, answering(platform) as client:
        accepted = await client.post("/v1/jobs", headers=owner, json=NESTED)
        assert accepted.status_code == 202
        ready = await client.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json()["status"] == "degraded"
    assert ready.json()["parts"]["redis"] == "down"
