"""Cron triggers as Temporal Schedules, on a real server."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import ScheduleBackfill, ScheduleHandle
from temporalio.service import RPCError

from tests.user_workflows.drawing import node
from tests.user_workflows.lane import Lane
from user_workflows.executions.views import Execution
from user_workflows.triggers.schedules import Schedules

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def definition(**cron: Any) -> dict[str, Any]:
    return {
        "triggers": [{"id": "tick", "type": "cron", "config": {"cron": "*/10 * * * *", "overlap": "allow", **cron}}],
        "nodes": [node("say", values={"at": "{{ trigger.scheduledAt }}", "who": "{{ trigger.who }}"})],
    }


async def activate(lane: Lane, drawn: dict[str, Any]) -> tuple[str, ScheduleHandle]:
    workflow = await lane.publish(drawn)
    await lane.workflows.activate(lane.tenant_id, workflow)
    return workflow, lane.temporal.get_schedule_handle(f"{lane.tenant_id}/{workflow}/tick")


async def fired(lane: Lane, workflow: str, count: int) -> list[Execution]:
    """Wait until that many executions of a workflow have closed."""
    async with asyncio.timeout(60):
        while True:
            page = await lane.executions.list(lane.tenant_id, workflow_id=workflow)
            if len(page.items) >= count and all(item.is_closed for item in page.items):
                return list(page.items)
            await asyncio.sleep(0.05)


async def backfill(handle: ScheduleHandle, minutes: int) -> None:
    await handle.backfill(ScheduleBackfill(NOON - timedelta(seconds=1), NOON + timedelta(minutes=minutes, seconds=-1)))


async def test_each_firing_starts_one_execution_that_sees_its_nominal_time(lane: Lane) -> None:
    workflow, handle = await activate(lane, definition(payload={"who": "cron"}))
    await backfill(handle, 30)
    found = await fired(lane, workflow, 3)
    assert sorted(item.output["say"]["at"] for item in found) == [
        "2026-03-02T12:00:00Z",
        "2026-03-02T12:10:00Z",
        "2026-03-02T12:20:00Z",
    ]
    assert {item.output["say"]["who"] for item in found} == {"cron"}
    assert found[0].trigger == {"type": "cron", "id": "tick"}
    await lane.workflows.deactivate(lane.tenant_id, workflow)


async def test_a_firing_that_comes_twice_starts_one_execution(lane: Lane) -> None:
    workflow, handle = await activate(lane, definition(payload={"who": "x"}))
    await backfill(handle, 10)
    (first,) = await fired(lane, workflow, 1)
    await backfill(handle, 20)
    found = await fired(lane, workflow, 2)
    assert len(found) == 2
    assert first.id in {item.id for item in found}
    await lane.workflows.deactivate(lane.tenant_id, workflow)


async def test_overlap_skip_starts_nothing_while_an_earlier_firing_is_open(lane: Lane) -> None:
    drawn = definition(overlap="skip")
    drawn["nodes"] = [node("hold", "wait", signal="go")]
    workflow, handle = await activate(lane, drawn)
    await handle.trigger()
    async with asyncio.timeout(60):
        while not (open_ := (await lane.executions.list(lane.tenant_id, workflow_id=workflow)).items):
            await asyncio.sleep(0.05)
    await backfill(handle, 30)
    async with asyncio.timeout(60):
        while (await handle.describe()).info.num_actions < 4 or (await handle.describe()).info.running_actions:
            await asyncio.sleep(0.05)
    page = await lane.executions.list(lane.tenant_id, workflow_id=workflow)
    assert [item.id for item in page.items] == [open_[0].id]
    await lane.executions.signal(lane.tenant_id, open_[0].id, "go")
    await lane.workflows.deactivate(lane.tenant_id, workflow)


def holding(policy: str) -> dict[str, Any]:
    drawn = definition(overlap="allow") | {"concurrency": {"limit": 1, "policy": policy}}
    return drawn | {"nodes": [node("hold", "wait", signal="go")]}


async def firings(lane: Lane, workflow: str, handle: ScheduleHandle, count: int) -> list[Execution]:
    """Let a schedule fire, one time after the other, and return what became of each firing, the first one first."""
    for done in range(count):
        at = NOON + timedelta(minutes=10 * done)
        await handle.backfill(ScheduleBackfill(at - timedelta(seconds=1), at + timedelta(seconds=1)))
        async with asyncio.timeout(60):
            while len((await lane.executions.list(lane.tenant_id, workflow_id=workflow)).items) <= done:
                await asyncio.sleep(0.05)
    await lane.workflows.deactivate(lane.tenant_id, workflow)
    found = (await lane.executions.list(lane.tenant_id, workflow_id=workflow)).items
    assert [each.input["scheduledAt"] for each in found] == [
        f"2026-03-02T12:{minute}:00Z" for minute in ("00", "10", "20", "30")[count - 1 :: -1]
    ]
    return [await lane.executions.get(lane.tenant_id, each.id) for each in reversed(found)]


async def let_go(lane: Lane, execution: Execution) -> Execution:
    await lane.executions.signal(lane.tenant_id, execution.id, "go")
    return await lane.finish(execution)


async def test_firings_over_a_cap_queue_in_their_order(lane: Lane) -> None:
    workflow, handle = await activate(lane, holding("queue"))
    first, *others = await firings(lane, workflow, handle, 3)
    assert [each.queue and each.queue.position for each in (first, *others)] == [None, 1, 2]
    for each in (first, *others):
        assert (await let_go(lane, each)).status == "completed"


async def test_firings_over_a_cap_are_skipped_and_say_so(lane: Lane) -> None:
    workflow, handle = await activate(lane, holding("skip"))
    first, *others = await firings(lane, workflow, handle, 3)
    for each in others:
        assert (each.status, each.error and each.error.type) == ("canceled", "admission.skipped")
    assert (await let_go(lane, first)).status == "completed"


async def test_firings_over_a_cap_are_refused_and_say_so(lane: Lane) -> None:
    workflow, handle = await activate(lane, holding("reject"))
    first, second = await firings(lane, workflow, handle, 2)
    assert (second.status, second.error and second.error.type) == ("canceled", "admission.rejected")
    assert (await let_go(lane, first)).status == "completed"


async def test_firings_over_a_cap_take_the_place_of_the_oldest(lane: Lane) -> None:
    workflow, handle = await activate(lane, holding("replaceOldest"))
    *others, last = await firings(lane, workflow, handle, 4)
    for each in others:
        replaced = await lane.finish(each)
        assert replaced.status == "canceled"
        assert replaced.error is not None
        assert replaced.error.type in ("execution.canceled", "admission.replaced")
    assert (await let_go(lane, last)).status == "completed"


async def test_a_schedule_that_was_left_behind_starts_nothing(lane: Lane) -> None:
    workflow, handle = await activate(lane, definition())
    published = await lane.workflows.plan(lane.tenant_id, workflow)
    await lane.workflows.deactivate(lane.tenant_id, workflow)
    await Schedules(lane.temporal).put(lane.tenant_id, workflow, published.definition.triggers[0])
    await backfill(handle, 10)
    async with asyncio.timeout(60):
        while (info := (await handle.describe()).info).num_actions < 1 or info.running_actions:
            await asyncio.sleep(0.05)
    assert (await lane.executions.list(lane.tenant_id, workflow_id=workflow)).items == ()
    await handle.delete()


async def test_the_schedule_follows_activation_new_versions_and_deactivation(lane: Lane) -> None:
    workflow, handle = await activate(lane, definition(timezone="America/New_York"))
    described = await handle.describe()
    assert described.schedule.spec.time_zone_name == "America/New_York"
    assert described.schedule.policy.catchup_window == timedelta(minutes=10)
    await lane.workflows.put_draft(lane.tenant_id, workflow, definition(timezone="Europe/Berlin", catchUp="1h"), None)
    await lane.workflows.publish(lane.tenant_id, workflow)
    described = await handle.describe()
    assert described.schedule.spec.time_zone_name == "Europe/Berlin"
    assert described.schedule.policy.catchup_window == timedelta(hours=1)
    await lane.workflows.deactivate(lane.tenant_id, workflow)
    with pytest.raises(RPCError, match="not found"):
        await handle.describe()
