"""Promotion: a job that used up its attempts goes on as a durable execution, as one thing to whoever looks at it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec import structs

from gateway.compose import open_platform
from internal_jobs import engines
from internal_jobs.client import JobRequest
from internal_jobs.engines import Engines
from internal_jobs.promotion.promoter import HandoverUnavailable
from plugins.host.retry import next_delay
from plugins.sdk.errors import Transient
from plugins.storage.database import Database
from tests.gateway.application import ADMIN, new_tenant, settings_over
from tests.gateway.promotion_lane import PromotionLane, open_lane
from tests.plugins.target import Request, open_target
from tests.servers import own_namespace
from user_workflows.errors import EngineUnavailable

QUICK = {"maxAttempts": 2, "initialInterval": "20ms"}
SLOW = {"maxAttempts": 5, "initialInterval": "1h", "maxInterval": "1h"}

#: of what is not about SQL: on one of the two databases
ONCE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
async def lane(
    database: Database, valkey_url: str, temporal_address: str, tmp_path: Path
) -> AsyncIterator[PromotionLane]:
    url = database.engine.url.render_as_string(hide_password=False)
    settings = settings_over(url, f"{valkey_url}/7", tmp_path)
    settings = structs.replace(settings, temporal=await own_namespace(temporal_address))
    async with open_target() as target, open_lane(settings, target) as opened:
        yield opened


async def test_an_exhausted_job_completes_as_an_execution_under_the_same_idempotency_key(lane: PromotionLane) -> None:
    for _ in range(2):
        lane.target.answer("/hook", 503)
    lane.target.answer("/hook", 503, retry_after="0")
    lane.target.answer("/hook", 200, {"done": True})
    async with lane.workflows_worker(), lane.jobs_worker():
        job_id = await lane.enqueue(onExhausted="promote", retry=QUICK, tags=["billing"])
        job = await lane.reach(job_id)
    assert (job["status"], job["attempts"], job["error"]) == ("completed", 4, None)
    assert job["result"]["body"] == {"done": True}
    assert len(lane.target.requests) == 4
    assert len({request.headers["idempotency-key"] for request in lane.target.requests}) == 1
    execution = await lane.get(f"/v1/executions/{job['promotedTo']}")
    assert (execution["status"], execution["tags"]) == ("completed", ["billing"])
    assert execution["trigger"] == {"type": "job", "id": job_id}
    timeline = (await lane.get(f"/v1/jobs/{job_id}/timeline"))["items"]
    told = [(entry["event"], entry.get("lane"), entry.get("attempt")) for entry in timeline]
    assert told == [
        ("enqueued", None, None),
        ("failed", "dramatiq", 1),
        ("failed", "dramatiq", 2),
        ("promoted", "temporal", None),
        ("failed", "temporal", 1),
        ("closed", "temporal", None),
    ]
    assert {entry["error"]["type"] for entry in timeline if entry["event"] == "failed"} == {"http.503"}
    # What the system made for it is no workflow of the tenant's.
    assert (await lane.get("/v1/workflows"))["items"] == []


def test_the_back_off_of_an_execution_lasts_for_days_with_a_cap_and_jitter() -> None:
    error = Transient("not now", type="test.notNow", effect="none")
    waits = [next_delay(engines.PROMOTED, "idempotent", attempt, error) for attempt in range(1, 31)]
    assert waits.pop() is None
    delays = [delay for delay in waits if delay is not None]
    longest = [min(60.0 * 2**number, 6 * 3600.0) for number in range(29)]
    assert all(0.75 * most <= delay <= most for delay, most in zip(delays, longest, strict=True))
    assert sum(delays) > 4 * 86_400
    assert len(set(delays)) == 29, "those at the cap differ too"


@ONCE
async def test_the_execution_backs_off_ever_longer_up_to_a_cap_as_the_timeline_tells(
    lane: PromotionLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy of days, in tenths of a second: on Temporal, by its own timers."""
    quick = structs.replace(engines.PROMOTED, initial_interval="200ms", max_interval="800ms", max_attempts=6)
    monkeypatch.setattr(engines, "PROMOTED", quick)
    lane.target.answer("/hook", 503)
    async with lane.workflows_worker(), lane.jobs_worker():
        job_id = await lane.enqueue(onExhausted="promote", retry=QUICK)
        job = await lane.reach(job_id)
    assert (job["status"], job["attempts"]) == ("dead", 2 + 6)
    timeline = (await lane.get(f"/v1/jobs/{job_id}/timeline"))["items"]
    first, last, *durable = [entry for entry in timeline if entry["event"] == "failed"]
    assert "retryAt" in first
    assert "retryAt" not in last, "the next attempt is the other engine's, at once"
    assert [entry["lane"] for entry in durable] == ["temporal"] * 6
    assert "retryAt" not in durable[-1]
    waits = [(moment(entry, "retryAt") - moment(entry, "at")).total_seconds() for entry in durable[:-1]]
    longest = [0.2, 0.4, 0.8, 0.8, 0.8]
    assert all(0.74 * most <= wait <= most for wait, most in zip(waits, longest, strict=True)), waits
    assert len({round(wait, 4) for wait in waits[2:]}) == 3, "they differ"
    for entry, following in pairwise(durable):
        assert moment(following, "startedAt") >= moment(entry, "retryAt") - timedelta(milliseconds=50)


