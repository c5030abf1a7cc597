"""Run controls, on a real Temporal server."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.user_workflows.drawing import edges, node
from tests.user_workflows.lane import Lane
from user_workflows.errors import Conflict, NotFound
from user_workflows.executions import Execution, Step

#: a timeout this long gives a step an activity of its own
ALONE = "2m"


async def until(lane: Lane, execution: Execution, holds: Callable[[dict[str, Step]], bool]) -> dict[str, Step]:
    """Wait until the steps of an execution are as `holds` says."""
    async with asyncio.timeout(20):
        while not holds(steps := await lane.steps(execution)):
            await asyncio.sleep(0.02)
    return steps


async def until_status(lane: Lane, execution: Execution, status: str) -> None:
    async with asyncio.timeout(20):
        while (await lane.executions.get(lane.tenant_id, execution.id)).status != status:
            await asyncio.sleep(0.02)


async def arrive(lane: Lane, gate: str) -> None:
    async with asyncio.timeout(20):
        await lane.gates.arrival(gate).wait()


async def test_while_paused_nothing_begins_and_what_runs_finishes(lane: Lane) -> None:
    definition = {
        "nodes": [
            node("hold", "test.gate", name="pause", timeout=ALONE),
            node("nap", "wait", signal="go"),
            node("after", values={"x": 1}),
            node("called", "test.echo", value=2),
        ],
        "edges": edges("hold>after", "nap>called"),
    }
    execution = await lane.start(await lane.publish(definition))
    await arrive(lane, "pause")
    await lane.controls.pause(lane.tenant_id, execution.id)
    await lane.controls.pause(lane.tenant_id, execution.id)
    assert (await lane.executions.get(lane.tenant_id, execution.id)).status == "paused"
    lane.gates.at("pause").set()
    await lane.executions.signal(lane.tenant_id, execution.id, "go")
    steps = await until(lane, execution, lambda steps: steps["hold"].status == steps["nap"].status == "completed")
    assert (steps["after"].status, steps["called"].status) == ("pending", "pending")
    assert (await lane.executions.get(lane.tenant_id, execution.id)).status == "paused"
    await lane.controls.resume(lane.tenant_id, execution.id)
    await lane.controls.resume(lane.tenant_id, execution.id)
    finished = await lane.finish(execution)
    assert (finished.status, finished.output) == ("completed", {"after": {"x": 1}, "called": 2})


async def test_a_pause_holds_the_next_round_of_a_loop(lane: Lane) -> None:
    body = [node("step", "test.gate", name="round-{{ index }}", timeout=ALONE)]
    definition = {"nodes": [node("each", "foreach", items=[0, 1], concurrency=1, nodes=body)]}
    execution = await lane.start(await lane.publish(definition))
    await arrive(lane, "round-0")
    await lane.controls.pause(lane.tenant_id, execution.id)
    await until_status(lane, execution, "paused")
    lane.gates.at("round-0").set()
    lane.gates.at("round-1").set()
    waited = await lane.executions.wait(lane.tenant_id, execution.id, 0.5)
    assert waited.status == "paused"
    assert not lane.gates.arrival("round-1").is_set()
    await lane.controls.resume(lane.tenant_id, execution.id)
    assert (await lane.finish(execution)).status == "completed"


async def test_a_paused_execution_can_be_canceled(lane: Lane) -> None:
    definition = {
        "nodes": [node("hold", "wait", signal="never"), node("after", values={})],
        "edges": edges("hold>after"),
    }
    execution = await lane.start(await lane.publish(definition))
    await lane.controls.pause(lane.tenant_id, execution.id)
    await lane.executions.cancel(lane.tenant_id, execution.id)
    assert (await lane.finish(execution)).status == "canceled"


@pytest.mark.parametrize("control", ["pause", "resume"])
async def test_a_closed_execution_is_not_controlled_any_more(lane: Lane, control: str) -> None:
    execution = await lane.run({"nodes": [node("a", values={})]})
    act: Callable[[str, str], Awaitable[None]] = getattr(lane.controls, control)
    with pytest.raises(Conflict, match="is closed"):
        await act(lane.tenant_id, execution.id)
    with pytest.raises(NotFound):
        await act("ten_other", execution.id)
