"""An execution that hands over to a further run in the middle of something ends as one that never did.

Each scenario is carried out on a real Temporal server by executions that stay in one run, by ones that are made to hand
over, and by ones that are parked. What is left in the records has to be equal, and every run has to replay.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

import pytest
from msgspec import Struct, to_builtins

from plugins.storage.database import Database
from tests.replay.recording import replay, runs
from tests.sqlite import new_sqlite
from tests.user_workflows.drawing import chain, edges, node, undoable
from tests.user_workflows.lane import Lane, open_lane
from user_workflows.client import reaching_temporal
from user_workflows.errors import EngineUnavailable
from user_workflows.executions.views import Execution, Step
from user_workflows.interpreter.messages import HISTORY_LIMIT, PARK_AFTER, PARKED, workflow_id

#: events after which a run hands over where it is made to
LIMIT = 20

#: seconds that everything has to wait at least, where executions are parked
PATIENCE = 0.5

Way = Literal["whole", "long", "parked"]

#: what tells two executions of one scenario apart
_OWN = {"startedAt", "closedAt", "id", "at", "decidedAt"}


class Stage(Struct, frozen=True, kw_only=True, eq=False):
    """Where a scenario is carried out."""

    lane: Lane
    way: Way

    async def begin(self, definition: dict[str, Any], input: Any = None) -> Execution:
        return await self.lane.start(await self.lane.publish(definition), input)

    async def until(self, execution: Execution, holds: Callable[[dict[str, Step]], bool]) -> None:
        async with asyncio.timeout(60):
            while not holds(await self.lane.steps(execution)):
                await asyncio.sleep(0.02)

    async def waiting(self, execution: Execution, *nodes: str) -> None:
        await self.until(execution, lambda steps: all(steps[id].status == "waiting" for id in nodes))

    async def timer(self, execution: Execution) -> None:
        """Wait until the execution waits for a timer."""
        async with asyncio.timeout(60):
            while not any(
                event.HasField("timer_started_event_attributes")
                for event in (await runs(self.lane, execution))[0].events
            ):
                await asyncio.sleep(0.02)

    async def hand_over(self, execution: Execution) -> None:
        """Let the execution go on in a further run."""
        if self.way == "whole":
            return
        if self.way == "parked":
            await self.park(execution)
            return
        before = await self.run_of(execution)
        async with asyncio.timeout(60):
            while await self.run_of(execution) == before:
                # A run that is closing takes no signals.
                with suppress(EngineUnavailable):
                    await self.lane.executions.signal(self.lane.tenant_id, execution.id, "noise")

    async def park(self, execution: Execution) -> None:
        handle = self.lane.temporal.get_workflow_handle(workflow_id(self.lane.tenant_id, execution.id))
        async with asyncio.timeout(60):
            while (await handle.describe()).workflow_type != PARKED:
                with suppress(EngineUnavailable):
                    async with reaching_temporal():
                        await handle.signal("park")
                await asyncio.sleep(0.1)

    async def replay_all(self, execution: Execution) -> None:
        """Replay every run of an execution that has ended."""
        id = workflow_id(self.lane.tenant_id, execution.id)
        for history in await runs(self.lane, execution):
            await replay(id, history.to_json_dict(), self.lane.temporal.data_converter)

    async def run_of(self, execution: Execution) -> str | None:
        handle = self.lane.temporal.get_workflow_handle(workflow_id(self.lane.tenant_id, execution.id))
        return (await handle.describe()).run_id


BAD = node("bad", "test.flaky", permanent=True)


async def a_call_that_waits(stage: Stage) -> Execution:
    gate = node("hold", "test.gate", name="call", timeout="2m")
    child = chain(gate, node("double", values={"n": "{{ trigger.n * 2 }}"}))
    call = node("call", "workflow.call", workflowId=await stage.lane.publish(child), input={"n": "{{ input }}"})
    execution = await stage.begin(chain(call, node("after", values={"got": "{{ input.double.n }}"})), 21)
    await stage.lane.gates.arrived("call")
    await stage.waiting(execution, "call")
    await stage.hand_over(execution)
    stage.lane.gates.at("call").set()
    return execution


async def a_call_that_fails(stage: Stage) -> Execution:
    child = await stage.lane.publish(chain(node("hold", "test.gate", name="call that fails", timeout="2m"), BAD))
    execution = await stage.begin(
        chain(node("call", "workflow.call", workflowId=child, onError="continue"), node("after", values={}))
    )
    await stage.lane.gates.arrived("call that fails")
    await stage.waiting(execution, "call")
    await stage.hand_over(execution)
    stage.lane.gates.at("call that fails").set()
    await stage.until(execution, lambda steps: steps["call"].status == "failed")
    return execution


async def a_call_that_is_skipped(stage: Stage) -> Execution:
    child = await stage.lane.publish(chain(node("hold", "wait", signal="never")))
    call = node("call", "workflow.call", workflowId=child)
    execution = await stage.begin(chain(call, node("after", values={})))
    await stage.waiting(execution, "call")
    await stage.hand_over(execution)
    await stage.lane.controls.skip(stage.lane.tenant_id, execution.id, "call")
    page = await stage.lane.executions.list(stage.lane.tenant_id, limit=1_000)
    (called,) = [each for each in page.items if each.trigger.get("executionId") == execution.id]
    assert (await stage.lane.finish(called)).status == "canceled"
    return execution


async def an_approval_of_two(stage: Stage) -> Execution:
    ask = node("ask", "approval", title="Pay?", approvers=["ann@example.com", "bob@example.com"], required=2)
    ask["config"]["deadline"] = "1h"
    after = node("after", values={"n": "{{ size(input.decisions) }}"})
    execution = await stage.begin({"nodes": [ask, after], "edges": edges("ask.approved>after")})
    await stage.waiting(execution, "ask")
    await stage.hand_over(execution)
    (opened,) = await stage.lane.approvals.list(stage.lane.tenant_id, execution.id)
    ann, bob = opened.links
    await stage.lane.approvals.decide(ann.token, "approved", comment="fine", data=None)
    await stage.hand_over(execution)
    await stage.lane.approvals.decide(bob.token, "approved", comment="too", data=None)
    return execution


async def an_approval_whose_deadline_passes(stage: Stage) -> Execution:
    ask = node("ask", "approval", title="Pay?", deadline="15s")
    after = node("after", values={})
    execution = await stage.begin({"nodes": [ask, after], "edges": edges("ask.expired>after")})
    await stage.waiting(execution, "ask")
    await stage.hand_over(execution)
    return execution


async def a_failure_that_is_undone(stage: Stage) -> Execution:
    """In reverse order of completion, of nodes that completed in three runs, with what they had come to then."""
    nodes = [
        undoable(node("late", "test.gate", name="late", timeout="2m"), value="{{ [nodes.late.output, input] }}"),
        undoable(node("early", "test.gate", name="early", timeout="2m"), value="{{ nodes.seen.output.text }}"),
        node("seen", values={"text": "only an action asks for it"}),
        node("between", values={}),
        undoable(node("hold", "wait", signal="go"), value="{{ input }}"),
        {**BAD, "join": "all"},
    ]
    execution = await stage.begin(
        {"nodes": nodes, "edges": edges("seen>early", "early>between", "between>hold", "hold>bad", "late>bad")}, 5
    )
    await stage.lane.gates.arrived("late")
    await stage.lane.gates.arrived("early")
    stage.lane.gates.at("early").set()
    await stage.waiting(execution, "hold")
    if stage.way == "long":
        # While `late` runs it cannot: what runs ends in the run that it began in.
        for _ in range(LIMIT):
            await stage.lane.executions.signal(stage.lane.tenant_id, execution.id, "noise")
    stage.lane.gates.at("late").set()
    await stage.until(execution, lambda steps: steps["late"].status == "completed")
    await stage.hand_over(execution)
    await stage.lane.executions.signal(stage.lane.tenant_id, execution.id, "go")
    return execution


async def a_cancel_that_undoes(stage: Stage) -> Execution:
    done = undoable(node("done", values={"a": "{{ input }}"}), value="{{ nodes.done.output.a }}")
    execution = await stage.begin(chain(done, node("nap", "wait", duration="1h")), "x")
    await stage.waiting(execution, "nap")
    await stage.hand_over(execution)
    await stage.lane.executions.cancel(stage.lane.tenant_id, execution.id, compensate=True)
    return execution


async def a_rerun_with_another_input(stage: Stage) -> Execution:
    """What is reused stays what another execution made, and is not undone; the edited input is seen later too."""
    first = undoable(node("first", values={"n": 1}))
    hold, see = node("hold", "wait", signal="go"), node("see", values={"n": "{{ input }}"})
    origin = await stage.begin(chain(first, hold, see, BAD))
    await stage.waiting(origin, "hold")
    await stage.lane.executions.signal(stage.lane.tenant_id, origin.id, "go")
    await stage.lane.finish(origin)
    execution = await stage.lane.controls.rerun(
        stage.lane.tenant_id, origin.id, from_node="hold", input={"edited": True}
    )
    await stage.waiting(execution, "hold")
    await stage.hand_over(execution)
    await stage.lane.executions.signal(stage.lane.tenant_id, execution.id, "go", "went")
    return execution


async def a_retry_of_what_took_many_runs(stage: Stage) -> Execution:
    """The figures of all runs of both lives are one execution's."""
    hold = node("hold", "wait", signal="go")
    unsteady = node("bad", "test.unsteady", name="once", failures=1, retry={"maxAttempts": 1}, timeout="2m")
    execution = await stage.begin(chain(node("seen", values={"n": 7}), hold, unsteady))
    await stage.waiting(execution, "hold")
    await stage.hand_over(execution)
    await stage.lane.executions.signal(stage.lane.tenant_id, execution.id, "go")
    failed = await stage.lane.finish(execution)
    await stage.replay_all(execution)
    assert failed.status == "failed"
    await stage.lane.controls.retry(stage.lane.tenant_id, execution.id)
    finished = await stage.lane.finish(execution)
    assert finished.history_events is not None
    assert failed.history_events is not None
    assert failed.history_events < finished.history_events < failed.history_events + LIMIT
    return execution