def moment(entry: dict[str, str], name: str) -> datetime:
    return datetime.fromisoformat(entry[name])


async def test_cancelling_the_job_stops_its_execution_and_the_other_way_round(lane: PromotionLane) -> None:
    lane.target.answer("/hook", 503)
    async with lane.workflows_worker(), lane.jobs_worker():
        for side in ("job", "execution"):
            job_id = await lane.enqueue(onExhausted="promote", retry=QUICK)
            # The execution has failed once, and waits a minute for its next attempt.
            job = await lane.until(
                partial(lane.get, f"/v1/jobs/{job_id}"),
                lambda job: (job["status"], job["attempts"]) == ("promoted", 3),
            )
            assert (job["status"], job["error"]["type"]) == ("promoted", "http.503")
            path = f"/v1/jobs/{job_id}" if side == "job" else f"/v1/executions/{job['promotedTo']}"
            assert (await lane.client.post(f"{path}/cancel")).status_code == 202
            assert (await lane.reach(job_id))["status"] == "canceled"
            execution = await lane.get(f"/v1/executions/{job['promotedTo']}")
            assert execution["status"] == "canceled"


@ONCE
async def test_a_type_may_be_set_to_the_other_lane_and_a_job_may_ask_for_it(lane: PromotionLane) -> None:
    lane.target.answer("/hook", 200, {"done": True})
    async with lane.workflows_worker(), lane.jobs_worker(engines=Engines(by_type={"http.request": "temporal"})):
        by_type = await lane.reach(await lane.enqueue())
        by_itself = await lane.reach(await lane.enqueue(lane="dramatiq"))
    assert (by_type["status"], by_type["attempts"], by_type["result"]["body"]) == ("completed", 1, {"done": True})
    assert by_type["promotedTo"] is not None
    assert (by_itself["status"], by_itself["promotedTo"]) == ("completed", None)


@ONCE
async def test_a_final_error_is_a_dead_letter_whatever_should_follow_on_exhaustion(lane: PromotionLane) -> None:
    lane.target.answer("/hook", 410)
    async with lane.jobs_worker():
        job = await lane.reach(await lane.enqueue(onExhausted="promote", retry=QUICK))
    assert (job["status"], job["attempts"], job["promotedTo"]) == ("dead", 1, None)


async def test_however_often_it_is_asked_for_there_is_one_execution(lane: PromotionLane) -> None:
    lane.target.answer("/hook", 200)
    job_id = await lane.enqueue(lane="temporal")
    async with lane.jobs_worker(handover=Nobody()):
        await lane.reach(job_id, "promoting")
    answers = await asyncio.gather(*(lane.client.post(f"/v1/jobs/{job_id}/promote") for _ in range(5)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["promotedTo"] for answer in answers}) == 1
    async with lane.workflows_worker():
        job = await lane.reach(job_id)
    assert (job["status"], len(lane.target.requests)) == ("completed", 1)
    assert len((await lane.get("/v1/executions"))["items"]) == 1


async def test_a_job_cancelled_before_its_execution_is_made_starts_none(lane: PromotionLane) -> None:
    job_id = await lane.enqueue(lane="temporal")
    async with lane.jobs_worker(handover=Nobody()):
        await lane.reach(job_id, "promoting")
        assert (await lane.client.post(f"/v1/jobs/{job_id}/cancel")).json()["status"] == "canceled"
    await lane.handover.start(lane.tenant_id, job_id)
    assert (await lane.client.post(f"/v1/jobs/{job_id}/promote")).status_code == 409
    assert (await lane.get("/v1/executions"))["items"] == []


