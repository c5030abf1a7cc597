"""Tiers: what a tenant is granted travels with its executions, wherever they go, and changes live."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from msgspec import Struct
from sqlalchemy import delete
from temporalio import activity, workflow
from temporalio.api.common.v1 import Priority
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.common import Priority as TaskPriority
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from plugins import Context, plugin
from plugins.storage.database import Database, now
from plugins.storage.tenants import create_tenant
from tests.sqlite import new_sqlite
from tests.user_workflows.drawing import edges, node
from tests.user_workflows.lane import Lane, Place, open_lane
from user_workflows.executions.beginnings import StartRequest
from user_workflows.executions.views import Execution
from user_workflows.fairness import tiers
from user_workflows.fairness.shares import Shares
from user_workflows.fairness.stranded import look_at_queues
from user_workflows.fairness.tiers import Tier, Tiers, tenant_tiers
from user_workflows.interpreter.messages import TriggerCall, workflow_id
from user_workflows.interpreter.queues import INTERACTIVE, ORDINARY, dedicated_queue, queue_of_steps, step_queue
from user_workflows.records.watchdog import find_trouble

ALONE = {"isolate": True}
GATE = {"nodes": [node("gate", "test.gate", name="tier") | ALONE]}


class Nothing(Struct, forbid_unknown_fields=True):
    pass


@plugin("test.order", version="1.0.0", effect="idempotent")
async def order(config: Nothing, ctx: Context) -> list[Any]:
    """Tell by what the server ordered this call."""
    priority = activity.info().priority
    return [priority.priority_key, priority.fairness_weight]


ORDER = node("order", "test.order")


@pytest.fixture(scope="module")
async def mine(temporal_address: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lane]:
    folder = tmp_path_factory.mktemp("tiers")
    database = Database(new_sqlite(folder / "gateway.db"))
    async with open_lane(database, temporal_address, folder, history_limit=12, plugins=[order]) as lane:
        yield lane
    await database.close()


@pytest.fixture(autouse=True)
def _read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test wait for what another has read."""
    monkeypatch.setattr(tiers, "HOLDS", 0.2)


async def test_a_tenant_without_a_tier_is_as_most_are(database: Database) -> None:
    async with database.across.transaction() as connection:
        ids = [(await create_tenant(connection, name)).id for name in "abc"]
    kept = Tiers(database)
    assert await kept.get(ids[0]) == Tier(tier="standard", weight=None, queue=None)
    for tier in (Tier(tier="premium", queue="gold"), Tier(tier="basic", weight=2.5, queue="gold")):
        for id in ids[:2]:
            await kept.put(id, tier)
            assert await kept.of(id) == await Tiers(database).get(id) == tier
    assert (await kept.queues(), await kept.of(ids[2])) == ({"gold": 2}, Tier())


async def start(lane: Lane, workflow: str, *, is_urgent: bool = False) -> Execution:
    trigger = TriggerCall(type="manual")
    request = StartRequest(workflow_id=workflow, trigger=trigger, is_urgent=is_urgent)
    (execution,) = await lane.executions.start_many(lane.tenant_id, [request])
    return execution


async def grant(lane: Lane, tier: Tier) -> None:
    """Grant a lane's tenant a tier, and wait until it counts."""
    await Tiers(lane.database).put(lane.tenant_id, tier)
    await asyncio.sleep(tiers.HOLDS)


async def output(lane: Lane, definition: Any, *, is_urgent: bool) -> Any:
    execution = await lane.finish(await start(lane, await lane.publish(definition), is_urgent=is_urgent))
    assert execution.status == "completed"
    return execution.output


async def priority(lane: Lane, execution: Execution) -> Priority:
    handle = lane.temporal.get_workflow_handle(workflow_id(lane.tenant_id, execution.id))
    return (await handle.describe()).raw_description.workflow_execution_info.priority


async def test_priority_and_weight_travel_to_calls_and_further_runs(mine: Lane) -> None:
    await grant(mine, Tier(tier="premium"))
    calls = [node(f"a{number}", "test.order") | ALONE for number in range(6)]
    chain = edges(*(f"a{number}>a{number + 1}" for number in range(5)))
    collect = node("all", values={f"a{n}": f"{{{{ nodes.a{n}.output }}}}" for n in range(6)})
    workflow = await mine.publish({"nodes": [*calls, collect], "edges": [*chain, *edges("a5>all")]})
    for is_urgent, key in ((True, INTERACTIVE), (False, ORDINARY)):
        execution = await mine.finish(await start(mine, workflow, is_urgent=is_urgent))
        assert execution.output["all"] == {f"a{number}": [key, 4.0] for number in range(6)}
        assert await priority(mine, execution) == Priority(
            priority_key=key, fairness_key=mine.tenant_id, fairness_weight=4.0
        )
        # It went on in a further run: one alone has few events.
        assert (execution.history_events or 0) > 40
    await grant(mine, Tier())


async def test_a_chain_that_acts_is_as_urgent_as_its_execution(mine: Lane) -> None:
    drawn = {"nodes": [node("echo", "test.echo", value=1), ORDER], "edges": edges("echo>order")}
    assert await output(mine, drawn, is_urgent=True) == {"order": [INTERACTIVE, 1.0]}


async def test_what_a_loop_does_is_never_urgent(mine: Lane) -> None:
    for body in (ORDER, ORDER | ALONE):
        loop = node("each", "foreach", items="{{ [1] }}", nodes=[body], edges=[], result="{{ nodes.order.output }}")
        assert await output(mine, {"nodes": [loop]}, is_urgent=True) == {"each": [[ORDINARY, 1.0]]}


