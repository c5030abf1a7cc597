"""Starts that are cut off: nothing runs twice, nothing stays in the dark."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from plugins.storage.blobs import Blobs
from plugins.storage.database import Database, now
from tests.servers import free_port_now
from tests.user_workflows.drawing import node
from tests.user_workflows.lane import Lane, open_lane
from user_workflows.client import connect
from user_workflows.errors import Conflict, EngineUnavailable, NotFound
from user_workflows.executions.retries import Retries
from user_workflows.executions.starts import Starts
from user_workflows.executions.tables import executions
from user_workflows.interpreter.messages import Seed, TriggerCall
from user_workflows.records.reconcile import Reconciler

MANUAL = TriggerCall(type="manual", payload={"n": 1})


class Cut:
    """The same tenant and database, but a Temporal that is not there."""

    def __init__(self, lane: Lane, starts: Starts, reconciler: Reconciler, database: Database) -> None:
        self.lane = lane
        self.starts = starts
        #: over the real Temporal
        self.reconciler = reconciler
        self.database = database

    async def start(self, workflow: str, key: str | None) -> str:
        """Try to start, fail, and return the id of the row that is left."""
        async with asyncio.timeout(5):
            with pytest.raises(EngineUnavailable):
                await self.starts.start(self.lane.tenant_id, workflow, trigger=MANUAL, key=key)
        async with self.database.across.read() as connection:
            mine = select(executions.c.id).where(executions.c.workflow_id == workflow)
            return str((await connection.execute(mine)).scalar_one())

    async def sweep_later(self) -> None:
        """Let a few minutes pass for the rows, and sweep."""
        earlier = now() - timedelta(minutes=5)
        async with self.database.across.transaction() as connection:
            await connection.execute(update(executions).values(created_at=earlier, due_at=earlier, checked_at=earlier))
        await self.reconciler.sweep()


@pytest.fixture
async def cut(database: Database, temporal_address: str, tmp_path: Path) -> AsyncIterator[Cut]:
    async with open_lane(database, temporal_address, tmp_path) as lane:
        absent = await connect(
            lane.vault, Blobs(lane.database), {"TEMPORAL_ADDRESS": f"127.0.0.1:{free_port_now()}"}, lazy=True
        )
        starts = Starts(
            database=database,
            vault=lane.vault,
            workflows=lane.workflows,
            temporal=absent,
            reception=lane.starts.reception,
        )
        reconciler = Reconciler(database=database, vault=lane.vault, temporal=lane.temporal, starts=lane.starts)
        yield Cut(lane, starts, reconciler, database)


async def test_a_start_with_a_key_that_was_cut_off_is_made_up_for_by_the_sweep(cut: Cut) -> None:
    workflow = await cut.lane.publish({"nodes": [node("a", values={"n": "{{ input.n }}"})]})
    left = await cut.start(workflow, key="api:1")
    await cut.sweep_later()
    finished = await cut.lane.finish(await cut.lane.executions.get(cut.lane.tenant_id, left))
    assert finished.output == {"a": {"n": 1}}


async def test_a_start_with_a_key_that_was_cut_off_is_made_up_for_by_the_same_request(cut: Cut) -> None:
    workflow = await cut.lane.publish({"nodes": [node("a", values={})]})
    left = await cut.start(workflow, key="api:2")
    again = await cut.lane.start(workflow, key="api:2")
    assert again.id == left
    assert (await cut.lane.finish(again)).status == "completed"


async def test_a_start_without_a_key_that_was_cut_off_is_closed_as_failed(cut: Cut) -> None:
    workflow = await cut.lane.publish({"nodes": [node("a", values={})]})
    left = await cut.start(workflow, key=None)
    await cut.sweep_later()
    execution = await cut.lane.executions.get(cut.lane.tenant_id, left)
    assert execution.status == "failed"
    assert execution.error is not None
    assert execution.error.type == "start.unavailable"


async def test_a_retry_that_was_cut_off_is_made_up_for_by_the_sweep(cut: Cut) -> None:
    lane = cut.lane
    definition = {"nodes": [node("bad", "test.unsteady", name="cut", failures=1, retry={"maxAttempts": 1})]}
    failed = await lane.run(definition)
    ended = await lane.executions.ended_run_id(lane.tenant_id, failed.id)
    published = await lane.workflows.plan(lane.tenant_id, failed.workflow_id)
    retries = Retries(lane.database, lane.vault, cut.starts)
    with pytest.raises(EngineUnavailable):
        await retries.begin(lane.tenant_id, failed.id, published.plan, Seed(), ended_run_id=ended)
    await cut.reconciler.repair(lane.tenant_id, failed.id)
    assert (await lane.executions.get(lane.tenant_id, failed.id)).status == "queued", "the run before is not its end"
    await cut.sweep_later()
    assert (await lane.finish(failed)).output == {"bad": 2}


async def test_a_record_that_lost_its_end_is_repaired_when_it_is_read(cut: Cut) -> None:
    workflow = await cut.lane.publish({"nodes": [node("hold", "wait", signal="never")]})
    execution = await cut.lane.start(workflow)
    handle = cut.lane.temporal.get_workflow_handle(f"{cut.lane.tenant_id}/{execution.id}")
    async with asyncio.timeout(60):
        # Else what it tells of itself could come after the end, and make the record look fresh.
        while (await cut.lane.executions.get(cut.lane.tenant_id, execution.id)).status != "running":
            await asyncio.sleep(0.01)
    await handle.terminate()
    async with cut.database.across.transaction() as connection:
        await connection.execute(update(executions).values(checked_at=now() - timedelta(seconds=10)))
    assert (await cut.lane.executions.get(cut.lane.tenant_id, execution.id)).status == "terminated"


async def test_closed_executions_are_purged_and_open_ones_kept(cut: Cut) -> None:
    done = await cut.lane.run({"nodes": [node("a", values={})]})
    held = await cut.lane.start(await cut.lane.publish({"nodes": [node("hold", "wait", signal="never")]}), tags=["x"])
    assert await cut.lane.executions.purge(now() + timedelta(seconds=1)) == 1
    with pytest.raises(NotFound):
        await cut.lane.executions.get(cut.lane.tenant_id, done.id)
    await cut.lane.executions.terminate(cut.lane.tenant_id, held.id)


async def test_nothing_published_and_nothing_there_are_said_before_a_row_is_written(cut: Cut) -> None:
    draft = await cut.lane.workflows.create(cut.lane.tenant_id, name="draft", definition={"nodes": []})
    with pytest.raises(Conflict):
        await cut.lane.start(draft.id)
    with pytest.raises(NotFound):
        await cut.lane.start("wf_absent")
    page = await cut.lane.executions.list(cut.lane.tenant_id)
    assert page.items == ()
