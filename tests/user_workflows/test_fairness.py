"""Fairness: one tenant's flood does not hold up another's few executions, and a bounded part of the worker is its own.

The machine is shared with other work, so what is compared are times within one run: under the flood against idle.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from statistics import median
from typing import Any

import pytest
from msgspec import structs

from plugins.storage.database import Database
from plugins.storage.tenants import create_tenant
from tests.sqlite import new_sqlite
from tests.user_workflows.drawing import edges, node
from tests.user_workflows.lane import Lane, open_lane
from user_workflows.activities import segment
from user_workflows.errors import EngineUnavailable
from user_workflows.executions.beginnings import StartRequest
from user_workflows.fairness import intake
from user_workflows.fairness.allowance import LESSER, MODEST
from user_workflows.interpreter.messages import TriggerCall, workflow_id

#: what is held against each of the light tenant's executions, in seconds and as a multiple of the slowest while idle
FLOOR, TIMES = 1.0, 3.0

#: how often each is measured; the median counts
ROUNDS = 3

#: a segment that runs as a local activity, past the server's fairness; a step that is an activity; and one after it
DRAWN = {
    "nodes": [
        node("quick", "test.unsteady", name="q"),
        node("act", "test.flaky") | {"isolate": True},
        node("end", values={"done": True}),
    ],
    "edges": edges("quick>act", "act>end"),
}


@pytest.fixture
async def lane(temporal_address: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lane]:
    folder = tmp_path_factory.mktemp("fairness")
    database = Database(new_sqlite(folder / "gateway.db"))
    async with open_lane(database, temporal_address, folder) as opened:
        yield opened
    await database.close()


class Tenant:
    """One of several tenants of a lane."""

    def __init__(self, lane: Lane, id: str, workflow_id: str) -> None:
        self._lane = lane
        self.id = id
        self._request = StartRequest(workflow_id=workflow_id, trigger=TriggerCall(type="event", id="flood"))

    @classmethod
    async def create(cls, lane: Lane, name: str, drawn: Any) -> "Tenant":
        async with lane.database.across.transaction() as connection:
            tenant = await create_tenant(connection, name)
        workflow = await lane.workflows.create(tenant.id, name=name, definition=drawn)
        await lane.workflows.publish(tenant.id, workflow.id)
        return cls(lane, tenant.id, workflow.id)

    async def flood(self, count: int) -> None:
        requests = [structs.replace(self._request, key=f"flood:{number}") for number in range(count)]
        for begun in range(0, count, 100):
            # What a busy server does not take in time has its row, and is started by the sweep.
            with suppress(EngineUnavailable):
                await self._lane.executions.start_many(self.id, requests[begun : begun + 100])

    async def run(self) -> float:
        """Start one execution, wait for its end, and return how long it took."""
        began = time.perf_counter()
        (execution,) = await self._lane.executions.start_many(self.id, [self._request])
        ended = await self._lane.executions.wait(self.id, execution.id, 120)
        assert ended.status == "completed", ended
        return time.perf_counter() - began

    async def open(self) -> int:
        return sum(
            [
                len((await self._lane.executions.list(self.id, status=status, limit=10_000)).items)
                for status in ("queued", "running")
            ]
        )


async def round_of_ten(tenant: Tenant) -> float:
    """Start ten at once, and return how long the slowest took."""
    return max(await asyncio.gather(*(tenant.run() for _ in range(10))))


@pytest.mark.parametrize(
    ("count", "is_timed"),
    [
        # Beside the other tests its times say little; who was served before whom does.
        pytest.param(300, False, id="short"),
        pytest.param(2_000, True, id="long", marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
    ],
)
async def test_a_flood_of_one_tenant_does_not_hold_up_the_ten_of_another(
    lane: Lane, *, count: int, is_timed: bool
) -> None:
    heavy, light = [await Tenant.create(lane, name, DRAWN) for name in ("heavy", "light")]
    await light.run()
    idle = [await round_of_ten(light) for _ in range(ROUNDS)]
    idle_alone = [await light.run() for _ in range(ROUNDS)]
    await heavy.flood(count)
    before = await heavy.open()
    under = [await round_of_ten(light) for _ in range(ROUNDS)]
    behind = await heavy.open()
    under_alone = [await light.run() for _ in range(ROUNDS)]
    limit, limit_alone = max(TIMES * median(idle), FLOOR), max(TIMES * median(idle_alone), FLOOR)
    print(
        f"\nflood of {count}, of which {before} were open before and {behind} after thirty: the slowest of ten"
        f" took {_seconds(idle)} s idle and {_seconds(under)} s under it, {median(under) / median(idle):.1f} times"
        f" (wanted: {limit:.2f} s); one at a time {_seconds(idle_alone)} and {_seconds(under_alone)} s,"
        f" {median(under_alone) / median(idle_alone):.1f} times (wanted: {limit_alone:.2f} s)"
    )
    # In the order of their starts, all of the flood would have come first.
    assert behind > count / 3
    if is_timed:
        assert median(under) <= limit
        assert median(under_alone) <= limit_alone
        async with asyncio.timeout(600):
            while await heavy.open():
                await asyncio.sleep(1)


def _seconds(rounds: list[float]) -> str:
    return "/".join(f"{each:.2f}" for each in rounds)


async def test_what_a_tenant_starts_beyond_its_allowance_weighs_less(lane: Lane) -> None:
    tenant = await Tenant.create(lane, "heavy", {"nodes": [node("done", values={})]})
    count = 2 * int(MODEST.burst)
    began = time.monotonic()
    await tenant.flood(count)
    allowed = MODEST.burst + MODEST.rate * (time.monotonic() - began)
    weights: Counter[float] = Counter()
    for each in (await lane.executions.list(tenant.id, limit=count)).items:
        described = await lane.temporal.get_workflow_handle(workflow_id(tenant.id, each.id)).describe()
        weights[described.raw_description.workflow_execution_info.priority.fairness_weight] += 1
    assert weights.keys() == {1.0, LESSER}
    assert MODEST.burst <= weights[1.0] <= allowed


async def test_of_local_segments_each_tenant_has_a_part(lane: Lane) -> None:
    """Local work bypasses the server: what a tenant has too many of goes to the queue of steps, and ends there."""
    drawn = {"nodes": [node("slow", "test.gate", name="local")]}
    heavy, light = [await Tenant.create(lane, name, drawn) for name in ("heavy", "light")]
    await heavy.flood(3 * segment.LOCAL_PER_TENANT)
    await lane.gates.arrived("local")
    quick = await Tenant.create(lane, "quick", {"nodes": [node("quick", "test.unsteady", name="q")]})
    taken = [await quick.run() for _ in range(5)]
    print(f"\nbehind {3 * segment.LOCAL_PER_TENANT} slow local segments: {_seconds(taken)} s each")
    # None of it waits for a slow one to end, which would be after its budget at the soonest.
    assert median(taken) < 1.5
    lane.gates.at("local").set()
    assert await light.run() < 60


async def test_steps_that_wait_elsewhere_do_not_keep_others_from_beginning(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While tenants contend for it a worker takes few steps at a time, but holds as many slow ones as ever."""
    monkeypatch.setattr(intake.Contention, "ease", lambda _: 0.0)
    count = 3 * intake.FEW_STEPS
    gates = [node(f"slow{number}", "test.gate", name=f"{number}") | {"isolate": True} for number in range(count)]
    tenant = await Tenant.create(lane, "slow", {"nodes": gates})
    waiting = asyncio.create_task(tenant.run())
    async with asyncio.timeout(60):
        for number in range(count):
            await lane.gates.arrived(f"{number}")
    for number in range(count):
        lane.gates.at(f"{number}").set()
    await waiting
