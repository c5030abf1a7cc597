"""An execution that does not move when it should is found, explained in its record, and let go when it moves again."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

from plugins.storage.database import Database, now
from tests.user_workflows.drawing import node
from tests.user_workflows.lane import Lane, open_lane
from user_workflows.executions.executions import Executions
from user_workflows.executions.explainer import Explainer
from user_workflows.executions.views import Stuck
from user_workflows.interpreter.messages import EXECUTION, StartExecution, TriggerCall, workflow_id
from user_workflows.interpreter.queues import EXECUTION_QUEUE
from user_workflows.plan.model import Plan, PlanNode
from user_workflows.records.reconcile import Reconciler
from user_workflows.records.watchdog import Trouble, find_trouble


async def trouble_with(lane: Lane, plan_node: PlanNode) -> Trouble:
    """Start a plan that no release compiles, and return the trouble that it gets into."""
    start = StartExecution(
        tenant_id=lane.tenant_id,
        execution_id="ex_watched",
        workflow_id="wf_watched",
        version=1,
        origin_id="ex_watched",
        trigger=TriggerCall(type="manual", payload=[1]),
        plan=Plan(evaluator=1, nodes=(plan_node,), edges=(), variables={}),
    )
    handle = await lane.temporal.start_workflow(
        EXECUTION, start, id=workflow_id(lane.tenant_id, "ex_watched"), task_queue=EXECUTION_QUEUE
    )
    try:
        async with asyncio.timeout(60):
            while (trouble := find_trouble(await handle.describe(), now())) is None:
                await asyncio.sleep(0.05)
        return trouble
    finally:
        await handle.terminate()


async def test_an_execution_that_no_worker_takes_up_says_so(
    database: Database, temporal_address: str, tmp_path: Path
) -> None:
    async with open_lane(database, temporal_address, tmp_path) as lane:
        workflow = await lane.publish({"nodes": [node("done", values={})]})
    execution = await lane.start(workflow)

    parts: dict[str, Any] = {
        "database": database,
        "vault": lane.vault,
        "temporal": lane.temporal,
        "starts": lane.starts,
    }
    impatient: dict[str, Any] = {**parts, "patience": timedelta(0)}
    executions = Executions(**impatient, workflows=lane.workflows)

    async def stuck_now() -> Stuck | None:
        (listed,) = (await executions.list(lane.tenant_id)).items
        return listed.stuck

    await Reconciler(**parts).repair(lane.tenant_id, execution.id)
    assert await stuck_now() is None
    await Reconciler(**impatient).repair(lane.tenant_id, execution.id)
    stuck = await stuck_now()
    assert stuck is not None
    assert "no user-workflows worker has taken it up" in stuck.reason
    assert timedelta(0) < now() - stuck.since < timedelta(minutes=1)
    explainer = Explainer(
        database=database,
        vault=lane.vault,
        workflows=lane.workflows,
        executions=executions,
        temporal=lane.temporal,
    )
    assert "no user-workflows worker" in (await explainer.why(lane.tenant_id, execution.id, "done")).reason
    await Reconciler(**parts).repair(lane.tenant_id, execution.id)
    assert await stuck_now() is None
    await Reconciler(**impatient).repair(lane.tenant_id, execution.id)
    await lane.executions.terminate(lane.tenant_id, execution.id)
    assert await stuck_now() is None


async def test_an_interpreter_that_fails_again_and_again_is_trouble(
    database: Database, temporal_address: str, tmp_path: Path
) -> None:
    async with open_lane(database, temporal_address, tmp_path) as lane:
        broken = PlanNode(id="each", plugin="foreach", home="inline", config={"items": "{{ input }}"})
        trouble = await trouble_with(lane, broken)
    assert "its interpreter failed" in trouble.reason


async def test_a_plugin_that_no_worker_has_is_trouble(
    database: Database, temporal_address: str, tmp_path: Path
) -> None:
    async with open_lane(database, temporal_address, tmp_path) as lane:
        trouble = await trouble_with(lane, PlanNode(id="lost", plugin="gone.away", home="activity"))
    assert trouble.reason == "no worker knows gone.away, which step lost calls; install it on the workers"


async def test_an_execution_that_waits_as_drawn_is_no_trouble(
    database: Database, temporal_address: str, tmp_path: Path
) -> None:
    async with open_lane(database, temporal_address, tmp_path) as lane:
        execution = await lane.start(await lane.publish({"nodes": [node("hold", "wait", signal="go")]}))
        handle = lane.temporal.get_workflow_handle(workflow_id(lane.tenant_id, execution.id))
        async with asyncio.timeout(60):
            while (await lane.steps(execution))["hold"].status != "waiting":
                await asyncio.sleep(0.02)
        assert find_trouble(await handle.describe(), now() + timedelta(hours=1)) is None
        await lane.executions.terminate(lane.tenant_id, execution.id)
