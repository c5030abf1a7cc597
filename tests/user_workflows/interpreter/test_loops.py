"""Loops over a body, walked outside Temporal: the walk knows no engine."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from user_workflows.interpreter.control import Performed, Scope
from user_workflows.interpreter.errors import ExecutionFailed, ExecutionStopped, StepFailed
from user_workflows.interpreter.journal import Journal
from user_workflows.interpreter.loops import run_foreach, run_while
from user_workflows.interpreter.messages import StepError, StepOutcome
from user_workflows.interpreter.node import NodeState
from user_workflows.interpreter.state import GraphState
from user_workflows.interpreter.templates import Templates
from user_workflows.interpreter.walk import Walk
from user_workflows.plan.model import PlanEdge, PlanGraph, PlanNode

Step = Callable[[dict[str, Any]], Awaitable[Any]]


def step(id: str, config: dict[str, Any], plugin: str = "step", **options: Any) -> PlanNode:
    return PlanNode(id=id, plugin=plugin, home="activity", config=config, **options)


def graph(*nodes: PlanNode, edges: tuple[str, ...] = ()) -> PlanGraph:
    drawn = tuple(
        PlanEdge(source=source, target=target, port=port or None, key=source)
        for source, port, target in ((*pair.split(">")[0].partition(".")[::2], pair.split(">")[1]) for pair in edges)
    )
    return PlanGraph(
        nodes=tuple(
            replace(
                node,
                incoming=tuple(i for i, edge in enumerate(drawn) if edge.target == node.id),
                outgoing=tuple(i for i, edge in enumerate(drawn) if edge.source == node.id),
            )
            for node in nodes
        ),
        edges=drawn,
    )


def loop(plugin: str, body: PlanGraph, config: dict[str, Any], **options: Any) -> PlanNode:
    return step("loop", config, plugin, body=body, **options)


async def walk(whole: PlanGraph, call: Step, given: Any = None, *, journal: Journal | None = None) -> GraphState:
    """Walk a graph whose steps are done by `call`, which gets their rendered config."""

    class Caller:
        async def perform(self, inside: Walk, state: NodeState, scope: Scope) -> Performed:
            if state.node.plugin == "foreach":
                return await run_foreach(inside, state, scope)
            if state.node.plugin == "while":
                return await run_while(inside, state, scope)
            return Performed({"output": await call(inside.templates.at(state.node).render(scope))})

        async def perform_segment(self, walk: Walk, chain: Sequence[str], given: Any) -> Sequence[StepOutcome]:
            raise AssertionError("these graphs have no segments")

        async def breathe(self, nodes: int) -> None:
            """Nothing outside a workflow has to rest."""

    walked = Walk(
        GraphState(whole, journal or Journal()),
        templates=Templates(),
        seen={"vars": {"x": 100}, "trigger": given, "execution": {}},
        given=given,
        performer=Caller(),
        clock=lambda: datetime(2026, 1, 1, tzinfo=UTC),
        pause=lambda: None,
    )
    try:
        await walked.run()
    except BaseException:
        await walked.close("ended")
        raise
    return walked.graph


async def double(config: dict[str, Any]) -> Any:
    return config["n"] * 2


async def test_results_come_in_the_order_of_the_items_whatever_ends_first() -> None:
    doors = [asyncio.Event() for _ in range(4)]

    async def hold(config: dict[str, Any]) -> Any:
        await doors[config["n"]].wait()
        if config["n"]:
            doors[config["n"] - 1].set()
        return config["n"] * 10

    body = graph(step("inner", {"n": "{{ item }}"}))
    drawn = graph(loop("foreach", body, {"items": "{{ input }}", "result": "{{ nodes.inner.output }}"}))
    walking = asyncio.create_task(walk(drawn, hold, [0, 1, 2, 3]))
    doors[3].set()
    state = await walking
    assert state.result() == {"loop": [0, 10, 20, 30]}


async def test_at_most_the_given_number_of_items_is_under_way() -> None:
    under_way = most = 0

    async def count(config: dict[str, Any]) -> Any:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    body = graph(step("inner", {"n": "{{ item }}"}))
    await walk(graph(loop("foreach", body, {"items": "{{ input }}", "concurrency": 3})), count, list(range(20)))
    assert most == 3


async def test_a_body_sees_its_item_the_outer_nodes_and_its_own() -> None:
    body = graph(
        step("a", {"values": {"sum": "{{ item + index + vars.x }}"}}, "set"),
        step("b", {"n": "{{ nodes.a.output.sum + nodes.outer.output }}"}),
        edges=("a>b",),
    )
    drawn = graph(
        step("outer", {"n": 500}),
        loop("foreach", body, {"items": [1, 2], "result": "{{ nodes.b.output }}"}),
        edges=("outer>loop",),
    )
    state = await walk(drawn, double)
    assert state.result() == {"loop": [(1 + 0 + 100 + 1000) * 2, (2 + 1 + 100 + 1000) * 2]}


async def test_every_inner_step_is_noted_with_its_path() -> None:
    inner = loop("foreach", graph(step("leaf", {"n": "{{ item }}"})), {"items": "{{ input }}"})
    body = graph(replace(inner, id="inner"))
    journal = Journal()
    await walk(graph(loop("foreach", body, {"items": [[1, 2], [3]]})), double, journal=journal)
    leaves = {state.path: state.output for state in journal.all() if state.node.id == "leaf"}
    assert leaves == {(0, 0): 2, (0, 1): 4, (1, 0): 6}


async def fail_on_two(config: dict[str, Any]) -> Any:
    if config["n"] == 2:
        raise StepFailed(StepError(type="test.two", message="two is not welcome"))
    return config["n"]


async def test_a_failed_item_fails_the_loop_and_names_the_round_and_the_node() -> None:
    body = graph(step("inner", {"n": "{{ item }}"}))
    with pytest.raises(ExecutionFailed) as failed:
        await walk(graph(loop("foreach", body, {"items": [1, 2, 3]})), fail_on_two)
    assert (failed.value.error.node_id, failed.value.error.type) == ("loop", "test.two")
    assert failed.value.error.message == "round 1, node inner: two is not welcome"


async def test_collected_errors_leave_by_error_beside_the_results() -> None:
    body = graph(step("inner", {"n": "{{ item }}"}))
    config = {"items": [1, 2, 3], "continueOnItemError": True, "result": "{{ nodes.inner.output }}"}
    drawn = graph(
        loop("foreach", body, config),
        step("good", {"values": {"got": "{{ input }}"}}, "set"),
        step("bad", {"values": {"got": "{{ input[0].index }}"}}, "set"),
        edges=("loop.output>good", "loop.error>bad"),
    )
    state = await walk(drawn, fail_on_two)
    assert state.result() == {"good": {"got": [1, None, 3]}, "bad": {"got": 1}}


async def test_a_result_that_cannot_be_evaluated_is_an_error_of_its_item() -> None:
    body = graph(step("inner", {"n": "{{ item.n }}"}))
    config = {"items": [{"n": 1, "x": 5}, {"n": 2}], "continueOnItemError": True, "result": "{{ item.x }}"}
    outputs = (await walk(graph(loop("foreach", body, config)), double)).nodes["loop"].ports
    assert outputs["output"] == [5, None]
    assert [(failed["index"], failed["error"]["message"][:8]) for failed in outputs["error"]] == [(1, "result: ")]
    with pytest.raises(ExecutionFailed, match=r"^round 1: result: "):
        await walk(graph(loop("foreach", body, config | {"continueOnItemError": False})), double)


async def test_a_failing_item_stops_the_others_that_are_under_way() -> None:
    never = asyncio.Event()

    async def hold(config: dict[str, Any]) -> Any:
        if config["n"] == 1:
            raise StepFailed(StepError(type="test.failed", message="no"))
        await never.wait()

    body = graph(step("inner", {"n": "{{ item }}"}))
    journal = Journal()
    with pytest.raises(ExecutionFailed):
        await walk(graph(loop("foreach", body, {"items": [0, 1, 2]})), hold, journal=journal)
    assert {s.path: s.status for s in journal.all() if s.node.id == "inner"} == {
        (0,): "canceled",
        (1,): "failed",
        (2,): "canceled",
    }


async def test_a_stop_inside_a_loop_ends_the_execution() -> None:
    body = graph(step("end", {"output": "{{ item }}"}, "stop"))
    with pytest.raises(ExecutionStopped) as stopped:
        await walk(graph(loop("foreach", body, {"items": [7]})), double)
    assert stopped.value.output == 7


async def test_while_tests_before_each_round_and_gives_the_last_result() -> None:
    body = graph(step("inner", {"n": "{{ index + 1 }}"}))
    config = {"condition": "{{ index < 3 }}", "result": "{{ nodes.inner.output }}"}
    state = await walk(graph(loop("while", body, config)), double)
    assert state.result() == {"loop": 6}
    state = await walk(graph(loop("while", body, {"condition": "{{ false }}"})), double)
    assert state.result() == {"loop": None}


async def test_while_sees_its_last_result() -> None:
    body = graph(step("inner", {"n": "{{ last == null ? 1 : last }}"}))
    config = {"condition": "{{ last == null || last < 50 }}", "result": "{{ nodes.inner.output }}"}
    state = await walk(graph(loop("while", body, config)), double)
    assert state.result() == {"loop": 64}


async def test_while_fails_when_its_condition_never_ends() -> None:
    body = graph(step("inner", {"n": 1}))
    with pytest.raises(ExecutionFailed, match="still held after 5 rounds"):
        await walk(graph(loop("while", body, {"condition": "{{ true }}", "maxIterations": 5})), double)


@pytest.mark.parametrize(("items", "type"), [("text", "config.type"), (list(range(100_001)), "foreach.tooManyItems")])
async def test_items_must_be_a_list_that_is_not_too_long(items: Any, type: str) -> None:
    body = graph(step("inner", {"n": 1}))
    with pytest.raises(ExecutionFailed) as failed:
        await walk(graph(loop("foreach", body, {"items": "{{ input }}"})), double, items)
    assert failed.value.error.type == type


async def test_a_loop_that_is_stopped_closes_every_round_however_long_each_takes_to_stop() -> None:
    entered: list[int] = []

    async def hold(config: dict[str, Any]) -> Any:
        entered.append(config["n"])
        try:
            await asyncio.Event().wait()
        finally:
            # A step acknowledges its cancellation later than its neighbours.
            for _ in range(10 * config["n"]):
                await asyncio.sleep(0)

    journal = Journal()
    body = graph(step("inner", {"n": "{{ item }}"}))
    walking = asyncio.create_task(walk(graph(loop("foreach", body, {"items": [0, 1, 2]})), hold, journal=journal))
    while len(entered) < 3:
        await asyncio.sleep(0)
    walking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await walking
    assert {s.path: s.status for s in journal.all() if s.node.id == "inner"} == {
        (0,): "canceled",
        (1,): "canceled",
        (2,): "canceled",
    }
