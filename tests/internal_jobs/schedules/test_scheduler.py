"""Schedulers on a real database: however many run, a firing is decided once."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import func, select, update

from internal_jobs.client import JobRequest, Jobs
from internal_jobs.errors import InvalidSchedule, ScheduleNotFound
from internal_jobs.schedules import scheduler as scheduler_module
from internal_jobs.schedules.client import Firing, Schedule, ScheduleRequest, Schedules
from internal_jobs.schedules.scheduler import Scheduler
from internal_jobs.schedules.table import job_schedules, spec_place
from internal_jobs.table import jobs as jobs_table
from plugins.storage.database import Database, now
from plugins.vault.keys import Vault
from tests.internal_jobs.schedules.clockwork import Settings

ECHO = JobRequest(type="crew.echo", payload={"value": "tick"})


@pytest.fixture
def schedules(database: Database, vault: Vault, jobs: Jobs) -> Schedules:
    return Schedules(database=database, vault=vault, jobs=jobs)


@pytest.fixture
def scheduler(database: Database, vault: Vault, jobs: Jobs) -> Scheduler:
    return Scheduler(database=database, vault=vault, jobs=jobs)


async def rewind(database: Database, schedule: Schedule, to: datetime) -> None:
    """Let a schedule stand as if no scheduler had run since `to`, when a firing was due."""
    one = job_schedules.c.id == schedule.id
    async with database.across.transaction() as connection:
        await connection.execute(update(job_schedules).where(one).values(fires_at=to, due_at=to, anchor=to))


async def set_status(database: Database, job_id: str | None, status: str) -> None:
    async with database.across.transaction() as connection:
        await connection.execute(update(jobs_table).where(jobs_table.c.id == job_id).values(status=status))


async def status_of(jobs: Jobs, tenant: str, job_id: str | None) -> str:
    assert job_id is not None
    job = await jobs.get(tenant, job_id)
    assert job is not None
    return job.status


async def fired(schedules: Schedules, schedule: Schedule, tenant: str) -> list[Firing]:
    """The firings of a schedule, oldest first."""
    return list((await schedules.firings(tenant, schedule.id, limit=200)).items)[::-1]


@asynccontextmanager
async def clockworks(database: Database, folder: Path, count: int) -> AsyncIterator[None]:
    """Several processes with a scheduler each."""
    settings = Settings(database.engine.url.render_as_string(hide_password=False), str(folder / "master.key"))
    command = (sys.executable, "-m", "tests.internal_jobs.schedules.clockwork", msgspec.json.encode(settings).decode())
    processes = [await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE) for _ in range(count)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert (await asyncio.wait_for(process.stdout.readline(), 30)).strip() == b"ready"
        yield
    finally:
        for process in processes:
            process.kill()
            await process.wait()


async def test_four_processes_fire_each_time_once(
    database: Database, vault: Vault, schedules: Schedules, jobs: Jobs, tenant: str, tmp_path: Path
) -> None:
    """A minute that was missed is made up for by all at once, and every second after it comes up once."""
    await vault.sealer(tenant)
    made = [
        await schedules.create(
            tenant, ScheduleRequest(name=f"n{n}", job=ECHO, every="1s", overlap="allow", missed="all")
        )
        for n in range(6)
    ]
    began = now() - timedelta(seconds=60)
    for schedule in made:
        await rewind(database, schedule, began)
    async with clockworks(database, tmp_path, 4):
        deadline = time.monotonic() + 60
        while min([len(await fired(schedules, schedule, tenant)) for schedule in made]) < 64:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
    in_all = 0
    for schedule in made:
        firings = await fired(schedules, schedule, tenant)
        assert firings[0].scheduled_at == began
        assert {later.scheduled_at - earlier.scheduled_at for earlier, later in pairwise(firings)} == {
            timedelta(seconds=1)
        }
        assert {firing.status for firing in firings} == {"started"}
        assert len({firing.job_id for firing in firings}) == len(firings)
        in_all += len(firings)
    async with database.across.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(jobs_table))).scalar_one() == in_all


async def test_many_schedulers_at_once_make_one_job(
    database: Database, vault: Vault, schedules: Schedules, jobs: Jobs, tenant: str
) -> None:
    schedule = await schedules.create(tenant, ScheduleRequest(name="x", job=ECHO, every="1h"))
    await rewind(database, schedule, now() - timedelta(seconds=5))
    many = [Scheduler(database=database, vault=vault, jobs=jobs) for _ in range(8)]
    await asyncio.gather(*(scheduler.look() for scheduler in many))
    page = await jobs.list(tenant)
    assert [(job.type, job.payload, job.tags) for job in page.items] == [
        ("crew.echo", {"value": "tick"}, (f"schedule:{schedule.id}",))
    ]
    (firing,) = await fired(schedules, schedule, tenant)
    assert firing.job_id == page.items[0].id


async def test_after_downtime_the_latest_firing_is_made_up_for_and_the_rest_is_named(
    database: Database, schedules: Schedules, scheduler: Scheduler, tenant: str
) -> None:
    request = ScheduleRequest(name="x", job=ECHO, every="1m", catch_up="1h")
    schedule = await schedules.create(tenant, request)
    began = now() - timedelta(minutes=30, seconds=10)
    await rewind(database, schedule, began)
    assert 0 < await scheduler.look() <= 50
    missed, started = await fired(schedules, schedule, tenant)
    assert (missed.status, missed.scheduled_at, missed.job_id) == ("missed", began, None)
    assert (started.status, started.scheduled_at) == ("started", began + timedelta(minutes=30))
    shown = await schedules.get(tenant, schedule.id)
    assert shown.next_fire_at == began + timedelta(minutes=31)
    assert shown.last_firing == started


async def test_after_a_longer_downtime_than_catch_up_nothing_is_made(
    database: Database, schedules: Schedules, scheduler: Scheduler, jobs: Jobs, tenant: str
) -> None:
    schedule = await schedules.create(tenant, ScheduleRequest(name="x", job=ECHO, every="1d", catch_up="10m"))
    await rewind(database, schedule, now() - timedelta(hours=2))
    await scheduler.look()
    assert [firing.status for firing in await fired(schedules, schedule, tenant)] == ["missed"]
    assert (await jobs.list(tenant)).items == ()


async def two_firings(
    database: Database, schedules: Schedules, scheduler: Scheduler, tenant: str, request: ScheduleRequest
) -> Schedule:
    """Let a schedule fire, and once more while the job of the first runs."""
    schedule = await schedules.create(tenant, request)
    await rewind(database, schedule, now() - timedelta(seconds=1))
    await scheduler.look()
    (first,) = await fired(schedules, schedule, tenant)
    await set_status(database, first.job_id, "running")
    await rewind(database, schedule, now())
    await scheduler.look()
    return schedule


def overlapping(overlap: str) -> ScheduleRequest:
    return ScheduleRequest(name="x", job=ECHO, every="1h", overlap=overlap)  # type: ignore[arg-type]


async def test_skip_makes_no_job_while_one_is_open(
    database: Database, schedules: Schedules, scheduler: Scheduler, tenant: str
) -> None:
    schedule = await two_firings(database, schedules, scheduler, tenant, overlapping("skip"))
    first, second = await fired(schedules, schedule, tenant)
    assert (second.status, second.job_id) == ("skipped", None)
    assert second.reason is not None
    assert str(first.job_id) in second.reason
    await set_status(database, first.job_id, "completed")
    await rewind(database, schedule, now())
    await scheduler.look()
    assert [firing.status for firing in await fired(schedules, schedule, tenant)] == ["started", "skipped", "started"]


async def test_allow_makes_one_beside_the_other(
    database: Database, schedules: Schedules, scheduler: Scheduler, tenant: str
) -> None:
    schedule = await two_firings(database, schedules, scheduler, tenant, overlapping("allow"))
    assert [firing.status for firing in await fired(schedules, schedule, tenant)] == ["started", "started"]


async def test_queue_makes_them_one_after_the_other(
    database: Database, schedules: Schedules, scheduler: Scheduler, jobs: Jobs, tenant: str
) -> None:
    schedule = await two_firings(database, schedules, scheduler, tenant, overlapping("queue"))
    await rewind(database, schedule, now())
    await scheduler.look()
    firings = await fired(schedules, schedule, tenant)
    assert [firing.status for firing in firings] == ["started", "waiting", "waiting"]
    for number in (1, 2):
        await set_status(database, firings[number - 1].job_id, "completed")
        await asyncio.gather(scheduler.look(), scheduler.look())
        firings = await fired(schedules, schedule, tenant)
        assert [firing.status for firing in firings] == ["started"] * (number + 1) + ["waiting"] * (2 - number)
    assert len((await jobs.list(tenant)).items) == 3


async def test_schedules_that_wait_for_long_keep_no_other_from_going_on(
    database: Database, schedules: Schedules, scheduler: Scheduler, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_module, "BATCH", 1)
    stuck, moving = [await two_firings(database, schedules, scheduler, tenant, overlapping("queue")) for _ in range(2)]
    first, _ = await fired(schedules, moving, tenant)
    await set_status(database, first.job_id, "completed")
    await scheduler.look()
    assert [firing.status for firing in await fired(schedules, moving, tenant)] == ["started", "started"]
    assert [firing.status for firing in await fired(schedules, stuck, tenant)] == ["started", "waiting"]


async def test_a_schedule_that_a_newer_release_wrote_is_left_to_its_scheduler(
    database: Database, vault: Vault, schedules: Schedules, scheduler: Scheduler, tenant: str
) -> None:
    """While one release follows another both run; neither ends the other, nor what the other made."""
    newer, known = [await schedules.create(tenant, overlapping("allow")) for _ in range(2)]
    sealer, one = await vault.sealer(tenant), job_schedules.c.id == newer.id
    async with database.across.transaction() as connection:
        row = (await connection.execute(select(job_schedules).where(one))).one()
        written = sealer.open_json(row.spec_sealed, spec_place(newer.id)) | {"ofTomorrow": True}
        values = {"spec_sealed": sealer.seal_json(written, spec_place(newer.id))}
        await connection.execute(update(job_schedules).where(one).values(values))
    for schedule in (newer, known):
        await rewind(database, schedule, now())
    assert await scheduler.look() > 0, "it is not asked for again and again"
    assert [firing.status for firing in await fired(schedules, known, tenant)] == ["started"]
    async with database.across.read() as connection:
        left = (await connection.execute(select(job_schedules).where(one))).one()
    assert (left.paused, left.fires_at < left.due_at) == (False, True)


async def test_replace_cancels_and_waits_until_what_runs_has_stopped(
    database: Database, schedules: Schedules, scheduler: Scheduler, jobs: Jobs, tenant: str
) -> None:
    schedule = await two_firings(database, schedules, scheduler, tenant, overlapping("replace"))
    await rewind(database, schedule, now())
    await scheduler.look()
    firings = await fired(schedules, schedule, tenant)
    assert [firing.status for firing in firings] == ["started", "replaced", "waiting"]
    async with database.across.read() as connection:
        asked = select(jobs_table.c.cancel_requested).where(jobs_table.c.id == firings[0].job_id)
        assert (await connection.execute(asked)).scalar_one()
    await set_status(database, firings[0].job_id, "canceled")
    await scheduler.look()
    firings = await fired(schedules, schedule, tenant)
    assert [firing.status for firing in firings] == ["started", "replaced", "started"]
    assert await status_of(jobs, tenant, firings[2].job_id) == "queued"


async def test_replace_closes_a_job_that_has_not_begun_and_starts_at_once(
    database: Database, schedules: Schedules, scheduler: Scheduler, jobs: Jobs, tenant: str
) -> None:
    schedule = await schedules.create(tenant, overlapping("replace"))
    for _ in range(2):
        await rewind(database, schedule, now())
        await scheduler.look()
    first, second = await fired(schedules, schedule, tenant)
    assert await status_of(jobs, tenant, first.job_id) == "canceled"
    assert await status_of(jobs, tenant, second.job_id) == "queued"


async def test_what_is_paused_fires_no_more_but_runs_when_it_is_told_to(
    database: Database, schedules: Schedules, scheduler: Scheduler, jobs: Jobs, tenant: str
) -> None:
    schedule = await schedules.create(tenant, ScheduleRequest(name="x", job=ECHO, every="1h"))
    paused = await schedules.pause(tenant, schedule.id)
    assert (paused.paused, paused.next_fire_at) == (True, None)
    await scheduler.look()
    assert (await jobs.list(tenant)).items == ()
    for _ in range(2):
        firing = await schedules.run(tenant, schedule.id)
        assert await status_of(jobs, tenant, firing.job_id) == "queued"
    assert len(await fired(schedules, schedule, tenant)) == 2
    resumed = await schedules.resume(tenant, schedule.id)
    assert resumed.next_fire_at is not None
    assert now() < resumed.next_fire_at <= now() + timedelta(hours=1)


async def test_a_change_counts_from_now_on(
    database: Database, schedules: Schedules, scheduler: Scheduler, jobs: Jobs, tenant: str
) -> None:
    schedule = await schedules.create(tenant, ScheduleRequest(name="x", job=ECHO, every="1h"))
    await rewind(database, schedule, now() - timedelta(minutes=5))
    changed = ScheduleRequest(name="y", job=ECHO, cron="0 0 1 1 *", timezone="Asia/Tokyo")
    shown = await schedules.replace(tenant, schedule.id, changed)
    assert (shown.name, shown.cron, shown.every) == ("y", "0 0 1 1 *", None)
    assert shown.next_fire_at == datetime(now().year, 12, 31, 15, tzinfo=UTC)
    await scheduler.look()
    assert (await jobs.list(tenant)).items == ()


async def test_schedules_are_the_tenants_own(schedules: Schedules, tenant: str, other_tenant: str) -> None:
    schedule = await schedules.create(tenant, ScheduleRequest(name="x", job=ECHO, every="1h"))
    assert [item.id for item in (await schedules.list(tenant)).items] == [schedule.id]
    assert (await schedules.list(other_tenant)).items == ()
    for action in (schedules.get, schedules.pause, schedules.run, schedules.delete, schedules.firings):
        with pytest.raises(ScheduleNotFound):
            await action(other_tenant, schedule.id)
    await schedules.delete(tenant, schedule.id)
    with pytest.raises(ScheduleNotFound):
        await schedules.get(tenant, schedule.id)


async def test_a_job_that_says_itself_when_it_starts_is_refused(schedules: Schedules, tenant: str) -> None:
    request = ScheduleRequest(name="x", job=JobRequest(type="crew.echo", delay="1m"), every="1h")
    with pytest.raises(InvalidSchedule) as refused:
        await schedules.create(tenant, request)
    assert refused.value.pointer == "/job/delay"


async def test_what_a_schedule_holds_is_sealed_and_its_firings_are_forgotten_in_time(
    database: Database, schedules: Schedules, scheduler: Scheduler, tenant: str
) -> None:
    secret = JobRequest(type="crew.echo", payload={"value": "canary-2718"})
    schedule = await schedules.create(tenant, ScheduleRequest(name="x", job=secret, every="1h"))
    async with database.across.read() as connection:
        row = (await connection.execute(select(job_schedules))).one()
    assert b"canary" not in row.spec_sealed
    firing = await schedules.run(tenant, schedule.id)
    later = now() + timedelta(hours=1)
    assert await schedules.purge(later) == 0, "its job is open"
    await set_status(database, firing.job_id, "completed")
    await rewind(database, schedule, now())
    await scheduler.look()
    assert await schedules.purge(later) == 1
