"""`workflow.call`, on a real Temporal server."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from tests.user_workflows.drawing import edges, node
from tests.user_workflows.lane import Lane
from user_workflows.activities.executions import CallActivities
from user_workflows.executions.explainer import Explainer
from user_workflows.executions.views import Execution
from user_workflows.interpreter.activity_calls import CallStart
from user_workflows.interpreter.messages import TriggerCall
from user_workflows.plan.forecast import forecast

DOUBLE = {"nodes": [node("double", values={"n": "{{ input.n * 2 }}"})]}
FAILING = {"nodes": [node("bad", "test.flaky", permanent=True)]}


def held(gate: str) -> dict[str, Any]:
    return {"nodes": [node("hold", "test.gate", name=gate, timeout="2m")]}


async def children(lane: Lane, parent: Execution) -> list[Execution]:
    page = await lane.executions.list(lane.tenant_id, limit=1_000)
    return [each for each in page.items if each.trigger.get("executionId") == parent.id]


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await holds():
            await asyncio.sleep(0.02)


async def start_waiting(lane: Lane, gate: str, **options: Any) -> tuple[Execution, Execution]:
    """Start a workflow that waits for a child, which is held at a gate."""
    call = node("call", "workflow.call", workflowId=await lane.publish(held(gate)), **options)
    definition = {"nodes": [call, node("after", values={"x": 1})], "edges": edges("call>after")}
    parent = await lane.start(await lane.publish(definition))
    await lane.gates.arrived(gate)
    await until(lambda: is_waiting(lane, parent))
    (child,) = await children(lane, parent)
    return parent, child


async def is_waiting(lane: Lane, parent: Execution) -> bool:
    return (await lane.steps(parent))["call"].status == "waiting"


async def _wait_inside(lane: Lane, parent: Execution, loop: str, count: int) -> bool:
    return sum(step.status == "waiting" for step in await lane.inside(parent, loop)) == count


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
    explainer = Explainer(
        database=lane.database,
        vault=lane.vault,
        workflows=lane.workflows,
        temporal=lane.temporal,
        executions=lane.executions,
    )
    answer = await explainer.why(lane.tenant_id, parent.id, "call")
    assert (answer.status, answer.reason) == ("waiting", f"waiting for execution {child.id}")
    behind = await explainer.why(lane.tenant_id, parent.id, "after")
    assert [(each.node_id, each.reason) for each in behind.waiting_for] == [("call", answer.reason)]
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


async def test_calls_inside_a_loop_are_as_many_at_a_time_as_the_loop_says(lane: Lane) -> None:
    target = await lane.publish({"nodes": [node("hold", "test.gate", name="{{ input.gate }}", timeout="2m")]})
    call = node("call", "workflow.call", workflowId=target, input={"gate": "loop-call-{{ index }}"})
    loop = node("each", "foreach", items=[0, 1, 2], concurrency=2, nodes=[call], result="{{ nodes.call.output.hold }}")
    parent = await lane.start(await lane.publish({"nodes": [loop]}))
    await lane.gates.arrived("loop-call-0")
    await lane.gates.arrived("loop-call-1")
    await until(lambda: _wait_inside(lane, parent, "each", 2))
    assert len(await children(lane, parent)) == 2
    lane.gates.at("loop-call-1").set()
    await lane.gates.arrived("loop-call-2")
    for index in (0, 2):
        lane.gates.at(f"loop-call-{index}").set()
    finished = await lane.finish(parent)
    assert finished.output == {"each": ["loop-call-0", "loop-call-1", "loop-call-2"]}


async def test_a_loop_collects_the_errors_of_the_workflows_that_it_calls(lane: Lane) -> None:
    target = await lane.publish({"nodes": [node("n", "if", condition="{{ 6 / input.n > 2 }}")]})
    call = node("call", "workflow.call", workflowId=target, input={"n": "{{ item }}"})
    loop = node("each", "foreach", items=[1, 0], nodes=[call], continueOnItemError=True)
    finished = await lane.run(
        {"nodes": [loop, node("bad", values={"e": "{{ input }}"})], "edges": edges("each.error>bad")}
    )
    (failure,) = finished.output["bad"]["e"]
    assert (failure["index"], failure["error"]["nodeId"]) == (1, "call")
    assert "failed at n: " in failure["error"]["message"]


async def test_a_failed_call_that_is_retried_calls_once_more_and_sees_what_was_mended(lane: Lane) -> None:
    target = await lane.publish(FAILING)
    call = node("call", "workflow.call", workflowId=target, input={"n": "{{ nodes.before.output.n }}"})
    definition = {"nodes": [node("before", values={"n": 4}), call], "edges": edges("before>call")}
    failed = await lane.run(definition)
    assert failed.status == "failed"
    await lane.workflows.put_draft(lane.tenant_id, target, DOUBLE)
    await lane.workflows.publish(lane.tenant_id, target)
    planned = await lane.controls.plan_retry(lane.tenant_id, failed.id)
    assert (planned.reused, planned.runs) == (("before",), ("call",))
    assert [(each.node_id, each.effect) for each in planned.repeats] == [("call", "unsafe")]
    await lane.controls.retry(lane.tenant_id, failed.id)
    finished = await lane.finish(failed)
    assert (finished.status, finished.output) == ("completed", {"call": {"double": {"n": 8}}})
    assert sorted(child.status for child in await children(lane, failed)) == ["completed", "failed"]


async def test_a_call_at_the_limit_of_depth_says_so_through_all_that_called_it(lane: Lane) -> None:
    target = await lane.publish(DOUBLE)
    for _ in range(8):
        target = await lane.publish({"nodes": [node("call", "workflow.call", workflowId=target, input={"n": 1})]})
    finished = await lane.finish(await lane.start(target))
    assert finished.error is not None
    assert finished.error.type == "workflow.call.tooDeep"
    assert finished.error.message.endswith("8 deep inside one another, and this one is: call from further out")
    assert finished.error.message.count("failed at call") == 7
