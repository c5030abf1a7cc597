import itertools
from datetime import UTC, datetime
from typing import Any

import pytest

from user_workflows.interpreter.journal import Journal
from user_workflows.interpreter.messages import StepError
from user_workflows.interpreter.state import GraphState
from user_workflows.plan.model import Plan, PlanEdge, PlanNode

AT = datetime(2026, 1, 1, tzinfo=UTC)
ERROR = StepError(type="http.500", message="the server failed")


def plan(edges: str, **nodes: dict[str, Any]) -> Plan:
    """Make a plan of ``a>b a.true>c`` and options of nodes; nodes appear in alphabetical order."""
    drawn = [part.split(">") for part in edges.split()]
    plan_edges = []
    for source, target in drawn:
        node, _, port = source.partition(".")
        plan_edges.append(PlanEdge(source=node, target=target, port=port or None, key=node))
    names = sorted({edge.source for edge in plan_edges} | {edge.target for edge in plan_edges} | set(nodes))
    return Plan(
        evaluator=1,
        edges=tuple(plan_edges),
        nodes=tuple(
            PlanNode(
                id=name,
                plugin=nodes.get(name, {}).pop("plugin", "set"),
                home="inline",
                incoming=tuple(i for i, edge in enumerate(plan_edges) if edge.target == name),
                outgoing=tuple(i for i, edge in enumerate(plan_edges) if edge.source == name),
                **nodes.get(name, {}),
            )
            for name in names
        ),
    )


def graph_of(drawn: Plan) -> GraphState:
    return GraphState(drawn, Journal())


def ready(graph: GraphState) -> list[str]:
    return [state.node.id for state in graph.take_ready()]


def leave(graph: GraphState, node: str, port: str = "output", value: Any = None) -> None:
    graph.complete(graph.nodes[node], {port: value}, AT)


def test_roots_are_ready_first_and_only_once() -> None:
    graph = graph_of(plan("a>c b>c"))
    assert ready(graph) == ["a", "b"]
    assert ready(graph) == []


def test_a_join_of_any_waits_until_every_edge_is_settled() -> None:
    graph = graph_of(plan("a>c b>c"))
    ready(graph)
    leave(graph, "a")
    assert ready(graph) == []
    leave(graph, "b")
    assert ready(graph) == ["c"]


def test_a_join_of_first_runs_with_the_first_edge_and_ignores_later_ones() -> None:
    graph = graph_of(plan("a>c b>c", c={"join": "first"}))
    ready(graph)
    leave(graph, "a")
    assert ready(graph) == ["c"]
    leave(graph, "b")
    assert ready(graph) == []


def test_a_join_of_all_dies_with_the_first_edge_that_is_ruled_out() -> None:
    graph = graph_of(plan("a.true>c b>c", c={"join": "all"}))
    ready(graph)
    leave(graph, "a", "false")
    assert graph.nodes["c"].status == "skipped"
    assert graph.nodes["c"].reason == "join needs 2 of 2 edges; edge a→c ruled out: port `false` was taken"


@pytest.mark.parametrize(("count", "expected"), [(1, ["d"]), (2, ["d"]), (3, [])])
def test_a_join_by_count_needs_that_many_edges(count: int, expected: list[str]) -> None:
    graph = graph_of(plan("a>d b>d c.x>d", d={"join": count}))
    ready(graph)
    for node in "abc":
        leave(graph, node)
    assert ready(graph) == expected
    assert (graph.nodes["d"].status == "skipped") is (expected == [])


def test_a_skip_travels_along_a_dead_path_with_its_reason() -> None:
    graph = graph_of(plan("a.true>b b>c"))
    ready(graph)
    leave(graph, "a", "false")
    assert [graph.nodes[node].status for node in "bc"] == ["skipped", "skipped"]
    assert graph.nodes["b"].reason == "edge a→b ruled out: port `false` was taken"
    assert graph.nodes["c"].reason == "edge b→c ruled out: b was skipped"


