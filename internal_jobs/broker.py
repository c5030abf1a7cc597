"""Dramatiq's broker on Redis, made explicitly: what it does beyond carrying messages is written here."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from typing import Any, Literal, Self

import msgspec
from dramatiq import Message
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.brokers.redis import RedisBroker
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import Middleware
from msgspec import Struct
from redis import Redis
from redis.backoff import NoBackoff
from redis.client import Pipeline
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from internal_jobs.jobs import QUEUES, Publication, Queue
from internal_jobs.slots import Slots
from internal_jobs.tickets import Ticket
from internal_jobs.wake import published_channel

#: Out of a million: each command of a worker also looks for messages of dead workers, none of a producer's does.
_WORKER_MAINTENANCE = 1_000_000
_PRODUCER_MAINTENANCE = 0
#: Seconds without a word after which a worker tells Redis that it lives.
_SIGN_OF_LIFE = 1.0

#: lost     not in Redis: finished with, or gone with it
#: waiting  in a queue
#: fetched  with a worker, and not yet acknowledged
Whereabouts = Literal["lost", "waiting", "fetched"]


class Delivery(Struct, frozen=True):
    """A message, as a worker gets it."""

    ticket: Ticket
    #: another had it before, and is dead, or is thought dead
    again: bool


class _Sent(Struct, frozen=True):
    """What a worker needs of a message."""

    args: Ticket


_decoder = msgspec.json.Decoder(_Sent)


class JobsBroker(RedisBroker):
    """A broker that publishes in batches, tells where its messages are, and has no delay queues.

    Delays, retries and time limits are the database's and the host's, the same for both engines. So none of
    Dramatiq's middleware is wanted: `Retries` and `Callbacks` would enqueue past the outbox, `AgeLimit` would drop
    silently, `TimeLimit` and `ShutdownNotifications` would raise into threads that only wait, `Pipelines` chain by
    message. The list is empty on purpose.
    """

    def __init__(
        self,
        client: "Redis",
        *,
        namespace: str,
        maintenance_chance: int,
        heartbeat_timeout: float,
        slots: Slots | None = None,
    ) -> None:
        self.slots = slots or Slots(0)
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

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """Return what fetches the messages of a lane, as far as there are slots."""
        return LaneConsumer(self, queue_name, self.slots, timeout)

    def exchange(self, lane: str, ended: Sequence[str], free: int) -> list[Delivery]:
        """Acknowledge messages and fetch up to so many, in one round trip. Blocks.

        If one that is thought dead acknowledges a message after all, it is gone for who has it now as well: its job is
        over.
        """
        mine, delivered = f"{self.namespace}:__acks__.{self.broker_id}.{lane}", self._delivered(lane)

        def say(batch: Self, pipeline: "Pipeline") -> None:
            if ended:
                # What Dramatiq's script does for one message at a time.
                pipeline.srem(mine, *ended)
                pipeline.srem(delivered, *ended)
                pipeline.hdel(f"{self.namespace}:{lane}.msgs", *ended)
            batch.do_fetch(lane, free)
            pipeline.sinter([mine, delivered])
            pipeline.sunionstore(delivered, [delivered, mine])

        *_, found, again, _ = self._together(say)
        known = {id.decode() for id in again}
        # Redis may have lost what a message says: there is then nothing to do for it.
        tickets = [_decoder.decode(data).args for data in found if data is not None]
        return [Delivery(ticket, message_id(ticket) in known) for ticket in tickets]

    def put_back(self, lane: str, message_ids: Sequence[str]) -> None:
        """Give fetched messages that nobody has seen to whoever asks next. Blocks."""

        def say(batch: Self, pipeline: "Pipeline") -> None:
            pipeline.srem(self._delivered(lane), *message_ids)
            batch.do_requeue(lane, *message_ids)

        self._together(say)

    def waiting(self) -> dict[Queue, int]:
        """Return how many messages no worker has fetched, of each queue, its express lane left out. Blocks."""
        with self.client.pipeline(transaction=False) as pipeline:
            for queue in QUEUES:
                pipeline.llen(f"{self.namespace}:{lane_name(queue, express=False)}")
            return dict(zip(QUEUES, pipeline.execute(), strict=True))

    def publish(self, publications: Sequence[Publication]) -> None:
        """Enqueue a batch in one round trip. Blocks."""
        lanes: defaultdict[str, dict[Any, Any]] = defaultdict(dict)
        for message in map(to_message, publications):
            lanes[message.queue_name][message.message_id] = message.encode()
        with self.client.pipeline(transaction=False) as pipeline:
            for lane, messages in lanes.items():
                # What Dramatiq's script does for one message at a time.
                pipeline.hset(f"{self.namespace}:{lane}.msgs", mapping=messages)
                pipeline.rpush(f"{self.namespace}:{lane}", *messages)
            pipeline.publish(published_channel(self.namespace), " ".join(sorted(lanes)))
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

    def _delivered(self, lane: str) -> str:
        """Return the key of the ids of messages that were fetched and not acknowledged, by anybody."""
        return f"{self.namespace}:{lane}.delivered"

    def _together(self, say: "Callable[[Self, Pipeline], None]") -> list[Any]:
        """Send all commands that `say` gives to the broker it gets in one round trip; return the answers."""
        script = self.scripts["dispatch"]
        with self.client.pipeline(transaction=False) as pipeline:
            batch = copy(self)
            # As `Script` does it, but for its question before each pipeline whether Redis still has the script.
            batch.scripts = {
                **self.scripts,
                "dispatch": lambda keys, args: pipeline.evalsha(script.sha, len(keys), *keys, *args),
            }
            try:
                say(batch, pipeline)
                return pipeline.execute()
            except NoScriptError:
                self.client.script_load(script.script)
                pipeline.reset()
                say(batch, pipeline)
                return pipeline.execute()


class LaneConsumer(Consumer):
    """Fetches the messages of a lane, and none in reserve: what one worker holds, no other can begin.

    What was fetched together is handed on together, as one message to the lane's actor. Each is acknowledged when its
    job has ended, not when Dramatiq's thread has handed it on: until then Redis gives it to another worker if this one
    dies.

    Args:
        broker: talks to Redis.
        lane: whose messages.
        slots: how many of them.
        timeout: milliseconds that it waits before it asks again when it found nothing.
    """

    def __init__(self, broker: JobsBroker, lane: str, slots: Slots, timeout: int) -> None:
        self._broker = broker
        self._lane = lane
        self._slots = slots
        self._timeout = timeout / 1000
        self._spoke = 0.0

    def __next__(self) -> MessageProxy | None:
        if not (fetched := self._fetch()):
            self._slots.wait(self._timeout)
            return None
        return MessageProxy(
            Message(
                queue_name=self._lane,
                actor_name=actor_name(self._lane),
                args=(fetched,),
                kwargs={},
                options={},
                message_id=message_id(fetched[0].ticket),
            )
        )

    def ack(self, message: MessageProxy) -> None:
        """Do nothing: the jobs have only begun."""

    def nack(self, message: MessageProxy) -> None:
        """Let go of messages that could not be handed on; their jobs are found in the database."""
        ids = _handed_on(message)
        self._slots.leave(len(ids))
        self._slots.end(ids)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Put back what was fetched and not handed on."""
        if ids := [id for message in messages for id in _handed_on(message)]:
            self._broker.put_back(self._lane, ids)

    def close(self) -> None:
        """Acknowledge what is over."""
        self._acknowledge(self._slots.ended(), 0)

    def _fetch(self) -> list[Delivery]:
        free = self._slots.free()
        if not free and time.monotonic() - self._spoke <= _SIGN_OF_LIFE:
            return []
        found = self._acknowledge(self._slots.ended(), free)
        self._slots.take(len(found))
        self._spoke = time.monotonic()
        return found

    def _acknowledge(self, ended: Sequence[str], free: int) -> list[Delivery]:
        try:
            return self._broker.exchange(self._lane, ended, free)
        except RedisError as error:
            self._slots.not_acknowledged(ended)
            raise closed(error) from None


