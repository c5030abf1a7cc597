import asyncio
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise

import pytest
from msgspec import structs
from prometheus_client import REGISTRY
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from internal_jobs import attempts
from internal_jobs.client import JobRequest, Jobs
from internal_jobs.errors import JobConflict
from internal_jobs.limits import Limit, Limits, Rate
from plugins.host.retry import Retry
from plugins.storage.database import Database, now
from plugins.vault.keys import Vault
from tests.internal_jobs.watch import reach, reach_all, show

pytestmark = pytest.mark.usefixtures("worker")


async def test_a_job_runs_its_plugin_and_keeps_the_result(jobs: Jobs, tenant: str) -> None:
    made = await jobs.enqueue(tenant, JobRequest(type="crew.echo", payload={"value": {"n": 1}}))
    job = await reach(jobs, tenant, made.id)
    assert (job.status, job.result, job.attempts, job.error) == ("completed", {"n": 1}, 1, None)
    assert job.started_at is not None
    assert job.closed_at is not None
    assert made.created_at <= job.started_at <= job.closed_at


async def test_an_idle_worker_starts_a_job_within_half_a_second(jobs: Jobs, tenant: str) -> None:
    await reach(jobs, tenant, (await jobs.enqueue(tenant, JobRequest(type="crew.echo"))).id)
    job = await reach(jobs, tenant, (await jobs.enqueue(tenant, JobRequest(type="crew.echo"))).id)
    assert job.started_at is not None
    assert (job.started_at - job.created_at) < timedelta(seconds=0.5)


async def test_every_queue_is_served(jobs: Jobs, tenant: str) -> None:
    made = [
        await jobs.enqueue(tenant, JobRequest(type="crew.echo", queue=queue))
        for queue in ("bulk", "critical", "default")
    ]
    assert {job.status for job in await reach_all(jobs, tenant, made)} == {"completed"}


async def test_a_transient_failure_is_tried_again_and_visible_meanwhile(jobs: Jobs, tenant: str) -> None:
    made = await jobs.enqueue(tenant, JobRequest(type="crew.flaky", payload={"succeed_on": 3}))
    job = await reach(jobs, tenant, made.id)
    assert (job.status, job.result, job.attempts) == ("completed", 3, 3)


async def test_a_job_that_exhausts_its_attempts_is_dead(jobs: Jobs, tenant: str) -> None:
    request = JobRequest(type="crew.flaky", payload={"succeed_on": 9}, max_attempts=2)
    job = await reach(jobs, tenant, (await jobs.enqueue(tenant, request)).id)
    assert (job.status, job.attempts) == ("dead", 2)
    assert job.error is not None
    assert (job.error.type, job.error.message, job.error.attempt) == ("crew.notYet", "not yet", 2)


async def test_a_permanent_failure_is_dead_at_once_and_may_be_started_over(jobs: Jobs, tenant: str) -> None:
    made = await jobs.enqueue(tenant, JobRequest(type="crew.refuse"))
    job = await reach(jobs, tenant, made.id)
    assert (job.status, job.attempts) == ("dead", 1)
    assert job.error is not None
    assert (job.error.type, job.error.status) == ("crew.never", 410)
    await jobs.retry(tenant, made.id)
    assert (await reach(jobs, tenant, made.id)).status == "dead"


async def test_a_payload_that_does_not_fit_the_plugin_is_dead_with_the_reason(jobs: Jobs, tenant: str) -> None:
    made = await jobs.enqueue(tenant, JobRequest(type="crew.flaky", payload={"succeedOn": "x"}))
    job = await reach(jobs, tenant, made.id)
    assert job.status == "dead"
    assert job.error is not None
    assert "succeed" in job.error.message


async def test_a_result_beyond_the_cap_is_refused_clearly(jobs: Jobs, tenant: str) -> None:
    made = await jobs.enqueue(tenant, JobRequest(type="crew.big", payload={"bytes": 300_000}))
    job = await reach(jobs, tenant, made.id)
    assert job.status == "dead"
    assert job.error is not None
    assert job.error.type == "job.resultTooLarge"


async def test_an_unknown_type_waits_for_a_worker_that_knows_it(jobs: Jobs, tenant: str) -> None:
    made = await jobs.enqueue(tenant, JobRequest(type="crew.ofTomorrow"))
    job = await reach(jobs, tenant, made.id, "failed")
    assert job.attempts == 0
    assert job.error is not None
    assert job.error.type == "job.unknownType"
    assert job.available_at > now()


async def test_a_delayed_job_starts_when_it_is_due(jobs: Jobs, tenant: str) -> None:
    made = await jobs.enqueue(tenant, JobRequest(type="crew.echo", delay="700ms"))
    job = await reach(jobs, tenant, made.id)
    assert job.started_at is not None
    assert timedelta(0) <= job.started_at - made.available_at < timedelta(seconds=1.5)