def test_a_dead_path_of_a_thousand_nodes_needs_no_recursion() -> None:
    names = [f"n{i:04}" for i in range(1_000)]
    edges = " ".join(f"{a}>{b}" for a, b in itertools.pairwise(names))
    graph = graph_of(plan(edges.replace("n0000>", "n0000.true>")))
    ready(graph)
    leave(graph, "n0000", "false")
    assert graph.nodes["n0999"].status == "skipped"


def test_a_diamond_joins_the_branch_that_was_taken() -> None:
    graph = graph_of(plan("a.true>b a.false>c b>d c>d"))
    ready(graph)
    leave(graph, "a", "true", 1)
    assert ready(graph) == ["b"]
    leave(graph, "b", value=2)
    assert ready(graph) == ["d"]
    assert graph.input_of(graph.nodes["d"].node, None) == {"b": 2}


def test_the_input_is_the_trigger_the_one_edge_or_a_map_of_those_that_fired() -> None:
    graph = graph_of(plan("a>b a>c b>d c>d"))
    ready(graph)
    assert graph.input_of(graph.nodes["a"].node, {"x": 1}) == {"x": 1}
    leave(graph, "a", value="from a")
    assert graph.input_of(graph.nodes["b"].node, None) == "from a"
    leave(graph, "b", value="from b")
    leave(graph, "c", value="from c")
    assert graph.input_of(graph.nodes["d"].node, None) == {"b": "from b", "c": "from c"}


def test_a_merge_sees_a_map_even_of_one_edge() -> None:
    graph = graph_of(plan("a>m", m={"plugin": "merge"}))
    ready(graph)
    leave(graph, "a", value=1)
    assert graph.input_of(graph.nodes["m"].node, None) == {"a": 1}


def test_an_edge_without_a_port_leaves_by_whichever_fires_but_not_by_error() -> None:
    graph = graph_of(plan("a>b a.error>c", a={"on_error": "port"}))
    ready(graph)
    graph.fail(graph.nodes["a"], ERROR, AT)
    assert ready(graph) == ["c"]
    assert graph.nodes["b"].status == "skipped"
    assert graph.input_of(graph.nodes["c"].node, None)["type"] == "http.500"


def test_a_failed_node_that_continues_leaves_by_output_with_null_and_its_error_readable() -> None:
    graph = graph_of(plan("a>b", a={"on_error": "continue"}))
    ready(graph)
    graph.fail(graph.nodes["a"], ERROR, AT)
    assert ready(graph) == ["b"]
    assert graph.input_of(graph.nodes["b"].node, None) is None
    assert graph.outputs["a"]["error"]["message"] == "the server failed"


def test_the_result_holds_the_completed_nodes_without_outgoing_edges() -> None:
    graph = graph_of(plan("a.true>b a.false>c a>d"))
    ready(graph)
    leave(graph, "a", "true")
    for node in ready(graph):
        leave(graph, node, value=node.upper())
    assert graph.result() == {"b": "B", "d": "D"}


def test_every_change_raises_the_sequence_and_is_told_once() -> None:
    journal = Journal()
    graph = GraphState(plan("a>b"), journal)
    ready(graph)
    graph.begin(graph.nodes["a"], None, AT)
    first = journal.seq
    leave(graph, "a")
    assert journal.seq > first
    assert [state.node.id for state in journal.take_changed()] == ["a"]
    assert journal.take_changed() == []
    assert [state.node.id for state in journal.all()] == ["a"]


def test_closing_cancels_what_runs_and_skips_what_never_began() -> None:
    graph = graph_of(plan("a>b"))
    ready(graph)
    graph.begin(graph.nodes["a"], None, AT)
    graph.close("the execution was canceled", AT)
    assert [(state.status, state.reason) for state in graph.nodes.values()] == [
        ("canceled", "the execution was canceled"),
        ("skipped", "the execution was canceled"),
    ]
