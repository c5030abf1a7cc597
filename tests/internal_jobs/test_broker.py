import asyncio
import time
from collections.abc import Iterator

import pytest
from dramatiq.broker import Consumer
from dramatiq.errors import ConnectionClosed

from internal_jobs.broker import (
    Delivery,
    JobsBroker,
    actor_name,
    connect,
    consuming_broker,
    message_id,
)
from internal_jobs.jobs import Publication
from internal_jobs.slots import Slots
from internal_jobs.tickets import Ticket
from internal_jobs.wake import published_channel

JOBS = [Publication("ten_a", f"job_{n}", "default", 1) for n in range(3)]


def fetch(consumer: Consumer) -> list[Delivery]:
    """Return what a consumer hands on next."""
    message = next(consumer)
    return [] if message is None else message.args[0]


def finish(slots: Slots, *message_ids: str) -> None:
    slots.leave(len(message_ids))
    slots.end(message_ids)


@pytest.fixture
def slots() -> Slots:
    return Slots(3)


@pytest.fixture
def worker_of(valkey_url: str, namespace: str, slots: Slots) -> Iterator[JobsBroker]:
    client = connect(valkey_url)
    broker = consuming_broker(client, namespace, 0.05, slots)
    broker.declare_queue("default")
    yield broker
    client.close()


def test_a_message_holds_only_who_which_and_which_time(producer: JobsBroker, worker_of: JobsBroker) -> None:
    producer.publish(JOBS[:1])
    assert fetch(worker_of.consume("default", timeout=20)) == [Delivery(Ticket("ten_a", "job_0", 1), again=False)]


def test_who_fetches_hears_in_which_lanes_there_are_messages(producer: JobsBroker, namespace: str) -> None:
    with producer.client.pubsub(ignore_subscribe_messages=True) as channel:
        channel.subscribe(published_channel(namespace))
        producer.publish([*JOBS, Publication("ten_a", "job_9", "bulk", 1, express=True)])
        deadline = time.monotonic() + 5
        while (message := channel.get_message(timeout=1)) is None:
            assert time.monotonic() < deadline
        assert message["data"] == b"bulk.express default"


def test_a_batch_is_consumed_together_and_in_its_order(producer: JobsBroker, worker_of: JobsBroker) -> None:
    producer.publish(JOBS)
    message = next(worker_of.consume("default", timeout=20))
    assert message is not None
    assert message.actor_name == actor_name("default"), "Dramatiq finds who takes it"
    assert [delivery.ticket.job_id for delivery in message.args[0]] == ["job_0", "job_1", "job_2"]


def test_no_more_is_fetched_than_there_are_slots(producer: JobsBroker, worker_of: JobsBroker, slots: Slots) -> None:
    producer.publish([*JOBS, Publication("ten_a", "job_3", "default", 1)])
    consumer = worker_of.consume("default", timeout=1)
    assert [delivery.ticket.job_id for delivery in fetch(consumer)] == ["job_0", "job_1", "job_2"]
    assert fetch(consumer) == fetch(consumer) == []
    finish(slots, "job_1.1")
    assert [delivery.ticket.job_id for delivery in fetch(consumer)] == ["job_3"]


def test_what_could_not_be_acknowledged_is_acknowledged_later(
    producer: JobsBroker, worker_of: JobsBroker, slots: Slots, namespace: str
) -> None:
    producer.publish(JOBS[:1])
    next(worker_of.consume("default", timeout=1))
    finish(slots, "job_0.1")
    nowhere = consuming_broker(connect("redis://127.0.0.1:1"), namespace, 5.0, slots)
    with pytest.raises(ConnectionClosed):
        next(nowhere.consume("default", timeout=1))
    assert producer.whereabouts(JOBS[:1]) == ["fetched"]
    next(worker_of.consume("default", timeout=1))
    assert producer.whereabouts(JOBS[:1]) == ["lost"]
    assert worker_of.client.keys(f"{namespace}:__acks__*") == [], "nothing is left for heirs"


def test_what_was_not_handed_on_goes_back(producer: JobsBroker, worker_of: JobsBroker) -> None:
    producer.publish(JOBS)
    consumer = worker_of.consume("default", timeout=1)
    first = next(consumer)
    assert first is not None
    consumer.requeue([first])
    consumer.close()
    assert producer.whereabouts(JOBS) == ["waiting", "waiting", "waiting"]


def test_the_broker_knows_where_a_message_is(producer: JobsBroker, worker_of: JobsBroker, slots: Slots) -> None:
    assert producer.whereabouts(JOBS) == ["lost", "lost", "lost"]
    producer.publish(JOBS[:2])
    assert producer.whereabouts(JOBS) == ["waiting", "waiting", "lost"]
    slots.take(2)
    consumer = worker_of.consume("default", timeout=1)
    next(consumer)
    assert producer.whereabouts(JOBS) == ["fetched", "waiting", "lost"]
    slots.take(1)
    finish(slots, "job_0.1")
    next(consumer)
    assert producer.whereabouts(JOBS) == ["fetched", "waiting", "lost"], "there was no slot for another"
    consumer.close()
    assert producer.whereabouts(JOBS) == ["lost", "waiting", "lost"]


async def test_what_a_dead_worker_had_fetched_comes_back(
    producer: JobsBroker, worker_of: JobsBroker, valkey_url: str, namespace: str
) -> None:
    producer.publish(JOBS[:1])
    next(worker_of.consume("default", timeout=20))
    client = connect(valkey_url)
    heir = consuming_broker(client, namespace, 0.05, Slots(1)).consume("default", timeout=20)
    async with asyncio.timeout(5):
        while not (fetched := await asyncio.to_thread(fetch, heir)):
            pass
    assert fetched == [Delivery(Ticket("ten_a", "job_0", 1), again=True)], "whoever gets it knows"
    client.close()


def test_what_was_put_back_was_never_delivered(producer: JobsBroker, worker_of: JobsBroker, slots: Slots) -> None:
    producer.publish(JOBS[:1])
    consumer = worker_of.consume("default", timeout=1)
    first = next(consumer)
    assert first is not None
    consumer.requeue([first])
    assert fetch(consumer) == first.args[0] == [Delivery(Ticket("ten_a", "job_0", 1), again=False)]


def test_what_is_over_leaves_nothing_behind(
    producer: JobsBroker, worker_of: JobsBroker, slots: Slots, namespace: str
) -> None:
    producer.publish(JOBS)
    consumer = worker_of.consume("default", timeout=1)
    finish(slots, *(message_id(delivery.ticket) for delivery in fetch(consumer)))
    assert slots.taken == 0
    next(consumer)
    assert worker_of.client.keys(f"{namespace}:default*") == []


def test_the_broker_counts_what_waits(producer: JobsBroker, worker_of: JobsBroker) -> None:
    producer.publish([*JOBS, Publication("ten_a", "job_9", "bulk", 1, express=True)])
    assert producer.waiting() == {"critical": 0, "default": 3, "bulk": 0}
    worker_of.slots.take(2)
    next(worker_of.consume("default", timeout=1))
    assert producer.waiting() == {"critical": 0, "default": 2, "bulk": 0}


def test_none_of_dramatiqs_own_retries_or_limits_is_at_work(producer: JobsBroker, worker_of: JobsBroker) -> None:
    assert producer.middleware == []
    assert worker_of.middleware == []
    assert worker_of.get_declared_delay_queues() == set()
    assert (producer.maintenance_chance, worker_of.maintenance_chance) == (0, 1_000_000)
