"""The live feed: nothing that a watcher needs is lost unsaid."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from plugins.storage.database import Database
from plugins.storage.tenants import create_tenant
from plugins.vault.keys import MasterKey, Vault
from tests.servers import running, valkey_server
from user_workflows.errors import FeedUnavailable
from user_workflows.interpreter.messages import ExecutionRecord, StepRecord
from user_workflows.live.feed import LARGEST_OUTPUT, FeedEvent, FeedReader, FeedWriter, is_place, stream_of

AT = datetime(2026, 1, 1, tzinfo=UTC)


def record(tenant_id: str, seq: int, *steps: StepRecord, **values: Any) -> ExecutionRecord:
    status = values.pop("status", "running")
    return ExecutionRecord(
        tenant_id=tenant_id, execution_id="ex_1", seq=seq, status=status, started_at=AT, steps=steps, **values
    )


def step(seq: int, node_id: str = "a", **values: Any) -> StepRecord:
    return StepRecord(node_id=node_id, seq=seq, status=values.pop("status", "completed"), **values)


class Feed:
    """A feed of one tenant over a server of its own, which the test starts."""

    def __init__(self, tenant_id: str, vault: Vault, folder: Path) -> None:
        self.tenant_id = tenant_id
        self.server = valkey_server(folder)
        self.redis = Redis.from_url(self.server.url, retry=Retry(NoBackoff(), 0))
        self.writer = FeedWriter(self.redis, vault)
        self.reader = FeedReader(self.redis, vault)

    async def read_until(self, place: str, is_last: Callable[[FeedEvent], bool]) -> list[FeedEvent]:
        """Read from a place on, up to an event."""
        events: list[FeedEvent] = []
        async with asyncio.timeout(60):
            while not any(map(is_last, events)):
                events += await self.reader.read(self.tenant_id, events[-1].id if events else place)
        return events


@pytest.fixture
async def feed(database: Database, tmp_path: Path) -> AsyncIterator[Feed]:
    vault = Vault(database, MasterKey.load_or_create(tmp_path / "master.json"))
    async with database.across.transaction() as connection:
        tenant = await create_tenant(connection, "Acme")
    feed = Feed(tenant.id, vault, tmp_path)
    publishing = asyncio.create_task(feed.writer.run())
    yield feed
    publishing.cancel()
    with suppress(asyncio.CancelledError):
        await publishing
    await feed.redis.aclose()


async def test_what_is_late_and_what_is_repeated_is_not_told_again(feed: Feed) -> None:
    with running(feed.server):
        place = await feed.reader.end(feed.tenant_id)
        large = "x" * LARGEST_OUTPUT
        feed.writer.put(
            [
                record(feed.tenant_id, 1_000, step(1_000, output={"n": 1})),
                record(feed.tenant_id, 3_000, step(1_000), step(3_000, "b", output=large)),
                record(feed.tenant_id, 2_000, step(2_000)),
                record(feed.tenant_id, 4_000, step(1_000), step(3_000, "b"), status="completed", output=[1]),
            ]
        )
        events = await feed.read_until(place, lambda event: event.data.get("output") == [1])
        # From any place on, the same events follow.
        for number, event in enumerate(events, 1):
            if number < len(events):
                assert await feed.reader.read(feed.tenant_id, event.id) == events[number:]
            assert await feed.reader.holds(feed.tenant_id, event.id)
        assert not await feed.reader.holds(feed.tenant_id, "1-0")
        assert not await feed.reader.holds(feed.tenant_id, "99999999999999-0")
    assert [(event.type, event.data.get("nodeId"), event.data["status"]) for event in events] == [
        ("step", "a", "completed"),
        ("execution", None, "running"),
        ("step", "b", "completed"),
        ("execution", None, "completed"),
    ]
    assert events[0].data["output"] == {"n": 1}
    assert "output" not in events[2].data


async def test_what_another_release_wrote_is_a_gap(feed: Feed) -> None:
    with running(feed.server):
        place = await feed.reader.end(feed.tenant_id)
        await feed.redis.xadd(stream_of(feed.tenant_id), {"execution": "ex_1", "event": b"sealed otherwise"})
        (event,) = await feed.reader.read(feed.tenant_id, place)
    assert event.type == "gap"


@pytest.mark.parametrize("text", ["", "1", "1-", "-1", "1-1.", "1-1.1.1", "1-1x", "٣-1", "1" * 30 + "-1"])
def test_what_is_no_place(text: str) -> None:
    assert not is_place(text)


async def test_an_outage_leaves_a_gap(feed: Feed) -> None:
    with pytest.raises(FeedUnavailable):
        await feed.reader.end(feed.tenant_id)
    lost = _lost()
    feed.writer.put([record(feed.tenant_id, 1_000, step(1_000))])
    async with asyncio.timeout(60):
        while _lost() == lost:
            await asyncio.sleep(0.01)
    with running(feed.server):
        events = await feed.read_until("0-0", lambda event: event.type == "gap")
    assert len(events) == 1


def _lost() -> float | None:
    return REGISTRY.get_sample_value("executions_feed_lost_total")
