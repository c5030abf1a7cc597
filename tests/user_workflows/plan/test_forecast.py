"""The forecast of a chain is what Temporal was measured to write (65 events for ten activities)."""

from itertools import pairwise
from typing import Any

from tests.user_workflows.palette import REGISTRY, drawn, node
from user_workflows.definition.model import Definition
from user_workflows.definition.validate import validate
from user_workflows.plan.compile import compile_plan
from user_workflows.plan.forecast import forecast
from user_workflows.plan.model import Forecast


def predicted(raw: dict[str, Any]) -> Forecast:
    definition = validate(raw, plugins=REGISTRY).definition
    assert isinstance(definition, Definition)
    return forecast(compile_plan(definition, plugins=REGISTRY))


def price(id: str, *, isolate: bool = True) -> dict[str, Any]:
    return node(id, "stock.price", symbol="AAPL") | {"isolate": isolate}


def test_nodes_inside_the_workflow_cost_nothing() -> None:
    one, two = predicted(drawn(node("a"))), predicted(drawn(node("a"), node("b"), edges=[("a", "b")]))
    assert one == two == Forecast(history_events=6, billable_actions=2)


def test_each_activity_of_a_chain_brings_a_workflow_task() -> None:
    ids = [f"n{index}" for index in range(10)]
    chain = drawn(*(price(id) for id in ids), edges=list(pairwise(ids)))
    assert predicted(chain) == Forecast(history_events=65 + 1, billable_actions=11 + 1)


def test_a_segment_costs_one_event_and_one_action_however_long_it_is() -> None:
    ids = [f"n{index}" for index in range(10)]
    chain = drawn(*(price(id, isolate=False) for id in ids), edges=list(pairwise(ids)))
    assert predicted(chain) == Forecast(history_events=6 + 1, billable_actions=2)


def test_activities_side_by_side_share_their_workflow_task() -> None:
    assert predicted(drawn(price("a"), price("b"))) == Forecast(history_events=6 + 3 + 6, billable_actions=4)


def test_a_wait_is_a_timer_or_a_signal() -> None:
    duration = predicted(drawn(node("w", "wait", duration="5s")))
    assert duration == Forecast(history_events=6 + 3 + 2, billable_actions=3)
    signal = predicted(drawn(node("w", "wait", signal="paid")))
    assert signal == Forecast(history_events=6 + 3 + 1, billable_actions=3)
    either = predicted(drawn(node("w", "wait", signal="paid", timeout="1h")))
    assert either == Forecast(history_events=6 + 3 + 3, billable_actions=4)


def test_a_disabled_node_costs_nothing() -> None:
    assert predicted(drawn(price("a") | {"disabled": True})) == predicted(drawn(node("a")))


def loop(plugin: str, *nodes: dict[str, Any], **config: Any) -> dict[str, Any]:
    return node("loop", plugin, nodes=list(nodes), **config)


def test_a_loop_costs_its_body_once_for_every_item_that_is_drawn() -> None:
    once = predicted(drawn(price("a")))
    assert predicted(drawn(loop("foreach", price("a"), items="{{ trigger }}"))) == once
    assert predicted(drawn(loop("while", price("a"), condition="{{ index < 9 }}"))) == once
    assert predicted(drawn(loop("foreach", price("a"), items=[]))) == predicted(drawn(node("a")))
    five = predicted(drawn(loop("foreach", price("a"), items=[1, 2, 3, 4, 5], concurrency=2)))
    assert five == Forecast(history_events=6 + 5 * 3 + 3 * 3, billable_actions=2 + 5)
    cheap = predicted(drawn(loop("foreach", price("a", isolate=False), items=[1, 2, 3])))
    assert cheap == Forecast(history_events=6 + 3 + 3, billable_actions=2 + 1)


def test_loops_within_loops_multiply() -> None:
    inner = loop("foreach", node("w", "wait", duration="1s"), items=[1, 2, 3], concurrency=3) | {"id": "inner"}
    outer = predicted(drawn(loop("foreach", inner, items=[1, 2], concurrency=1)))
    assert outer == Forecast(history_events=6 + 6 * 2 + 2 * 3, billable_actions=2 + 6)
