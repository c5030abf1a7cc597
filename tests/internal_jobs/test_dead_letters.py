"""Dead letters are found, edited and replayed, and a replay that only makes more of them stops by itself."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from internal_jobs.client import Job, JobRequest, Jobs
from internal_jobs.dead_letters.client import DeadLetters
from internal_jobs.dead_letters.model import DeadLetterFilter, Replay, ReplayRequest
from internal_jobs.dead_letters.replayer import FEWEST
from internal_jobs.dead_letters.table import job_replays
from internal_jobs.errors import JobConflict, JobNotFound, ReplayNotFound
from plugins.storage.database import Database, now
from plugins.vault.keys import Vault
from tests.internal_jobs.watch import reach, reach_all

pytestmark = pytest.mark.usefixtures("worker")

Kill = Callable[..., Awaitable[list[Job]]]


@pytest.fixture
def dead_letters(database: Database, vault: Vault) -> DeadLetters:
    return DeadLetters(database, vault)


@pytest.fixture
def kill(jobs: Jobs, tenant: str) -> Kill:
    """Make jobs that are dead."""

    async def kill(count: int, type: str = "crew.picky", **options: Any) -> list[Job]:
        made = await jobs.enqueue_many(tenant, [JobRequest(type=type, **options) for _ in range(count)])
        return await reach_all(jobs, tenant, made)

    return kill


async def over(dead_letters: DeadLetters, tenant: str, replay: Replay) -> Replay:
    async with asyncio.timeout(60):
        while (found := await dead_letters.find_replay(tenant, replay.id)).status == "running" or found.open:
            await asyncio.sleep(0.05)
    return found


async def test_dead_letters_are_found_by_what_they_are(
    dead_letters: DeadLetters, tenant: str, other_tenant: str, kill: Kill
) -> None:
    (picky,) = await kill(1, tags=("import",))
    (refused,) = await kill(1, "crew.refuse")
    assert (picky.status, refused.status) == ("dead", "dead")

    async def found(**wanted: Any) -> list[str]:
        return [job.id for job in (await dead_letters.list(tenant, DeadLetterFilter(**wanted))).items]

    assert await found() == [refused.id, picky.id]
    assert await found(type="crew.refuse") == [refused.id]
    assert await found(tag="import") == [picky.id]
    assert await found(error_type="crew.never") == [refused.id]
    assert await found(error_type="crew") == [refused.id, picky.id]
    assert await found(error_type="cre") == []
    assert await found(ids=(picky.id,)) == [picky.id]
    assert await found(closed_before=picky.closed_at) == []
    assert await found(closed_after=now() - timedelta(minutes=1)) == [refused.id, picky.id]
    assert (await dead_letters.list(other_tenant, DeadLetterFilter())).items == ()
    first = await dead_letters.list(tenant, DeadLetterFilter(), limit=1)
    rest = await dead_letters.list(tenant, DeadLetterFilter(), limit=1, cursor=first.next_cursor)
    assert [job.id for job in first.items + rest.items] == [refused.id, picky.id]


async def test_an_edited_dead_letter_is_replayed_with_its_new_payload(
    jobs: Jobs, dead_letters: DeadLetters, tenant: str, kill: Kill
) -> None:
    edited, left = await kill(2)
    await dead_letters.edit(tenant, edited.id, {"value": "good"})
    replay = await dead_letters.replay(tenant, ReplayRequest(filter=DeadLetterFilter(ids=(edited.id,))))
    done = await over(dead_letters, tenant, replay)
    assert (done.status, done.replayed, done.completed, done.failed) == ("completed", 1, 1, 0)
    assert (await reach(jobs, tenant, edited.id)).result == "good"
    assert (await reach(jobs, tenant, left.id)).status == "dead"
    with pytest.raises(JobConflict):
        await dead_letters.edit(tenant, edited.id, {})
    with pytest.raises(JobNotFound):
        await dead_letters.edit(tenant, "job_absent", {})


async def test_all_are_replayed_at_the_rate_asked_for(dead_letters: DeadLetters, tenant: str, kill: Kill) -> None:
    for job in await kill(15, tags=("night",)):
        await dead_letters.edit(tenant, job.id, {"value": "good"})
    request = ReplayRequest(filter=DeadLetterFilter(tag="night"), rate_per_second=10)
    done = await over(dead_letters, tenant, await dead_letters.replay(tenant, request))
    assert (done.status, done.replayed, done.completed) == ("completed", 15, 15)
    assert done.closed_at is not None
    assert done.closed_at - done.created_at > timedelta(seconds=1)


async def test_a_replay_stops_when_too_many_fail_again(dead_letters: DeadLetters, tenant: str, kill: Kill) -> None:
    await kill(40)
    done = await over(dead_letters, tenant, await dead_letters.replay(tenant, ReplayRequest(rate_per_second=1000)))
    assert (done.status, done.reason, done.completed) == ("stopped", "errorRate", 0)
    assert FEWEST <= done.failed == done.replayed <= 2 * FEWEST
    assert len((await dead_letters.list(tenant, DeadLetterFilter(), limit=100)).items) == 40


async def test_a_replay_stops_when_the_error_rate_rises_on_the_way(
    dead_letters: DeadLetters, tenant: str, kill: Kill
) -> None:
    for job in await kill(15):
        await dead_letters.edit(tenant, job.id, {"value": "good"})
    await kill(40)
    request = ReplayRequest(rate_per_second=20, max_error_rate=0.2)
    done = await over(dead_letters, tenant, await dead_letters.replay(tenant, request))
    assert (done.status, done.reason, done.completed) == ("stopped", "errorRate", 15)
    assert 4 <= done.failed < 40, "the oldest came first"


async def test_a_replay_is_stopped_by_whoever_started_it(
    dead_letters: DeadLetters, tenant: str, other_tenant: str, kill: Kill
) -> None:
    await kill(3)
    replay = await dead_letters.replay(tenant, ReplayRequest(rate_per_second=0.01))
    with pytest.raises(ReplayNotFound):
        await dead_letters.stop_replay(other_tenant, replay.id)
    stopped = await dead_letters.stop_replay(tenant, replay.id)
    assert (stopped.status, stopped.reason) == ("stopped", "asked")
    assert stopped.replayed <= 1
    assert [one.id for one in await dead_letters.replays(tenant)] == [replay.id]


async def test_dead_letters_are_kept_until_somebody_decides(
    jobs: Jobs, dead_letters: DeadLetters, tenant: str, kill: Kill
) -> None:
    kept, given_up = await kill(2)
    await jobs.cancel(tenant, given_up.id)
    assert await jobs.purge(now() + timedelta(days=3_650)) == 1
    assert [job.id for job in (await dead_letters.list(tenant, DeadLetterFilter())).items] == [kept.id]


async def test_a_replay_that_a_newer_release_began_is_left_to_its_workers(
    database: Database, dead_letters: DeadLetters, tenant: str, kill: Kill
) -> None:
    await kill(1)
    newer = await dead_letters.replay(tenant, ReplayRequest(filter=DeadLetterFilter(tag="none")))
    async with database.across.transaction() as connection:
        unknown = update(job_replays).where(job_replays.c.id == newer.id)
        await connection.execute(unknown.values(status="running", filter={"ofTomorrow": 1}, closed_at=None))
    known = await over(dead_letters, tenant, await dead_letters.replay(tenant, ReplayRequest()))
    assert (known.status, known.replayed) == ("completed", 1)
    async with database.across.read() as connection:
        query = select(job_replays.c.status).where(job_replays.c.id == newer.id)
        assert (await connection.execute(query)).scalar_one() == "running"


async def test_a_dead_letter_whose_singleton_key_is_taken_stays(
    jobs: Jobs, dead_letters: DeadLetters, tenant: str, kill: Kill
) -> None:
    (dead,) = await kill(1, singleton_key="k")
    await jobs.enqueue(tenant, JobRequest(type="crew.echo", singleton_key="k", delay="1h"))
    done = await over(dead_letters, tenant, await dead_letters.replay(tenant, ReplayRequest()))
    assert (done.status, done.replayed) == ("completed", 0)
    assert (await reach(jobs, tenant, dead.id)).status == "dead"
