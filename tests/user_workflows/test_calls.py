"""`workflow.call`, on a real Temporal server."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from temporalio.testing import ActivityEnvironment

from plugins.storage.database import now
from tests.user_workflows.drawing import edges, node
from tests.user_workflows.lane import Lane
from user_workflows.activities.executions import CallActivities
from user_workflows.execution_views import Execution
from user_workflows.interpreter.messages import CallStart, TriggerCall
from user_workflows.plan.forecast import forecast
from user_workflows.reconcile import Reconciler
from user_workflows.store import executions

DOUBLE = {"nodes": [node("double", values={"n": "{{ input.n * 2 }}"})]}
FAILING = {"nodes": [node("bad", "test.flaky", permanent=True)]}


def held(gate: str) -> dict[str, Any]:
    return {"nodes": [node("hold", "test.gate", name=gate, timeout="2m")]}


async def children(lane: Lane, parent: Execution) -> list[Execution]:
    page = await lane.executions.list(lane.tenant_id, limit=1_000)
    return [each for each in page.items if each.trigger.get("executionId") == parent.id]


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await holds():
            await asyncio.sleep(0.02)


async def sweep_later(lane: Lane, execution: Execution) -> None:
    """Let a few minutes pass for one record, and sweep."""
    async with lane.database.transaction() as connection:
        await connection.execute(
            update(executions)
            .where(executions.c.tenant_id == lane.tenant_id, executions.c.id == execution.id)
            .values(checked_at=now() - timedelta(minutes=5))
        )
    reconciler = Reconciler(database=lane.database, vault=lane.vault, temporal=lane.temporal, starts=lane.starts)
    await reconciler.sweep()


async def start_waiting(lane: Lane, gate: str, **options: Any) -> tuple[Execution, Execution]:
    """Start a workflow that waits for a child, which is held at a gate."""
    call = node("call", "workflow.call", workflowId=await lane.publish(held(gate)), **options)
    definition = {"nodes": [call, node("after", values={"x": 1})], "edges": edges("call>after")}
    parent = await lane.start(await lane.publish(definition))
    async with asyncio.timeout(20):
        await lane.gates.arrival(gate).wait()
    await until(lambda: _is_waiting(lane, parent))
    (child,) = await children(lane, parent)
    return parent, child


async def _is_waiting(lane: Lane, parent: Execution) -> bool:
    return (await lane.steps(parent))["call"].status == "waiting"


async def test_a_call_waits_for_the_output_of_the_workflow_that_it_calls(lane: Lane) -> None:
    call = node("call", "workflow.call", workflowId=await lane.publish(DOUBLE), input={"n": "{{ input.n + 1 }}"})
    finished = await lane.run({"nodes": [call]}, {"n": 20})
    assert (finished.status, finished.output) == ("completed", {"call": {"double": {"n": 42}}})
    (child,) = await children(lane, finished)
    assert child.trigger == {"type": "call", "id": "call", "executionId": finished.id}
    assert (child.status, child.input) == ("completed", {"n": 21})


async def test_a_detached_call_goes_on_with_the_id_of_the_execution(lane: Lane) -> None:
    target = await lane.publish(held("detached"))
    finished = await lane.run({"nodes": [node("call", "workflow.call", workflowId=target, mode="detach")]})
    (child,) = await children(lane, finished)
    assert finished.output == {"call": child.id}
    assert not child.is_closed
    lane.gates.at("detached").set()
    assert (await lane.finish(child)).status == "completed"


async def test_a_call_of_a_version_runs_that_version(lane: Lane) -> None:
    target = await lane.publish({"nodes": [node("a", values={"version": 1})]})
    await lane.workflows.put_draft(lane.tenant_id, target, {"nodes": [node("a", values={"version": 2})]})
    await lane.workflows.publish(lane.tenant_id, target)
    definition = {
        "nodes": [
            node("old", "workflow.call", workflowId=target, version=1),
            node("new", "workflow.call", workflowId=target),
        ]
    }
    finished = await lane.run(definition)
    assert finished.output == {"old": {"a": {"version": 1}}, "new": {"a": {"version": 2}}}


@pytest.mark.parametrize(
    ("on_error", "status", "output"),
    [("fail", "failed", None), ("continue", "completed", {"after": "test.permanent"}), ("port", "completed", None)],
)
async def test_a_child_that_fails_fails_the_node(lane: Lane, on_error: str, status: str, output: Any) -> None:
    call = node("call", "workflow.call", workflowId=await lane.publish(FAILING), onError=on_error)
    read = "{{ nodes.call.error.type }}" if on_error != "fail" else None
    after = node("after", "test.echo", value=read)
    handler = [{"source": "call", "target": "after"} | ({"sourceHandle": "error"} if on_error == "port" else {})]
    finished = await lane.run({"nodes": [call, after], "edges": handler if on_error != "fail" else edges("call>after")})
    (child,) = await children(lane, finished)
    assert finished.status == status
    error = (await lane.steps(finished))["call"].error
    assert error is not None
    assert (error.type, error.message) == (
        "test.permanent",
        f"execution {child.id} failed at bad: it will never work",
    )
    assert finished.output == (output if on_error != "port" else {"after": "test.permanent"})


async def test_a_canceled_child_fails_the_node(lane: Lane) -> None:
    parent, child = await start_waiting(lane, "child-canceled")
    await lane.executions.cancel(lane.tenant_id, child.id)
    finished = await lane.finish(parent)
    assert finished.error is not None
    assert (finished.status, finished.error.type) == ("failed", "workflow.call.canceled")


async def test_a_terminated_child_fails_the_node(lane: Lane) -> None:
    """It runs no code at its end: whoever repairs its record tells who waits."""
    parent, child = await start_waiting(lane, "child-terminated")
    await lane.executions.terminate(lane.tenant_id, child.id)
    finished = await lane.finish(parent)
    assert finished.error is not None
    assert (finished.status, finished.error.type) == ("failed", "workflow.call.terminated")
    assert finished.error.message == f"execution {child.id} was terminated"


async def test_what_cancels_the_caller_cancels_the_child(lane: Lane) -> None:
    parent, child = await start_waiting(lane, "parent-canceled")
    await lane.executions.cancel(lane.tenant_id, parent.id)
    assert (await lane.finish(parent)).status == "canceled"
    assert (await lane.finish(child)).status == "canceled"


async def test_skipping_a_waiting_call_cancels_the_child(lane: Lane) -> None:
    parent, child = await start_waiting(lane, "call-skipped")
    await lane.controls.skip(lane.tenant_id, parent.id, "call")
    assert (await lane.finish(parent)).status == "completed"
    assert (await lane.finish(child)).status == "canceled"
    assert (await lane.steps(parent))["call"].status == "skipped"


async def test_why_names_the_execution_that_a_call_waits_for(lane: Lane) -> None:
    parent, child = await start_waiting(lane, "call-why")
    step = (await lane.steps(parent))["call"]
    assert step.reason == f"waiting for execution {child.id}"
    lane.gates.at("call-why").set()
    assert (await lane.finish(parent)).status == "completed"


async def test_a_start_that_is_repeated_starts_one_child(lane: Lane) -> None:
    call = CallStart(
        tenant_id=lane.tenant_id,
        workflow_id=await lane.publish(DOUBLE),
        trigger=TriggerCall(type="call", payload={"n": 1}, execution_id="ex_caller", callers=("wf_caller",)),
        key="call:ex_caller:1:call",
    )
    activities = CallActivities(lane.starts)
    first, second = [await ActivityEnvironment().run(activities.call, call) for _ in range(2)]
    assert first == second


async def test_calls_inside_a_loop_have_a_child_each(lane: Lane) -> None:
    call = node("call", "workflow.call", workflowId=await lane.publish(DOUBLE), input={"n": "{{ item }}"})
    loop = node("each", "foreach", items=[1, 2, 3], nodes=[call], result="{{ nodes.call.output.double.n }}")
    finished = await lane.run({"nodes": [loop]})
    assert finished.output == {"each": [2, 4, 6]}
    assert len(await children(lane, finished)) == 3


@pytest.mark.parametrize(
    ("config", "type"),
    [
        ({"workflowId": "{{ execution.workflowId }}"}, "workflow.call.cycle"),
        ({"workflowId": "wf_nobody"}, "workflow.call.notFound"),
        ({"workflowId": "{{ 1 }}"}, "config.type"),
    ],
)
async def test_a_call_that_cannot_be_made_says_why(lane: Lane, config: dict[str, Any], type: str) -> None:
    finished = await lane.run({"nodes": [node("call", "workflow.call", **config)]})
    assert finished.error is not None
    assert (finished.status, finished.error.type) == ("failed", type)
    assert await children(lane, finished) == []


async def test_executions_are_at_most_eight_deep_inside_one_another(lane: Lane) -> None:
    target = await lane.publish(DOUBLE)
    for _ in range(8):
        target = await lane.publish(
            {"nodes": [node("call", "workflow.call", workflowId=target, input={"n": "{{ input.n }}"})]}
        )
    finished = await lane.finish(await lane.start(target, {"n": 1}))
    assert finished.error is not None
    assert (finished.status, finished.error.type) == ("failed", "workflow.call.tooDeep")


async def test_the_figures_of_a_call_are_those_that_were_predicted(lane: Lane) -> None:
    finished = await lane.run(
        {"nodes": [node("call", "workflow.call", workflowId=await lane.publish(DOUBLE), input={"n": 1})]}
    )
    published = await lane.workflows.recorded_plan(lane.tenant_id, finished.workflow_id, finished.version)
    predicted = forecast(published.plan)
    assert (finished.history_events, finished.billable_actions) == (
        predicted.history_events,
        predicted.billable_actions,
    )


@pytest.mark.parametrize(
    ("on_error", "status", "output"),
    [("fail", "failed", None), ("port", "completed", {"late": {"of": "node.timeout"}})],
)
async def test_a_call_that_takes_too_long_cancels_the_child_and_fails_the_node(
    lane: Lane, on_error: str, status: str, output: Any
) -> None:
    target = await lane.publish(held(f"too-long-{on_error}"))
    definition = {
        "nodes": [
            node("call", "workflow.call", workflowId=target, onError=on_error, timeout="400ms"),
            node("late", values={"of": "{{ nodes.call.error.type }}"} if on_error == "port" else {}),
        ],
        "edges": edges("call.error>late" if on_error == "port" else "call>late"),
    }
    finished = await lane.run(definition)
    assert (finished.status, finished.output) == (status, output)
    error = (await lane.steps(finished))["call"].error
    assert error is not None
    assert (error.type, error.message) == ("node.timeout", "not done within 0.4 s")
    (child,) = await children(lane, finished)
    assert (await lane.finish(child)).status == "canceled"


async def test_a_call_that_ends_within_its_timeout_costs_what_was_predicted(lane: Lane) -> None:
    target = await lane.publish(DOUBLE)
    finished = await lane.run(
        {"nodes": [node("call", "workflow.call", workflowId=target, input={"n": 1}, timeout="1h")]}
    )
    assert finished.output == {"call": {"double": {"n": 2}}}
    published = await lane.workflows.recorded_plan(lane.tenant_id, finished.workflow_id, finished.version)
    predicted = forecast(published.plan)
    assert (finished.history_events, finished.billable_actions) == (
        predicted.history_events,
        predicted.billable_actions,
    )


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
    async with asyncio.timeout(20):
        await lane.gates.arrival("terminated-inner").wait()
        await lane.gates.arrival("terminated-detached").wait()
    await until(lambda: _is_waiting(lane, parent))
    of_parent = {child.workflow_id: child for child in await children(lane, parent)}
    await until(lambda: _is_waiting(lane, of_parent[middle]))
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
    async with asyncio.timeout(20):
        await lane.gates.arrival("child-retried").wait()
    await sweep_later(lane, child)
    lane.gates.at("child-retried").set()
    assert (await lane.finish(child)).status == "completed"