async def test_a_start_that_temporal_missed_is_made_up_for(lane: PromotionLane) -> None:
    lane.target.answer("/hook", 200)
    job_id = await lane.enqueue(lane="temporal")
    async with lane.jobs_worker(handover=Nobody()):
        await lane.reach(job_id, "promoting")
    unreachable = structs.replace(lane.platform.settings, temporal={"TEMPORAL_ADDRESS": "127.0.0.1:1"})
    async with open_platform(unreachable) as platform:
        with pytest.raises(EngineUnavailable):
            await platform.promotions.promote(lane.tenant_id, job_id)
    job = await lane.get(f"/v1/jobs/{job_id}")
    assert job["status"] == "promoted"
    async with lane.workflows_worker():
        # What the sweep does with an execution that Temporal has not heard of for half a minute.
        await lane.platform.starts.repeat(lane.tenant_id, job["promotedTo"])
        await lane.reach(job_id, "completed")
    assert len(lane.target.requests) == 1


@ONCE
async def test_what_no_execution_can_do_is_a_dead_letter_that_says_so(lane: PromotionLane) -> None:
    async with lane.jobs_worker(engines=Engines(by_type={"house.chore": "temporal"})):
        # Not by the API, which knows no such type: by another service, or a worker's own chores.
        job = await lane.platform.jobs.enqueue(lane.tenant_id, JobRequest(type="house.chore"))
        told = await lane.reach(job.id)
    assert (told["status"], told["error"]["type"]) == ("dead", "job.notPromotable")
    assert "house.chore" in told["error"]["message"]


async def test_a_newer_job_with_the_singleton_key_stops_the_execution_and_then_begins(lane: PromotionLane) -> None:
    lane.target.answer("/old", 503)
    lane.target.answer("/new", 200)
    async with lane.workflows_worker(), lane.jobs_worker():
        old = await lane.enqueue("/old", lane="temporal", retry=SLOW, singletonKey="nightly")
        await lane.reach(old, "promoted")
        assert await lane.enqueue("/new", singletonKey="nightly") == old
        new = await lane.enqueue("/new", singletonKey="nightly", singletonWins="newest")
        assert (await lane.reach(new))["status"] == "completed"
        assert (await lane.get(f"/v1/jobs/{old}"))["status"] == "canceled"


@ONCE
async def test_a_ttl_ends_the_execution_too(lane: PromotionLane) -> None:
    lane.target.answer("/hook", 503)
    async with lane.workflows_worker(), lane.jobs_worker():
        job = await lane.reach(await lane.enqueue(lane="temporal", retry=SLOW, ttl="3s"))
        execution = await lane.get(f"/v1/executions/{job['promotedTo']}")
    assert (job["status"], execution["status"]) == ("expired", "canceled")


async def test_a_job_follows_its_execution_through_a_retry_and_starts_over_as_another(lane: PromotionLane) -> None:
    lane.target.answer("/hook", 410)
    lane.target.answer("/hook", 410)
    lane.target.answer("/hook", 200)
    async with lane.workflows_worker(), lane.jobs_worker():
        job_id = await lane.enqueue(lane="temporal")
        dead = await lane.reach(job_id)
        assert (dead["status"], dead["error"]["type"], dead["attempts"]) == ("dead", "http.410", 1)
        retried = await lane.client.post(f"/v1/executions/{dead['promotedTo']}/retry")
        assert retried.status_code == 202, retried.text
        await lane.until(lambda: lane.get(f"/v1/jobs/{job_id}"), lambda job: job["attempts"] == 2)
        again = await lane.reach(job_id)
        assert (again["status"], again["promotedTo"]) == ("dead", dead["promotedTo"])
        assert (await lane.client.post(f"/v1/jobs/{job_id}/retry")).status_code == 202
        over = await lane.reach(job_id)
    assert (over["status"], over["attempts"]) == ("completed", 1)
    assert over["promotedTo"] != dead["promotedTo"]
    # Each was asked for as a new effect.
    assert len({request.headers["idempotency-key"] for request in lane.target.requests}) == 3