async def test_what_an_urgent_execution_waits_for_is_urgent_too(mine: Lane) -> None:
    child = await mine.publish({"nodes": [ORDER]})
    call = node("call", "workflow.call", workflowId=child)
    for is_urgent, key in ((True, INTERACTIVE), (False, ORDINARY)):
        assert await output(mine, {"nodes": [call]}, is_urgent=is_urgent) == {"call": {"order": [key, 1.0]}}
    detached = node("call", "workflow.call", workflowId=child, mode="detach")
    left = await output(mine, {"nodes": [detached]}, is_urgent=True)
    assert (await priority(mine, await mine.executions.get(mine.tenant_id, left["call"]))).priority_key == ORDINARY


async def test_a_tier_changes_live(mine: Lane) -> None:
    workflow = await mine.publish({"nodes": [node("done", values={})]})

    async def weight() -> float:
        return (await priority(mine, await start(mine, workflow))).fairness_weight

    assert await weight() == 1.0
    for tier, wanted in ((Tier(tier="basic"), 0.25), (Tier(tier="basic", weight=7.5), 7.5), (Tier(), 1.0)):
        await Tiers(mine.database).put(mine.tenant_id, tier)
        async with asyncio.timeout(60):
            while await weight() != wanted:
                await asyncio.sleep(0.05)


@workflow.defn(name="test.twice", sandboxed=False)
class Twice:
    """An execution that is open when the tier of its tenant changes."""

    def __init__(self) -> None:
        self._goes_on = False

    @workflow.run
    async def run(self, tenant_id: str) -> None:
        await workflow.wait_condition(lambda: self._goes_on)
        await workflow.execute_activity(
            "test.note", tenant_id, task_queue=step_queue(), start_to_close_timeout=timedelta(seconds=30)
        )

    @workflow.signal
    def go_on(self) -> None:
        self._goes_on = True


async def test_a_changed_tier_counts_for_what_open_executions_do_next(mine: Lane) -> None:
    client, database = mine.temporal, mine.database
    async with database.across.transaction() as connection:
        ids = [(await create_tenant(connection, name)).id for name in "ab"]
    kept, queue, order = Tiers(database), dedicated_queue("few"), list[str]()
    shares = Shares(kept, client, queue)

    @activity.defn(name="test.note")
    async def note(tenant_id: str) -> None:
        order.append(tenant_id)

    runner = UnsandboxedWorkflowRunner()
    async with Worker(client, task_queue=queue, workflows=[Twice], workflow_runner=runner):
        handles = [
            await client.start_workflow(
                "test.twice",
                tenant_id,
                id=f"{tenant_id}/{number}",
                task_queue=queue,
                priority=TaskPriority(fairness_key=tenant_id, fairness_weight=1.0),
            )
            for number in range(20)
            for tenant_id in ids
        ]
        await kept.put(ids[1], Tier(weight=9))
        await shares.settle()
        for handle in handles:
            await handle.signal("go_on")
        # All of them wait, then one worker takes one after the other.
        for handle in handles:
            while not (await handle.describe()).raw_description.pending_activities:
                await asyncio.sleep(0.02)
        async with Worker(client, task_queue=queue_of_steps(queue), activities=[note], max_concurrent_activities=1):
            await asyncio.gather(*(handle.result() for handle in handles))
    assert order[:20].count(ids[1]) >= 16, "nine of ten, instead of every other"

    held = partial(shares.held, queue, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW)
    assert (await held())[ids[1]] == 9.0
    async with database.across.transaction() as connection:
        await connection.execute(delete(tenant_tiers).where(tenant_tiers.c.tenant_id == ids[1]))
    await shares.settle()
    assert ids[1] not in await held()


async def test_executions_of_a_tenant_with_workers_of_its_own_run_there_and_say_when_there_are_none(
    mine: Lane, temporal_address: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("shared")
    async with open_lane(mine.database, temporal_address, folder) as shared:
        before = await start(shared, await shared.publish(GATE))
        await grant(shared, Tier(queue="gold"))
        workflow = await shared.publish({"nodes": [node("echo", "test.echo", value=1), node("act", "test.flaky")]})
        stranded = await start(shared, workflow)
        handle = shared.temporal.get_workflow_handle(workflow_id(shared.tenant_id, stranded.id))
        trouble = find_trouble(await handle.describe(), now() + timedelta(hours=1))
        assert trouble is not None
        assert "no user-workflows worker with --queue gold has taken it up" in trouble.reason
        assert [(each.name, each.tenants, each.is_served) for each in await seen(shared)] == [
            (None, 0, True),
            ("gold", 1, False),
        ]
        place, queue = Place(shared.tenant_id, shared.temporal.namespace), dedicated_queue("gold")
        async with open_lane(mine.database, temporal_address, folder, like=place, queue=queue) as gold:
            assert (await gold.finish(stranded)).status == "completed"
            assert [each.is_served for each in await seen(shared)] == [True, True]
            # What began on the shared queue ends there.
            shared.gates.at("tier").set()
            assert (await shared.finish(before)).status == "completed"
            # A tenant that has it no more: what is open there still has to be served.
            waiting = await start(shared, await shared.publish({"nodes": [node("hold", "wait", signal="go")]}))
            await grant(shared, Tier())
            async with asyncio.timeout(60):
                while (await seen(shared))[1:] == ():
                    await asyncio.sleep(0.1)
            (left,) = (await seen(shared))[1:]
            assert (left.name, left.tenants, left.is_in_use, left.is_served) == ("gold", 0, True, True)
            await shared.executions.terminate(shared.tenant_id, waiting.id)


async def seen(lane: Lane) -> Any:
    return await look_at_queues(lane.temporal, await Tiers(lane.database).queues())
