"""What an execution waits for ends with it, whoever ends either of them."""

from datetime import timedelta

from sqlalchemy import update
from temporalio.testing import ActivityEnvironment

from plugins.storage.database import now
from tests.user_workflows.drawing import edges, node
from tests.user_workflows.lane import Lane
from tests.user_workflows.test_calls import children, held, is_waiting, start_waiting, until
from user_workflows.activities.executions import CallActivities
from user_workflows.executions.tables import executions
from user_workflows.executions.views import Execution
from user_workflows.interpreter.activity_calls import CallStart
from user_workflows.interpreter.messages import TriggerCall
from user_workflows.records.reconcile import Reconciler


async def sweep_later(lane: Lane, execution: Execution) -> None:
    """Let a few minutes pass for one record, and sweep."""
    async with lane.database.across.transaction() as connection:
        await connection.execute(
            update(executions)
            .where(executions.c.tenant_id == lane.tenant_id, executions.c.id == execution.id)
            .values(checked_at=now() - timedelta(minutes=5))
        )
    reconciler = Reconciler(database=lane.database, vault=lane.vault, temporal=lane.temporal, starts=lane.starts)
    await reconciler.sweep()


async def test_terminating_the_caller_terminates_what_it_waits_for_and_nothing_else(lane: Lane) -> None:
    """Through a call within a call; what was detached goes on."""
    inner = await lane.publish(held("terminated-inner"))
    detached = await lane.publish(held("terminated-detached"))
    middle = await lane.publish({"nodes": [node("call", "workflow.call", workflowId=inner)]})
    parent = await lane.start(
        await lane.publish(
            {
                "nodes": [
                    node("apart", "workflow.call", workflowId=detached, mode="detach"),
                    node("call", "workflow.call", workflowId=middle),
                ],
                "edges": edges("apart>call"),
            }
        )
    )
    await lane.gates.arrived("terminated-inner")
    await lane.gates.arrived("terminated-detached")
    await until(lambda: is_waiting(lane, parent))
    of_parent = {child.workflow_id: child for child in await children(lane, parent)}
    await until(lambda: is_waiting(lane, of_parent[middle]))
    (grandchild,) = await children(lane, of_parent[middle])
    await lane.executions.terminate(lane.tenant_id, parent.id)
    for stopped in (parent, of_parent[middle], grandchild):
        assert (await lane.executions.get(lane.tenant_id, stopped.id)).status == "terminated"
    assert not (await lane.executions.get(lane.tenant_id, of_parent[detached].id)).is_closed
    lane.gates.at("terminated-detached").set()
    assert (await lane.finish(of_parent[detached])).status == "completed"


async def test_a_caller_that_ended_unseen_has_its_child_stopped_by_the_sweep(lane: Lane) -> None:
    """Whoever terminated it died before the record was closed, or did so in Temporal's own UI."""
    parent, child = await start_waiting(lane, "unseen")
    await lane.temporal.get_workflow_handle(f"{lane.tenant_id}/{parent.id}").terminate()
    await sweep_later(lane, parent)
    assert (await lane.executions.get(lane.tenant_id, parent.id)).status == "terminated"
    assert (await lane.finish(child)).status == "terminated"


async def test_a_child_that_was_started_when_its_caller_had_ended_is_canceled_by_the_sweep(lane: Lane) -> None:
    ended = await lane.run({"nodes": [node("a", values={})]})
    call = CallStart(
        tenant_id=lane.tenant_id,
        workflow_id=await lane.publish(held("late-child")),
        trigger=TriggerCall(type="call", execution_id=ended.id, callers=(ended.workflow_id,), is_awaited=True),
        key=f"call:{ended.id}:1:late",
    )
    child_id = await ActivityEnvironment().run(CallActivities(lane.starts).call, call)
    child = await lane.executions.get(lane.tenant_id, child_id)
    await sweep_later(lane, child)
    await sweep_later(lane, child)  # asked again while it stops, or when it has
    assert (await lane.finish(child)).status == "canceled"


async def test_the_sweep_tells_a_waiting_call_of_a_child_that_was_terminated(lane: Lane) -> None:
    parent, child = await start_waiting(lane, "terminated-unseen")
    await lane.temporal.get_workflow_handle(f"{lane.tenant_id}/{child.id}").terminate()
    await sweep_later(lane, child)
    finished = await lane.finish(parent)
    assert finished.error is not None
    assert (finished.status, finished.error.type) == ("failed", "workflow.call.terminated")
    assert (await lane.executions.get(lane.tenant_id, child.id)).status == "terminated"


async def test_a_failed_child_that_is_retried_by_itself_is_left_to_run(lane: Lane) -> None:
    """Its caller has ended long since, and waits for it no more."""
    target = await lane.publish(
        {
            "nodes": [
                node("bad", "test.unsteady", name="child-retried", failures=1, retry={"maxAttempts": 1}),
                node("hold", "test.gate", name="child-retried", timeout="2m"),
            ],
            "edges": edges("bad>hold"),
        }
    )
    failed = await lane.run({"nodes": [node("call", "workflow.call", workflowId=target)]})
    (child,) = await children(lane, failed)
    await lane.controls.retry(lane.tenant_id, child.id)
    await lane.gates.arrived("child-retried")
    await sweep_later(lane, child)
    lane.gates.at("child-retried").set()
    assert (await lane.finish(child)).status == "completed"