async def test_a_job_past_its_ttl_expires_without_running(jobs: Jobs, tenant: str) -> None:
    made = await jobs.enqueue(
        tenant, JobRequest(type="crew.flaky", payload={"succeed_on": 99}, ttl="1s", max_attempts=1000)
    )
    assert (await reach(jobs, tenant, made.id)).status == "expired"


async def test_a_long_job_shows_running_and_progress_and_stops_when_asked(jobs: Jobs, tenant: str) -> None:
    made = await jobs.enqueue(tenant, JobRequest(type="crew.wait"))
    await show(jobs, tenant, made.id, lambda job: job.status == "running" and job.progress == {"percent": 50})
    await jobs.cancel(tenant, made.id)
    job = await reach(jobs, tenant, made.id)
    assert (job.status, job.attempts) == ("canceled", 1)


async def test_a_job_that_does_not_hear_that_it_should_stop_is_stopped(
    jobs: Jobs, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "STOP_PATIENCE", 0.5)
    made = await jobs.enqueue(tenant, JobRequest(type="crew.deaf", timeout="60s"))
    await reach(jobs, tenant, made.id, "running")
    await jobs.cancel(tenant, made.id)
    assert (await reach(jobs, tenant, made.id, seconds=10)).status == "canceled"


async def test_a_dead_job_is_discarded_by_cancelling_it(jobs: Jobs, tenant: str) -> None:
    made = await jobs.enqueue(tenant, JobRequest(type="crew.refuse"))
    await reach(jobs, tenant, made.id, "dead")
    assert (await jobs.cancel(tenant, made.id)).status == "canceled"


async def test_progress_is_shown_and_what_cannot_be_kept_of_it_hurts_nobody(jobs: Jobs, tenant: str) -> None:
    made = await jobs.enqueue(tenant, JobRequest(type="crew.progress", payload={"value": 1.5}))
    told = {"percent": 40, "message": "two of five"}
    await show(jobs, tenant, made.id, lambda job: job.status == "running" and job.progress == told)
    job = await reach(jobs, tenant, made.id)
    assert (job.status, job.progress) == ("completed", told)


async def test_back_off_is_as_asked_for(jobs: Jobs, tenant: str) -> None:
    retry = Retry(max_attempts=3, initial_interval="30s", backoff=1, non_retryable=("crew.other",))
    made = await jobs.enqueue(tenant, JobRequest(type="crew.wobbly", retry=retry))
    job = await reach(jobs, tenant, made.id, "failed")
    assert job.retry == retry
    assert timedelta(seconds=15) < job.available_at - now() <= timedelta(seconds=30)
    await jobs.retry(tenant, made.id)
    await show(jobs, tenant, made.id, lambda job: job.attempts == 2 and job.status == "failed")
    await jobs.retry(tenant, made.id)
    assert (await reach(jobs, tenant, made.id)).status == "dead"


async def test_the_newest_begins_when_the_one_that_runs_has_stopped(jobs: Jobs, tenant: str) -> None:
    request = JobRequest(type="crew.wait", singleton_key="sync", singleton_wins="newest")
    first = await jobs.enqueue(tenant, request)
    await reach(jobs, tenant, first.id, "running")
    second = await jobs.enqueue(tenant, structs.replace(request, type="crew.echo"))
    stopped, ran = await reach(jobs, tenant, first.id), await reach(jobs, tenant, second.id)
    assert (stopped.status, ran.status) == ("canceled", "completed")
    assert stopped.closed_at is not None
    assert ran.started_at is not None
    assert ran.started_at >= stopped.closed_at
    third = await jobs.enqueue(tenant, request)
    await reach(jobs, tenant, third.id, "running")
    with pytest.raises(JobConflict):
        await jobs.retry(tenant, first.id)
    await jobs.cancel(tenant, third.id)


async def test_a_debounced_job_lets_the_one_that_runs_end(jobs: Jobs, tenant: str) -> None:
    request = JobRequest(type="crew.stubborn", payload={"value": 1.0}, singleton_key="index", debounce="50ms")
    first = await jobs.enqueue(tenant, request)
    await reach(jobs, tenant, first.id, "running")
    second = await jobs.enqueue(tenant, structs.replace(request, payload={"value": 0}))
    ended, ran = await reach(jobs, tenant, first.id), await reach(jobs, tenant, second.id)
    assert (ended.status, ran.status) == ("completed", "completed")
    assert ended.closed_at is not None
    assert ran.started_at is not None
    assert ran.started_at >= ended.closed_at


