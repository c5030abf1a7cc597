"""Schedules of jobs through the API: made, changed, paused, run, and refused with every reason."""

from typing import Any

import httpx

from tests.gateway.application import Headers

JOB: dict[str, Any] = {"type": "job.enqueue", "payload": {"type": "job.enqueue"}}
NIGHTLY: dict[str, Any] = {
    "name": "nightly",
    "cron": "30 2 * * *",
    "timezone": "Europe/Berlin",
    "jitter": "5m",
    "overlap": "queue",
    "catchUp": "2h",
    "job": JOB,
}


async def test_a_schedule_is_kept_shown_changed_and_forgotten(client: httpx.AsyncClient, owner: Headers) -> None:
    made = await client.post("/v1/job-schedules", headers=owner, json=NIGHTLY)
    assert made.status_code == 201, made.text
    where = made.headers["location"]
    shown = (await client.get(where, headers=owner)).json()
    assert {name: shown[name] for name in NIGHTLY if name != "job"} == {k: v for k, v in NIGHTLY.items() if k != "job"}
    assert shown["job"] == JOB
    assert (shown["paused"], shown["missed"], shown["lastFiring"]) == (False, "latest", None)
    assert shown["nextFireAt"] is not None
    changed = await client.put(where, headers=owner, json=NIGHTLY | {"name": "renamed", "paused": True})
    assert (changed.json()["name"], changed.json()["nextFireAt"]) == ("renamed", None)
    assert [item["name"] for item in (await client.get("/v1/job-schedules", headers=owner)).json()["items"]] == [
        "renamed"
    ]
    assert (await client.delete(where, headers=owner)).status_code == 204
    assert (await client.get(where, headers=owner)).status_code == 404


async def test_it_is_paused_resumed_and_run_by_actions(client: httpx.AsyncClient, owner: Headers) -> None:
    where = (await client.post("/v1/job-schedules", headers=owner, json=NIGHTLY)).headers["location"]
    assert (await client.post(f"{where}/pause", headers=owner)).json()["paused"] is True
    run = await client.post(f"{where}/run", headers=owner, json={})
    assert run.status_code == 202
    job = (await client.get(run.headers["location"], headers=owner)).json()
    assert (job["id"], job["type"], job["status"]) == (run.json()["jobId"], "job.enqueue", "queued")
    firings = (await client.get(f"{where}/firings", headers=owner)).json()
    assert [(firing["jobId"], firing["status"]) for firing in firings["items"]] == [(job["id"], "started")]
    resumed = (await client.post(f"{where}/resume", headers=owner)).json()
    assert (resumed["paused"], resumed["lastFiring"]["jobId"]) == (False, job["id"])


async def test_a_run_is_made_once_for_one_key(client: httpx.AsyncClient, owner: Headers) -> None:
    where = (await client.post("/v1/job-schedules", headers=owner, json=NIGHTLY)).headers["location"]
    headers = owner | {"Idempotency-Key": "now"}
    answers = [(await client.post(f"{where}/run", headers=headers)).json() for _ in range(3)]
    assert len({answer["jobId"] for answer in answers}) == 1
    assert len((await client.get(f"{where}/firings", headers=owner)).json()["items"]) == 1


async def test_what_could_never_fire_or_run_is_refused_where_it_stands(
    client: httpx.AsyncClient, owner: Headers
) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"cron": "61 * * * *"}, "/cron"),
        ({"timezone": "Europe/Berlim"}, "/timezone"),
        ({"catchUp": "soon"}, "/catchUp"),
        ({"overlap": "never"}, "/overlap"),
        ({"job": {"type": "job.enqeue"}}, "/job/type"),
        ({"job": JOB | {"payload": {"type": 1}}}, "/job/payload/type"),
        ({"job": JOB | {"at": "2030-01-01T00:00:00Z"}}, "/job/at"),
    ]
    for change, pointer in wrong:
        refused = await client.post("/v1/job-schedules", headers=owner, json=NIGHTLY | change)
        assert refused.status_code == 422, refused.text
        assert [fault["pointer"] for fault in refused.json()["errors"]] == [pointer]
    assert (await client.get("/v1/job-schedules", headers=owner)).json()["items"] == []