def closed(error: RedisError) -> ConnectionClosed:
    """Say it in Dramatiq's words, which then tries again."""
    return ConnectionClosed(error)  # type: ignore[no-untyped-call]  # Dramatiq leaves it untyped


def connect(redis_url: str) -> "Redis":
    """Return a client that fails soon: whoever uses it decides itself when to try again."""
    return Redis.from_url(redis_url, socket_connect_timeout=2.0, retry=Retry(NoBackoff(), 1))


def producing_broker(client: "Redis", namespace: str, heartbeat_timeout: float) -> JobsBroker:
    return JobsBroker(
        client, namespace=namespace, maintenance_chance=_PRODUCER_MAINTENANCE, heartbeat_timeout=heartbeat_timeout
    )


def consuming_broker(client: "Redis", namespace: str, heartbeat_timeout: float, slots: Slots) -> JobsBroker:
    return JobsBroker(
        client,
        namespace=namespace,
        maintenance_chance=_WORKER_MAINTENANCE,
        heartbeat_timeout=heartbeat_timeout,
        slots=slots,
    )


def lane_name(queue: Queue, *, express: bool) -> str:
    """Return the name in Redis of a queue, or of its express lane."""
    return f"{queue}.express" if express else queue


def actor_name(lane: str) -> str:
    """One generic actor per lane: a worker of any release knows it, whatever job types it knows."""
    return f"jobs.{lane}"


def message_id(of: Publication | Ticket) -> str:
    return f"{of.job_id}.{of.sequence}"


def _handed_on(message: MessageProxy) -> list[str]:
    """Return the ids of the messages that were handed on as one."""
    fetched: Sequence[Delivery] = message.args[0]
    return [message_id(delivery.ticket) for delivery in fetched]


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