async def test_a_cancelled_job_does_not_run(jobs: Jobs, tenant: str) -> None:
    made = await jobs.enqueue(tenant, JobRequest(type="crew.echo", delay="300ms"))
    await jobs.cancel(tenant, made.id)
    later = await jobs.enqueue(tenant, JobRequest(type="crew.echo", delay="400ms"))
    await reach(jobs, tenant, later.id)
    job = await reach(jobs, tenant, made.id)
    assert (job.status, job.attempts) == ("canceled", 0)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_two_hundred_jobs_of_one_tenant_do_not_delay_another(jobs: Jobs, tenant: str, other_tenant: str) -> None:
    flood = await asyncio.gather(
        *(jobs.enqueue(tenant, JobRequest(type="crew.stubborn", payload={"value": 0.02})) for _ in range(200))
    )
    job = await reach(jobs, other_tenant, (await jobs.enqueue(other_tenant, JobRequest(type="crew.echo"))).id)
    assert job.closed_at is not None
    finished = await reach_all(jobs, tenant, flood)
    before = sum(1 for one in finished if one.closed_at and one.closed_at < job.closed_at)
    assert before < 150, "the window, not the backlog, is what another tenant waits for"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_flood_of_slow_jobs_leaves_threads_for_another_tenant(
    jobs: Jobs, tenant: str, other_tenant: str
) -> None:
    slow = JobRequest(type="crew.stubborn", payload={"value": 1.0})
    flood = await jobs.enqueue_many(tenant, [slow] * 60)
    await reach(jobs, tenant, flood[0].id, "running")
    made = await jobs.enqueue_many(other_tenant, [JobRequest(type="crew.echo")] * 10)
    finished = await reach_all(jobs, other_tenant, made)
    last = max(job.closed_at for job in finished if job.closed_at)
    done = (await jobs.list(tenant, status="completed", limit=60)).items
    assert sum(1 for job in done if job.closed_at and job.closed_at < last) <= 16, "two rounds of the eight threads"
    for job in flood:
        with suppress(JobConflict):
            await jobs.cancel(tenant, job.id)


async def test_a_limit_is_kept_while_jobs_run_and_raised_live(
    jobs: Jobs, tenant: str, database: Database, vault: Vault
) -> None:
    limits = Limits(database, vault)
    await limits.put(tenant, Limit(scope="type", subject="crew.stubborn", max_concurrent=1))
    made = await jobs.enqueue_many(tenant, [JobRequest(type="crew.stubborn", payload={"value": 0.1})] * 4)
    finished = await reach_all(jobs, tenant, made)
    spans = sorted((job.started_at, job.closed_at) for job in finished if job.started_at and job.closed_at)
    assert all(start >= end for (_, end), (start, _) in pairwise(spans)), "one after the other"
    await limits.put(tenant, Limit(scope="type", subject="crew.stubborn", max_concurrent=0))
    held = await jobs.enqueue(tenant, JobRequest(type="crew.stubborn", payload={"value": 0}))
    await reach(jobs, tenant, (await jobs.enqueue(tenant, JobRequest(type="crew.echo"))).id)
    assert (await reach(jobs, tenant, held.id, "queued")).attempts == 0
    await limits.remove(tenant, "type", "crew.stubborn")
    assert (await reach(jobs, tenant, held.id)).status == "completed"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_rate_spreads_starts_evenly(jobs: Jobs, tenant: str, database: Database, vault: Vault) -> None:
    await Limits(database, vault).put(tenant, Limit(scope="tenant", rate=Rate(count=20)))
    made = await jobs.enqueue_many(tenant, [JobRequest(type="crew.echo")] * 21)
    starts = sorted(job.started_at for job in await reach_all(jobs, tenant, made) if job.started_at)
    assert timedelta(seconds=0.8) < starts[-1] - starts[0] < timedelta(seconds=5)


async def test_log_lines_of_an_attempt_carry_tenant_job_and_trace(jobs: Jobs, tenant: str) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    with capture_logs(processors=[merge_contextvars]) as lines:
        made = await jobs.enqueue(
            tenant, JobRequest(type="crew.echo"), traceparent=f"00-{trace_id}-00f067aa0ba902b7-01"
        )
        await reach(jobs, tenant, made.id)
    (line,) = [line for line in lines if line["event"] == "jobs.attempt"]
    assert (line["tenant_id"], line["job_id"], line["trace_id"]) == (tenant, made.id, trace_id)
    assert (line["type"], line["queue"], line["attempt"], line["outcome"]) == ("crew.echo", "default", 1, "completed")


async def test_attempts_are_counted_and_timed(jobs: Jobs, tenant: str) -> None:
    def finished() -> float:
        return REGISTRY.get_sample_value("jobs_finished_total", {"type": "crew.refuse", "outcome": "dead"}) or 0.0

    before = finished()
    await reach(jobs, tenant, (await jobs.enqueue(tenant, JobRequest(type="crew.refuse"))).id)
    assert finished() == before + 1
    assert REGISTRY.get_sample_value("jobs_redis_up") == 1
    assert (REGISTRY.get_sample_value("jobs_start_delay_seconds_count", {"queue": "default"}) or 0) > 0
