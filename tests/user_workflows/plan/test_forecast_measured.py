"""What is predicted is what a real Temporal server writes and would bill."""

from typing import Any

import pytest

from tests.user_workflows.drawing import edges, node
from tests.user_workflows.lane import Lane
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


@pytest.mark.parametrize("definition", [CHAIN, INLINE, PAUSE, LOOP], ids=["chain", "inline", "pause", "loop"])
async def test_an_execution_costs_what_was_predicted(definition: dict[str, Any], lane: Lane) -> None:
    execution = await lane.run(definition)
    assert execution.status == "completed", execution.error
    published = await lane.workflows.plan(lane.tenant_id, execution.workflow_id)
    predicted = forecast(published.plan)
    assert execution.history_events == predicted.history_events
    assert execution.billable_actions == predicted.billable_actions
