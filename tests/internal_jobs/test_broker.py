import asyncio
from collections.abc import Iterator

import pytest

from internal_jobs.broker import JobsBroker, connect, consuming_broker, producing_broker
from internal_jobs.jobs import Publication

JOBS = [Publication("ten_a", f"job_{n}", "default", 1) for n in range(3)]


@pytest.fixture
def producer(valkey_url: str, namespace: str) -> Iterator[JobsBroker]:
    client = connect(valkey_url)
    yield producing_broker(client, namespace, 5.0)
    client.close()


@pytest.fixture
def worker_of(valkey_url: str, namespace: str) -> Iterator[JobsBroker]:
    client = connect(valkey_url)
    broker = consuming_broker(client, namespace, 0.05)
    broker.declare_queue("default")
    yield broker
    client.close()


def test_a_message_holds_only_who_which_and_which_time(producer: JobsBroker, worker_of: JobsBroker) -> None:
    producer.publish(JOBS[:1])
    message = next(worker_of.consume("default", prefetch=1, timeout=20))
    assert message is not None
    assert (message.args, message.kwargs) == (("ten_a", "job_0", 1), {})


def test_a_batch_is_consumed_in_its_order(producer: JobsBroker, worker_of: JobsBroker) -> None:
    producer.publish(JOBS)
    consumer = worker_of.consume("default", prefetch=3, timeout=20)
    assert [message.args[1] for message in (next(consumer) for _ in JOBS) if message] == ["job_0", "job_1", "job_2"]


def test_the_broker_knows_where_a_message_is(producer: JobsBroker, worker_of: JobsBroker) -> None:
    assert producer.whereabouts(JOBS) == ["lost", "lost", "lost"]
    producer.publish(JOBS[:2])
    assert producer.whereabouts(JOBS) == ["waiting", "waiting", "lost"]
    consumer = worker_of.consume("default", prefetch=1, timeout=20)
    message = next(consumer)
    assert producer.whereabouts(JOBS) == ["fetched", "waiting", "lost"]
    consumer.ack(message)
    assert producer.whereabouts(JOBS) == ["lost", "waiting", "lost"]


async def test_what_a_dead_worker_had_fetched_comes_back(
    producer: JobsBroker, worker_of: JobsBroker, valkey_url: str, namespace: str
) -> None:
    producer.publish(JOBS[:1])
    next(worker_of.consume("default", prefetch=1, timeout=20))
    client = connect(valkey_url)
    heir = consuming_broker(client, namespace, 0.05).consume("default", prefetch=1, timeout=20)
    async with asyncio.timeout(5):
        while (message := await asyncio.to_thread(next, heir)) is None:
            pass
    assert message.args[1] == "job_0"
    client.close()


def test_none_of_dramatiqs_own_retries_or_limits_is_at_work(producer: JobsBroker, worker_of: JobsBroker) -> None:
    assert producer.middleware == []
    assert worker_of.middleware == []
    assert worker_of.get_declared_delay_queues() == set()
    assert (producer.maintenance_chance, worker_of.maintenance_chance) == (0, 1_000_000)
