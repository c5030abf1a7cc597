"""The `timeout` of control nodes that take time, on a real Temporal server."""

from typing import Any

import pytest

from tests.user_workflows.drawing import edges, node
from tests.user_workflows.lane import Lane

HOLD = node("hold", "test.gate", name="limit", timeout="2m")
FOREVER = node("forever", "wait", signal="never")


@pytest.mark.parametrize(
    "slow",
    [
        node("slow", "wait", signal="never", timeout="300ms"),
        node("slow", "approval", title="?", timeout="300ms"),
        # What its rounds do is stopped, whoever does it: a batch, an activity, the workflow.
        node("slow", "foreach", items=[1, 2], nodes=[HOLD], timeout="300ms"),
        node("slow", "foreach", items=[1, 2], nodes=[HOLD | {"isolate": True}, FOREVER], timeout="300ms"),
        node("slow", "foreach", items=[1], nodes=[FOREVER], continueOnItemError=True, timeout="300ms"),
        node("slow", "while", condition="{{ true }}", nodes=[node("w", "wait", duration="50ms")], timeout="300ms"),
    ],
    ids=["wait", "approval", "batch", "activities", "waits-inside", "while"],
)
async def test_what_takes_longer_than_its_timeout_fails_by_its_error_policy(lane: Lane, slow: dict[str, Any]) -> None:
    after = node("after", values={"type": "{{ nodes.slow.error.type }}"})
    definition = {"nodes": [slow | {"onError": "port"}, after], "edges": edges("slow.error>after")}
    finished = await lane.run(definition)
    assert (finished.status, finished.output) == ("completed", {"after": {"type": "node.timeout"}})
    step = (await lane.steps(finished))["slow"]
    assert step.status == "failed"
    assert step.error is not None
    assert step.error.message == "not done within 0.3 s"


async def test_the_limit_of_a_loop_around_is_not_that_of_a_node_inside(lane: Lane) -> None:
    inner = node("in", "foreach", items=[1], nodes=[FOREVER], timeout="200ms", onError="continue")
    outer = node("out", "foreach", items=[1, 2], nodes=[inner], timeout="1m", result="{{ nodes.in.error.type }}")
    finished = await lane.run({"nodes": [outer]})
    assert (finished.status, finished.output) == ("completed", {"out": ["node.timeout", "node.timeout"]})


async def test_an_execution_that_is_canceled_meanwhile_is_canceled(lane: Lane) -> None:
    """A limit takes nobody else's stop for its own."""
    execution = await lane.start(await lane.publish({"nodes": [node("slow", "wait", signal="x", timeout="1h")]}))
    await lane.executions.cancel(lane.tenant_id, execution.id)
    assert (await lane.finish(execution)).status == "canceled"


async def test_an_execution_that_is_out_of_time_is_timed_out(lane: Lane) -> None:
    definition = {"nodes": [node("slow", "wait", signal="x", timeout="1h", onError="continue")], "timeout": "200ms"}
    finished = await lane.run(definition)
    assert finished.status == "timedOut"
