"""The live feed: what was committed, in a Redis Stream per tenant, for whoever watches (design §9).

A feed may be lost at any time with its Redis; the rows tell everything. So a watcher begins with a snapshot of the
rows, and gets another one whenever events may be missing.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, NamedTuple, Self

import msgspec
import structlog
from msgspec import Struct, structs
from redis.asyncio import Redis
from redis.exceptions import RedisError

from plugins.vault.cipher import Sealer
from plugins.vault.keys import Vault
from user_workflows.errors import FeedUnavailable
from user_workflows.interpreter.messages import ExecutionRecord, StepRecord
from user_workflows.live.wakeups import END, channel_of
from user_workflows.metrics import FEED_LOST
from user_workflows.recent import Recent

#: about how many events of a tenant are kept, and for how many seconds after the last one
LENGTH = 5_000
LIFETIME = 86_400

#: a larger output is left out of its event, and read from the steps; in bytes of JSON
LARGEST_OUTPUT = 16_384

#: records that wait for a Redis that is away; what comes on top is lost to watchers, who are told
MOST_WAITING = 10_000

#: seconds between two tries to reach Redis
PAUSE = 1.0

#: seconds that a watcher waits for the next event, below the socket's own timeout
PATIENCE = 3.0

_log = structlog.get_logger(__name__)

_Key = tuple[str, str]


class FeedEvent(Struct, frozen=True, kw_only=True):
    """One change, as it is told to watchers."""

    #: the place after it in the tenant's stream: its entry there and, where more of that follow, how many are told
    id: str
    #: `gap`: events are missing before this one
    type: Literal["execution", "step", "gap"]
    execution_id: str = ""
    #: of the execution's record; -1 where an attempt is told of
    seq: int = -1
    data: dict[str, Any] = {}


class FeedWriter:
    """Publishes committed records, in order, and wakes those who wait for their executions.

    `put` never waits and never fails; `run` does the work.
    """

    def __init__(self, redis: "Redis", vault: Vault) -> None:
        self._redis = redis
        self._vault = vault
        self._waiting: list[ExecutionRecord] = []
        #: tenants whose watchers have missed something
        self._missed: set[str] = set()
        #: execution → the highest seq that was told, and its status then
        self._told: Recent[_Key, tuple[int, str]] = Recent(10_000)
        self._awake = asyncio.Event()

    def put(self, records: Collection[ExecutionRecord]) -> None:
        """Publish soon what has just been committed."""
        room = MOST_WAITING - len(self._waiting)
        self._waiting += [*records][:room]
        self._miss([*records][room:])
        self._awake.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            await self._awake.wait()
            self._awake.clear()
            batch, self._waiting = self._waiting, []
            try:
                await self._publish(batch)
            except Exception as error:
                self._miss(batch)
                _log.warning("feed.missed", records=len(batch), error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(PAUSE)
                self._awake.set()

    def _miss(self, records: Sequence[ExecutionRecord]) -> None:
        FEED_LOST.inc(len(records))
        self._missed.update(record.tenant_id for record in records)

    async def _publish(self, records: Sequence[ExecutionRecord]) -> None:
        missed = set(self._missed)
        tenants = {record.tenant_id for record in records} | missed
        async with self._redis.pipeline(transaction=False) as pipeline:
            for record in records:
                word = b"" if record.closed_at is None else END
                pipeline.publish(channel_of(record.tenant_id, record.execution_id), word)
            for tenant_id in missed:
                pipeline.xadd(stream_of(tenant_id), {"gap": b""}, maxlen=LENGTH)
            for record in records:
                if events := [*self._events(record)]:
                    sealer = await self._vault.sealer(record.tenant_id)
                    # One entry: to seal and to publish costs by the piece.
                    fields: Any = {
                        "execution": record.execution_id,
                        "events": sealer.seal_json(events, _binding(record.execution_id)),
                    }
                    pipeline.xadd(stream_of(record.tenant_id), fields, maxlen=LENGTH)
            for tenant_id in tenants:
                pipeline.expire(stream_of(tenant_id), LIFETIME)
            await pipeline.execute()
        self._missed -= missed

    def _events(self, record: ExecutionRecord) -> Iterator[dict[str, Any]]:
        """Yield what is new in a record: the last one of an execution tells everything again."""
        key = (record.tenant_id, record.execution_id)
        told, status = self._told.get(key) or (-1, "")
        for step in record.steps:
            if record.seq < 0 or step.seq > told:
                yield {"type": "step", "seq": record.seq, "data": _step_data(record.execution_id, step)}
        if record.seq < told or record.seq < 0:
            return
        if record.status != status:
            yield {"type": "execution", "seq": record.seq, "data": _execution_data(record)}
        self._told.put(key, (record.seq, record.status))


class FeedReader:
    """Reads a tenant's feed from any place in it.

    Raises:
        FeedUnavailable: Redis cannot be reached.
    """

    def __init__(self, redis: "Redis", vault: Vault) -> None:
        self._redis = redis
        self._vault = vault

    async def end(self, tenant_id: str) -> str:
        """Return the place after the last event."""
        stream = stream_of(tenant_id)
        async with _reaching_redis():
            newest: Any = await self._redis.xrevrange(stream, count=1)
            if newest:
                return str(newest[0][0].decode())
            # A place in an empty stream could not be told from one in a stream that was lost.
            mark: Any = await self._redis.xadd(stream, {"mark": b""}, maxlen=LENGTH)
            await self._redis.expire(stream, LIFETIME)
            return str(mark.decode())

    async def holds(self, tenant_id: str, place: str) -> bool:
        """Return whether everything after `place` is still there."""
        stream = stream_of(tenant_id)
        async with _reaching_redis():
            oldest: Any = await self._redis.xrange(stream, count=1)
            newest: Any = await self._redis.xrevrange(stream, count=1)
        if not oldest:
            return False
        first, last = [_Entry.of(entries[0][0].decode()) for entries in (oldest, newest)]
        return first <= _entry_and_told(place)[0] <= last

    async def read(self, tenant_id: str, after: str, *, wait: bool = True) -> list[FeedEvent]:
        """Return events after a place, as soon as there are any; none come within `PATIENCE`, or without a `wait`."""
        entry, told = _entry_and_told(after)
        start = entry.before() if told else entry
        block = int(PATIENCE * 1000) if wait else None
        async with _reaching_redis():
            found: Any = await self._redis.xread({stream_of(tenant_id): str(start)}, count=200, block=block)
        sealer = await self._vault.sealer(tenant_id)
        events = []
        for entries in found.values() if isinstance(found, dict) else [entries for _, entries in found]:
            for id, fields in entries:
                new = _events_of(id.decode(), fields, sealer)
                events += new[told:] if _Entry.of(id.decode()) == entry else new
        return events


def _events_of(entry: str, fields: Mapping[bytes, bytes], sealer: Sealer) -> list[FeedEvent]:
    if b"mark" in fields:
        return []
    if b"events" not in fields:
        # A gap, or what another release wrote: watchers are to look at the rows.
        return [FeedEvent(id=entry, type="gap")]
    execution_id = fields[b"execution"].decode()
    events = sealer.open_json(fields[b"events"], _binding(execution_id))
    return [
        FeedEvent(id=entry if told == len(events) else f"{entry}.{told}", execution_id=execution_id, **event)
        for told, event in enumerate(events, 1)
    ]


@asynccontextmanager
async def _reaching_redis() -> AsyncIterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise FeedUnavailable from error


def _execution_data(record: ExecutionRecord) -> dict[str, Any]:
    return {
        "id": record.execution_id,
        "status": record.status,
        "error": record.error,
        "startedAt": record.started_at,
        "closedAt": record.closed_at,
        "historyEvents": record.history_events,
        "billableActions": record.billable_actions,
    } | _small_output(record.output)


def _step_data(execution_id: str, step: StepRecord) -> dict[str, Any]:
    return {
        "executionId": execution_id,
        "nodeId": step.node_id,
        "path": step.path,
        "status": step.status,
        "attempt": step.attempt,
        "port": step.port,
        "error": None if step.error is None else structs.asdict(step.error),
        "reason": step.reason,
        "startedAt": step.started_at,
        "closedAt": step.closed_at,
    } | _small_output(step.output)


def _small_output(output: Any) -> dict[str, Any]:
    encoded = msgspec.json.encode(output)
    return {"output": msgspec.Raw(encoded)} if len(encoded) <= LARGEST_OUTPUT else {}


def is_place(text: str) -> bool:
    """Return whether `text` could be the id of an event."""
    return _PLACE.fullmatch(text) is not None


def stream_of(tenant_id: str) -> str:
    return f"{tenant_id}:feed"


def _binding(execution_id: str) -> str:
    return f"feed.events:{execution_id}"


_PLACE = re.compile(r"[0-9]{1,19}-[0-9]{1,19}(\.[0-9]{1,9})?")


class _Entry(NamedTuple):
    """The id of an entry of a stream."""

    milliseconds: int
    number: int

    @classmethod
    def of(cls, id: str) -> Self:
        milliseconds, _, number = id.partition("-")
        return cls(int(milliseconds), int(number))

    def __str__(self) -> str:
        return f"{self.milliseconds}-{self.number}"

    def before(self) -> Self:
        """Return an id after which this one is the next."""
        if self.number:
            return self._replace(number=self.number - 1)
        return type(self)(self.milliseconds - 1, 2**64 - 1)


def _entry_and_told(place: str) -> tuple[_Entry, int]:
    """Return which entry a place is in, and how many of its events come before it; 0: all of them."""
    entry, _, told = place.partition(".")
    return _Entry.of(entry), int(told or 0)
