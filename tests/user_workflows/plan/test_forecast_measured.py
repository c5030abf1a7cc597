"""What is predicted is what a real Temporal server writes and would bill."""

import asyncio
from typing import Any

import pytest

from tests.replay.recording import billed, runs
from tests.user_workflows.drawing import edges, node
from tests.user_workflows.lane import Lane
from user_workflows.executions.views import Execution
from user_workflows.plan.forecast import forecast

CHAIN = {
    "nodes": [
        node("one", "test.echo", value=1),
        node("two", "set", values={"x": "{{ nodes.one.output + 1 }}"}),
        node("three", "test.echo", value=3),
        node("four", "test.flaky"),
    ],
    "edges": edges("one>two", "two>three", "three>four"),
}
INLINE = {"nodes": [node("a", values={"x": 1}), node("b", values={"y": 2})], "edges": edges("a>b")}
PAUSE = {"nodes": [node("wait", "wait", duration="50ms"), node("after", "test.echo")], "edges": edges("wait>after")}

LOOP = {
    "nodes": [
        node(
            "each",
            "foreach",
            items=[1, 2, 3],
            concurrency=1,
            nodes=[node("read", "test.echo", value="{{ item }}"), node("act", "test.flaky")],
            edges=edges("read>act"),
        ),
        node("rounds", "foreach", items=[1, 2], nodes=[node("cheap", "test.echo", value="{{ item }}")]),
    ],
    "edges": edges("each>rounds"),
}


DECIDED = {"nodes": [node("ask", "approval", title="May it?", required=2, deadline="1h")]}
SIGNALLED = {
    "nodes": [
        {**node("hold", "wait", signal="go"), "config": {"signal": "go", "timeout": "1h"}},
        node("read", "test.echo"),
    ],
    "edges": edges("hold.output>read"),
}
TOLD = {"nodes": [node("hold", "wait", signal="go")]}
LIMITED = {
    "timeout": "1h",
    "nodes": [node("hold", "wait", signal="go"), node("act", "test.flaky", timeout="2m")],
    "edges": edges("hold>act"),
}
COMMON = {
    "nodes": [
        node("a", "test.echo", value=1),
        node("pause", "wait", duration="50ms"),
        node("b", "test.echo", value=2),
    ],
    "edges": edges("a>pause", "pause>b"),
}

CASES: dict[str, dict[str, Any]] = {
    "chain": CHAIN,
    "inline": INLINE,
    "pause": PAUSE,
    "loop": LOOP,
    "approval": DECIDED,
    "signal with a timeout": SIGNALLED,
    "signal": TOLD,
    "limit of the execution": LIMITED,
    "reads before and after a wait": COMMON,
}


async def see_through(lane: Lane, execution: Execution) -> Execution:
    """Decide what is asked and send what is waited for, until the execution has ended."""
    async with asyncio.timeout(60):
        while not (found := await lane.executions.get(lane.tenant_id, execution.id)).is_closed:
            steps = await lane.steps(execution)
            if "hold" in steps and steps["hold"].status == "waiting":
                await lane.executions.signal(lane.tenant_id, execution.id, "go", {"n": 1})
                return await lane.finish(execution)
            for asked in await lane.approvals.list(lane.tenant_id, execution.id):
                # One after the other, as people decide: each is told in a workflow task of its own.
                decided = sum(link.decision is not None for link in asked.links)
                if f"{decided} of {len(asked.links)} have decided" in (steps["ask"].reason or ""):
                    link = next(link for link in asked.links if link.decision is None)
                    await lane.approvals.decide(link.token, "approved", comment=None, data=None)
            await asyncio.sleep(0.02)
    return found


@pytest.mark.parametrize("name", CASES)
async def test_an_execution_costs_what_was_predicted_and_reports_what_temporal_would_bill(
    name: str, lane: Lane
) -> None:
    execution = await see_through(lane, await lane.start(await lane.publish(CASES[name])))
    assert execution.status == "completed", execution.error
    histories = await runs(lane, execution)
    published = await lane.workflows.plan(lane.tenant_id, execution.workflow_id)
    predicted = forecast(published.plan)
    assert execution.history_events == sum(len(history.events) for history in histories)
    assert execution.history_events == predicted.history_events
    assert execution.billable_actions == billed(histories)
    assert execution.billable_actions == predicted.billable_actions


async def test_attempts_signals_that_nobody_awaits_and_undoing_are_billed_and_reported(lane: Lane) -> None:
    retried = node("again", "test.flaky", failures=1, pause=0.05, timeout="2m") | {
        "compensate": {"pluginId": "test.flaky", "config": {}}
    }
    definition = {
        "nodes": [retried, node("hold", "wait", signal="go"), node("bad", "test.flaky", permanent=True)],
        "edges": edges("again>hold", "hold>bad"),
    }
    execution = await lane.start(await lane.publish(definition))
    await lane.executions.signal(lane.tenant_id, execution.id, "noise")
    await lane.controls.pause(lane.tenant_id, execution.id)
    await lane.controls.resume(lane.tenant_id, execution.id)
    finished = await see_through(lane, execution)
    assert finished.status == "failed"
    assert finished.billable_actions == billed(await runs(lane, finished))
