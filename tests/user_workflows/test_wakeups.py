"""Whoever waits for an execution is woken by what is committed of it, and learns of its end without Redis, too."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.servers import running, valkey_server
from tests.user_workflows.drawing import node
from tests.user_workflows.lane import Lane
from user_workflows.executions.waiting import Waiting
from user_workflows.live.wakeups import END, Wakeups, channel_of

PATIENCE = 20.0


class Commits:
    """What was committed of an execution, as a test says."""

    def __init__(self) -> None:
        self.looks = 0
        self.answer: str | None = None

    async def look(self) -> str | None:
        self.looks += 1
        return self.answer


async def waiting_for_good(lane: Lane) -> str:
    """Start an execution that does not end by itself."""
    workflow = await lane.publish({"nodes": [node("w", "wait", signal="never")]})
    return (await lane.start(workflow)).id


@pytest.fixture
async def execution_id(lane: Lane) -> AsyncIterator[str]:
    id = await waiting_for_good(lane)
    yield id
    await lane.executions.terminate(lane.tenant_id, id)


async def tell(redis: "Redis", tenant_id: str, execution_id: str, word: bytes = b"") -> int:
    """Say the word, and return how many heard it."""
    return int(await redis.publish(channel_of(tenant_id, execution_id), word))


async def until_heard(redis: "Redis", tenant_id: str, execution_id: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                if await tell(redis, tenant_id, execution_id):
                    return
            except (OSError, ConnectionError):
                pass
            await asyncio.sleep(0.02)


async def test_what_is_committed_wakes_and_the_loss_of_redis_is_survived(
    lane: Lane, execution_id: str, tmp_path: Path
) -> None:
    server = valkey_server(tmp_path)
    wakeups = Wakeups(server.url)
    waiting, commits = Waiting(lane.temporal, lane.starts.reception.gate, wakeups), Commits()
    redis = Redis.from_url(server.url, retry=Retry(NoBackoff(), 0))
    try:
        with running(server):
            task = asyncio.create_task(waiting.until(commits.look, lane.tenant_id, execution_id, timeout=PATIENCE))
            await until_heard(redis, lane.tenant_id, execution_id)
            async with asyncio.timeout(PATIENCE):
                while not commits.looks:
                    await asyncio.sleep(0.01)
            were_heard = wakeups.are_heard
            assert were_heard
            assert not task.done()
        async with asyncio.timeout(PATIENCE):
            while wakeups.are_heard:
                await asyncio.sleep(0.01)
        await redis.connection_pool.disconnect()
        commits.answer = "there"
        with running(server):
            await until_heard(redis, lane.tenant_id, execution_id)
            assert await task == "there"
            # Nobody waits any more.
            async with asyncio.timeout(PATIENCE):
                while await tell(redis, lane.tenant_id, execution_id):
                    await asyncio.sleep(0.01)
    finally:
        await wakeups.close()
        await redis.aclose()


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[Wakeups]:
    wakeups = Wakeups(url)
    yield wakeups
    await wakeups.close()


async def test_two_wait_for_one(lane: Lane, execution_id: str, valkey_url: str) -> None:
    async def heard_by(*waiting: asyncio.Event) -> None:
        assert await tell(redis, lane.tenant_id, execution_id) == 1
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(news.wait() for news in waiting))
        for news in waiting:
            news.clear()

    async with (
        listening(valkey_url) as wakeups,
        Redis.from_url(valkey_url) as redis,
        wakeups.of(lane.tenant_id, execution_id) as first,
    ):
        await until_heard(redis, lane.tenant_id, execution_id)
        async with wakeups.of(lane.tenant_id, execution_id) as second:
            await heard_by(first, second)
        await heard_by(first)


async def test_who_waits_for_the_end_sleeps_until_then(lane: Lane, execution_id: str, valkey_url: str) -> None:
    async with (
        listening(valkey_url) as wakeups,
        Redis.from_url(valkey_url) as redis,
        wakeups.of(lane.tenant_id, execution_id) as news,
        wakeups.of(lane.tenant_id, execution_id, only_end=True) as end,
    ):
        await until_heard(redis, lane.tenant_id, execution_id)
        async with asyncio.timeout(PATIENCE):
            await news.wait()
            assert not end.is_set()
            await tell(redis, lane.tenant_id, execution_id, END)
            await end.wait()


async def test_without_redis_the_end_is_heard_of(lane: Lane) -> None:
    workflow = await lane.publish({"nodes": [node("a", values={"n": 1})]})
    execution = await lane.start(workflow)
    async with listening("redis://127.0.0.1:1") as wakeups:
        commits = Commits()
        waiting = Waiting(lane.temporal, lane.starts.reception.gate, wakeups)
        assert await waiting.until(commits.look, lane.tenant_id, execution.id, timeout=PATIENCE) is True
        assert not commits.looks


async def test_the_time_may_be_up_before(lane: Lane, execution_id: str) -> None:
    commits = Commits()
    waiting = Waiting(lane.temporal, lane.starts.reception.gate, Wakeups())
    assert await waiting.until(commits.look, lane.tenant_id, execution_id, timeout=0.3, pause=0.01) is False
    assert commits.looks