async def a_loop_whose_rounds_wait(stage: Stage) -> Execution:
    body = [
        node("before", "test.echo", value="{{ item * 2 }}"),
        node("hold", "wait", signal="go"),
        node("after", values={"n": "{{ nodes.before.output + size(nodes.top.output.all) }}"}),
    ]
    each = node(
        "each", "foreach", items="{{ nodes.top.output.all }}", nodes=body, edges=edges("before>hold", "hold>after")
    )
    each["config"] |= {"concurrency": 2}
    each["config"]["result"] = "{{ [index, nodes.after.output.n] }}"
    execution = await stage.begin(chain(node("top", values={"all": [1, 2, 3, 4, 5]}), each))
    for _ in range(5):
        await stage.hand_over(execution)
        # Two rounds wait at a time, and either may take it.
        await stage.lane.executions.signal(stage.lane.tenant_id, execution.id, "go", "on")
    return execution


async def a_segment_that_backs_off(stage: Stage) -> Execution:
    steps = [
        node("a", "test.echo", value="{{ input + 1 }}"),
        node("b", "test.unsteady", name="b", failures=1, retry={"maxAttempts": 3, "initialInterval": "12s"}),
        node("c", "test.echo", value="{{ nodes.a.output + nodes.b.output }}"),
    ]
    execution = await stage.begin(chain(*steps), 40)
    await stage.timer(execution)
    await stage.hand_over(execution)
    return execution