@ONCE
async def test_an_unsafe_call_is_not_made_again_without_consent_on_either_engine(lane: PromotionLane) -> None:
    async def hang_up(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.close()

    lane.target.script("/hook", hang_up)
    payload = {"method": "POST", "url": f"{lane.target.url}/hook"}
    async with lane.workflows_worker(), lane.jobs_worker():
        for options in ({"onExhausted": "promote"}, {"lane": "temporal"}):
            job = await lane.reach(await lane.enqueue(payload=payload, **options))
            assert (job["status"], job["attempts"]) == ("dead", 1)
    assert len(lane.target.requests) == 2


@ONCE
async def test_the_credentials_of_a_job_go_with_it(lane: PromotionLane) -> None:
    lane.target.answer("/hook", 200)
    secret = {"type": "bearer", "name": "api", "data": {"token": "t0ps3cret"}}
    credential = (await lane.client.post("/v1/credentials", json=secret)).json()["id"]
    async with lane.workflows_worker(), lane.jobs_worker():
        job = await lane.reach(await lane.enqueue(lane="temporal", credentials={"auth": credential}))
    assert job["status"] == "completed"
    assert lane.target.requests[0].headers["authorization"] == "Bearer t0ps3cret"


@ONCE
async def test_another_tenant_finds_no_job_to_promote_and_a_token_does_one_thing(lane: PromotionLane) -> None:
    job_id = await lane.enqueue(lane="temporal")
    other = await new_tenant(lane.platform)
    for path in ("promote", "timeline"):
        answer = await lane.client.request(
            "GET" if path == "timeline" else "POST", f"/v1/jobs/{job_id}/{path}", headers=other
        )
        assert answer.status_code == 404
    token = await lane.platform.service_tokens.mint(lane.tenant_id, "executions.start", name="test")
    bearer = {"Authorization": f"Bearer {token}"}
    assert (await lane.client.post(f"/v1/jobs/{job_id}/promote", headers=bearer)).status_code == 409
    assert (await lane.client.get(f"/v1/jobs/{job_id}", headers=bearer)).status_code == 403
    forged = {"Authorization": f"Bearer {token}x"}
    assert (await lane.client.get(f"/v1/jobs/{job_id}", headers=forged)).status_code == 401


@ONCE
async def test_the_gate_of_executions_holds_for_jobs_and_a_cancel_reaches_one_that_waits(lane: PromotionLane) -> None:
    lane.target.answer("/busy", 503)
    lane.target.answer("/hook", 200)
    caps = f"/v1/tenants/{lane.tenant_id}/limits"
    assert (await lane.client.put(caps, json={"concurrentExecutions": 1}, headers=ADMIN)).status_code == 200
    async with lane.workflows_worker(), lane.jobs_worker():
        busy = await lane.enqueue("/busy", lane="temporal", retry=SLOW)
        await lane.until(lambda: lane.get(f"/v1/jobs/{busy}"), lambda job: job["error"] is not None)
        waiting, unwanted = [await lane.enqueue(lane="temporal") for _ in range(2)]
        for job_id in (waiting, unwanted):
            job = await lane.reach(job_id, "promoted")
            assert (await lane.get(f"/v1/executions/{job['promotedTo']}"))["status"] == "queued"
        assert (await lane.client.post(f"/v1/jobs/{unwanted}/cancel")).status_code == 202
        assert (await lane.reach(unwanted))["status"] == "canceled"
        assert (await lane.client.post(f"/v1/jobs/{busy}/cancel")).status_code == 202
        assert (await lane.reach(waiting))["status"] == "completed"
    assert [request.path for request in lane.target.requests] == ["/busy", "/hook"]


@ONCE
async def test_a_job_over_the_cap_of_a_month_waits_for_a_higher_one(lane: PromotionLane) -> None:
    lane.target.answer("/hook", 200)
    caps = f"/v1/tenants/{lane.tenant_id}/limits"
    assert (await lane.client.put(caps, json={"monthlyExecutions": 1}, headers=ADMIN)).status_code == 200
    async with lane.workflows_worker(), lane.jobs_worker():
        assert (await lane.reach(await lane.enqueue(lane="temporal")))["status"] == "completed"
        over = await lane.enqueue(lane="temporal")
        await lane.reach(over, "promoting", "promoted")
        assert (await lane.client.put(caps, json={"monthlyExecutions": 9}, headers=ADMIN)).status_code == 200
        await lane.client.post(f"/v1/jobs/{over}/promote")
        assert (await lane.reach(over))["status"] == "completed"


class Nobody:
    """A jobs worker that dies whenever it is about to hand over."""

    async def start(self, tenant_id: str, job_id: str) -> None:
        raise HandoverUnavailable("it died")

    async def stop(self, tenant_id: str, execution_id: str) -> None:
        raise HandoverUnavailable("it died")
