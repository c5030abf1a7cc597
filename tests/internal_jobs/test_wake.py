"""The word to the relays: said for what is due, seldom, and always after the last commit."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from internal_jobs.client import JobRequest, Jobs
from internal_jobs.relay import POLL
from internal_jobs.wake import BREATH, SOON, Waker, wake_channel


@pytest.fixture
async def channel(valkey_url: str, namespace: str) -> AsyncIterator[PubSub]:
    """What relays of the namespace hear."""
    redis = Redis.from_url(valkey_url)
    async with redis.pubsub() as channel:
        await channel.subscribe(wake_channel(namespace))
        assert await channel.get_message(timeout=5) is not None
        yield channel
    await redis.aclose()


async def heard(channel: PubSub) -> int:
    """Count the words that were said, until a quarter of a second passes in silence."""
    words = 0
    while await channel.get_message(timeout=0.25) is not None:
        words += 1
    return words


async def test_a_job_for_later_wakes_nobody(jobs: Jobs, tenant: str, channel: PubSub) -> None:
    await jobs.enqueue(tenant, JobRequest(type="x", delay="1h"))
    await jobs.enqueue_many(tenant, [JobRequest(type="x", delay="3s")] * 3)
    assert await heard(channel) == 0
    await jobs.enqueue_many(tenant, [JobRequest(type="x", delay="1h"), JobRequest(type="x")])
    assert await heard(channel) == 1
    await jobs.enqueue(tenant, JobRequest(type="x", delay="1s"))
    assert await heard(channel) == 1


def test_relays_look_by_themselves_before_such_a_job_is_due() -> None:
    assert SOON.total_seconds() > POLL


async def test_a_burst_is_said_in_few_words_and_the_last_commit_in_one(
    valkey_url: str, namespace: str, channel: PubSub
) -> None:
    waker = Waker(valkey_url, namespace=namespace)
    began = time.monotonic()
    for _ in range(2_000):
        waker.wake()
        await asyncio.sleep(0)
    lasted = time.monotonic() - began
    words = await heard(channel)
    assert 1 <= words <= lasted / BREATH + 2
    waker.wake()
    assert await heard(channel) == 1
    await waker.close()