async def a_pause(stage: Stage) -> Execution:
    execution = await stage.begin(
        chain(node("hold", "wait", signal="go"), node("after", values={"got": "{{ input }}"}))
    )
    await stage.waiting(execution, "hold")
    await stage.lane.controls.pause(stage.lane.tenant_id, execution.id)
    await stage.hand_over(execution)
    await stage.lane.executions.signal(stage.lane.tenant_id, execution.id, "go", "x")
    await stage.until(execution, lambda steps: steps["hold"].status == "completed")
    await stage.hand_over(execution)
    assert (await stage.lane.steps(execution))["after"].status == "pending"
    await stage.lane.controls.resume(stage.lane.tenant_id, execution.id)
    return execution


Scenario = Callable[[Stage], Awaitable[Execution]]

SCENARIOS: list[Scenario] = [
    a_call_that_waits,
    a_call_that_fails,
    a_call_that_is_skipped,
    an_approval_of_two,
    an_approval_whose_deadline_passes,
    a_failure_that_is_undone,
    a_cancel_that_undoes,
    a_rerun_with_another_input,
    a_retry_of_what_took_many_runs,
    a_loop_whose_rounds_wait,
    a_segment_that_backs_off,
    a_pause,
]


async def left_by(stage: Stage, scenario: Scenario) -> dict[str, Any]:
    """Carry out a scenario and return what is left of it in the records."""
    execution = await scenario(stage)
    finished = await stage.lane.finish(execution)
    await stage.replay_all(execution)
    left = to_builtins(finished)
    steps = await stage.lane.steps(execution)
    inside = [
        to_builtins(step)
        for number in range(5)
        if "each" in steps
        for step in await stage.lane.inside(execution, "each", number)
    ]
    assert all(step.closed_at is not None for step in steps.values())
    undone = [step.removesuffix(".compensate") for step, *_ in stage.lane.keys if step.endswith(".compensate")]
    common: dict[str, Any] = _common(
        {
            "execution": {key: left[key] for key in ("status", "output", "error", "input")},
            "steps": {id: to_builtins(step) for id, step in steps.items()},
            "inside": inside,
            "undone": [id for id in undone if id in steps and steps[id].compensation is not None],
        }
    )
    return common


