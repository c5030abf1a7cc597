"""Dramatiq's broker on Redis, made explicitly: what it does beyond carrying messages is written here."""

from collections.abc import Sequence
from copy import copy
from functools import partial
from typing import Literal

from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Middleware
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from internal_jobs.jobs import Publication, Queue

#: Out of a million: each command of a worker also looks for messages of dead workers, none of a producer's does.
_WORKER_MAINTENANCE = 1_000_000
_PRODUCER_MAINTENANCE = 0

#: lost     not in Redis: finished with, or gone with it
#: waiting  in a queue
#: fetched  with a worker, and not yet acknowledged
Whereabouts = Literal["lost", "waiting", "fetched"]


class JobsBroker(RedisBroker):
    """A broker that publishes in batches, tells where its messages are, and has no delay queues.

    Delays, retries and time limits are the database's and the host's, the same for both engines. So none of
    Dramatiq's middleware is wanted: `Retries` and `Callbacks` would enqueue past the outbox, `AgeLimit` would drop
    silently, `TimeLimit` and `ShutdownNotifications` would raise into threads that only wait, `Pipelines` chain by
    message. The list is empty on purpose.
    """

    def __init__(self, client: "Redis", *, namespace: str, maintenance_chance: int, heartbeat_timeout: float) -> None:
        middleware: list[Middleware] = []
        super().__init__(  # type: ignore[no-untyped-call]  # Dramatiq leaves it untyped
            client=client,
            namespace=namespace,
            middleware=middleware,
            maintenance_chance=maintenance_chance,
            heartbeat_timeout=int(heartbeat_timeout * 1000),
        )

    def declare_queue(self, queue_name: str) -> None:
        """Declare a queue without the delay queue that would be polled beside it."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def publish(self, publications: Sequence[Publication]) -> None:
        """Enqueue a batch in one round trip. Blocks."""
        with self.client.pipeline(transaction=False) as pipeline:
            batch = copy(self)
            batch.scripts = {**self.scripts, "dispatch": partial(self.scripts["dispatch"], client=pipeline)}
            for publication in publications:
                message = to_message(publication)
                batch.do_enqueue(message.queue_name, message.message_id, message.encode())
            pipeline.execute()

    def whereabouts(self, publications: Sequence[Publication]) -> list[Whereabouts]:
        """Tell what became of publications, in one round trip. Blocks."""
        with self.client.pipeline(transaction=False) as pipeline:
            for publication in publications:
                lane, id = lane_name(publication.queue, express=publication.express), message_id(publication)
                queue = f"{self.namespace}:{lane}"
                pipeline.hexists(f"{queue}.msgs", id)
                pipeline.lpos(queue, id)
            found = pipeline.execute()
        return [
            "lost" if not held else "fetched" if position is None else "waiting"
            for held, position in zip(found[::2], found[1::2], strict=True)
        ]


def connect(redis_url: str) -> "Redis":
    """Return a client that fails soon: whoever uses it decides itself when to try again."""
    return Redis.from_url(redis_url, socket_connect_timeout=2.0, retry=Retry(NoBackoff(), 1))


def producing_broker(client: "Redis", namespace: str, heartbeat_timeout: float) -> JobsBroker:
    return JobsBroker(
        client, namespace=namespace, maintenance_chance=_PRODUCER_MAINTENANCE, heartbeat_timeout=heartbeat_timeout
    )


def consuming_broker(client: "Redis", namespace: str, heartbeat_timeout: float) -> JobsBroker:
    return JobsBroker(
        client, namespace=namespace, maintenance_chance=_WORKER_MAINTENANCE, heartbeat_timeout=heartbeat_timeout
    )


def lane_name(queue: Queue, *, express: bool) -> str:
    """Return the name in Redis of a queue, or of its express lane."""
    return f"{queue}.express" if express else queue


def actor_name(lane: str) -> str:
    """One generic actor per lane: a worker of any release knows it, whatever job types it knows."""
    return f"jobs.{lane}"


def message_id(publication: Publication) -> str:
    return f"{publication.job_id}.{publication.sequence}"


def to_message(publication: Publication) -> "Message[None]":
    id, lane = message_id(publication), lane_name(publication.queue, express=publication.express)
    return Message(
        queue_name=lane,
        actor_name=actor_name(lane),
        args=(publication.tenant_id, publication.job_id, publication.sequence),
        kwargs={},
        options={"redis_message_id": id},
        message_id=id,
    )