def _common(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _common(inner) for key, inner in value.items() if key not in _OWN}
    if isinstance(value, list | tuple):
        return [_common(inner) for inner in value]
    if isinstance(value, str) and "ex_" in value:
        return value[: value.index("ex_")] + "…"
    return value


@asynccontextmanager
async def a_stage(temporal_address: str, tmp_path_factory: pytest.TempPathFactory, way: Way) -> AsyncIterator[Stage]:
    folder = tmp_path_factory.mktemp("handovers")
    database = Database(new_sqlite(folder / "gateway.db"))
    limit = LIMIT if way == "long" else HISTORY_LIMIT
    patience = PATIENCE if way == "parked" else PARK_AFTER
    try:
        async with open_lane(database, temporal_address, folder, history_limit=limit, park_after=patience) as lane:
            yield Stage(lane=lane, way=way)
    finally:
        await database.close()


@pytest.fixture(scope="module")
async def expected(temporal_address: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is left of every scenario where no execution hands over."""
    async with a_stage(temporal_address, tmp_path_factory, "whole") as stage:
        left = await asyncio.gather(*(left_by(stage, scenario) for scenario in SCENARIOS))
    return {scenario.__name__: each for scenario, each in zip(SCENARIOS, left, strict=True)}


@pytest.mark.parametrize("way", ["long", "parked"])
async def test_it_ends_as_one_that_never_handed_over(
    way: Way, expected: dict[str, Any], temporal_address: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with a_stage(temporal_address, tmp_path_factory, way) as stage:
        left = await asyncio.gather(*(left_by(stage, scenario) for scenario in SCENARIOS))
    for scenario, each in zip(SCENARIOS, left, strict=True):
        assert each == expected[scenario.__name__], scenario.__name__
