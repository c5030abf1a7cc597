"""The body of a loop is checked like the definition that holds it, by the same code."""

import copy
import time
from typing import Any

import pytest

from tests.user_workflows.definition.test_validate import check, codes, only
from tests.user_workflows.palette import PRICE, drawn, node


def wires(*edges: tuple[str, ...]) -> list[dict[str, str]]:
    wired: list[dict[str, str]] = drawn(edges=list(edges))["edges"]
    return wired


def each(*nodes: Any, id: str = "f", edges: list[Any] | None = None, **more: Any) -> Any:
    return node(id, "foreach", **{"items": [1, 2], "nodes": list(nodes), "edges": edges or [], **more})


def repeat(*nodes: dict[str, Any], id: str = "w", **more: Any) -> Any:
    return node(id, "while", **{"condition": "{{ index < 3 }}", "nodes": list(nodes), **more})


def test_good_loops_have_no_faults() -> None:
    inner = each(
        node("inside", values={"x": "{{ item + nodes.first.output.n + last + nodes.price.output.price }}"}),
        id="inner",
        items="{{ nodes.first.output.list }}",
        result="{{ nodes.inside.output.x + index + last }}",
    )
    outer = repeat(
        node("first", values={"n": "{{ index }}", "list": "{{ last }}"}),
        inner,
        edges=wires(("first", "inner")),
        condition="{{ index < 3 && (last == null || size(last) > 0) && nodes.price.output.price > 1 }}",
        maxIterations=5,
        result={"list": "{{ nodes.inner.output }}"},
    )
    after = node("after", values={"x": "{{ nodes.w.output.list }}"})
    assert check(drawn(PRICE, outer, after, edges=[("price", "w"), ("w", "after")])).faults == ()


def test_faults_inside_a_body_are_those_of_a_definition_each_with_its_pointer() -> None:
    body = each(
        node("a", values={"x": "{{ 1 + }}"}),
        node("price", "stock.price", symbol="not a ticker"),
        {**node("b"), "colour": "red"},
        node("mystery", "sotck.price", symbol="AAPL"),
        "a node",
        edges=[*wires(("a", "b"), ("b", "a"), ("mystery", "moon")), {"source": 1, "target": "a"}],
    )
    validation = check(drawn(node("x"), body))
    where = "/nodes/1/config"
    assert sorted(codes(validation)) == [
        ("config.invalid", f"{where}/nodes/1/config/symbol"),
        ("definition.invalid", f"{where}/nodes/4"),
        ("edge.invalid", f"{where}/edges/3/source"),
        ("edge.unknownTarget", f"{where}/edges/2/target"),
        ("expression.syntax", f"{where}/nodes/0/config/values/x"),
        ("graph.cycle", f"{where}/edges/1"),
        ("node.unknownKey", f"{where}/nodes/2/colour"),
        ("plugin.unknown", f"{where}/nodes/3/pluginId"),
    ]
    assert {fault.node_id for fault in validation.faults if fault.code == "node.unknownKey"} == {"b"}


def test_a_loop_needs_a_body_and_says_what_to_walk() -> None:
    assert codes(check(drawn(each()))) == [("definition.noNodes", "/nodes/0/config/nodes")]
    assert codes(check(drawn({"id": "f", "pluginId": "foreach"}))) == [
        ("config.missing", "/nodes/0/config/nodes"),
        ("config.missing", "/nodes/0/config/items"),
    ]
    assert codes(check(drawn(node("w", "while", nodes="x", edges={})))) == [
        ("config.invalid", "/nodes/0/config/nodes"),
        ("config.invalid", "/nodes/0/config/edges"),
        ("config.missing", "/nodes/0/config/condition"),
    ]


@pytest.mark.parametrize(
    ("loop", "pointer"),
    [
        (each(node("a"), concurrency=0), "concurrency"),
        (each(node("a"), concurrency=101), "concurrency"),
        (each(node("a"), concurrency="{{ vars.x }}"), "concurrency"),
        (each(node("a"), continueOnItemError="{{ true }}"), "continueOnItemError"),
        (each(node("a"), items={"a": 1}), "items"),
        (each(node("a"), nodes="{{ vars.x }}"), "nodes"),
        (each(node("a"), result=5), "result"),
        (repeat(node("a"), maxIterations=10_001), "maxIterations"),
        (repeat(node("a"), maxIterations="{{ vars.x }}"), "maxIterations"),
    ],
)
def test_what_shapes_a_loop_is_checked_and_must_be_literal(loop: Any, pointer: str) -> None:
    fault = only(check(drawn(loop, variables={"x": 1})))
    assert (fault.code, fault.pointer) == ("config.invalid", f"/nodes/0/config/{pointer}")


@pytest.mark.parametrize("loop", [each(node("a"), result="nodes.a.output"), repeat(node("a"), condition="index < 3")])
def test_a_bare_expression_is_refused_with_a_hint_at_the_braces(loop: Any) -> None:
    assert only(check(drawn(loop))).code == "expression.required"


def test_ids_are_unique_over_all_graphs() -> None:
    validation = check(drawn(node("a"), each(node("b"), id="f"), each(node("a"), node("b"), id="g")))
    assert codes(validation) == [
        ("node.duplicateId", "/nodes/2/config/nodes/0/id"),
        ("node.duplicateId", "/nodes/2/config/nodes/1/id"),
    ]
    assert "is taken by /nodes/0;" in validation.faults[0].message


def test_edges_stay_within_their_graph() -> None:
    loop = each(node("b"), node("c"), edges=wires(("a", "b"), ("c", "g")))
    validation = check(drawn(node("a"), loop, node("g"), edges=[("a", "b"), ("a", "f")]))
    assert codes(validation) == [
        ("edge.crossesLoop", "/edges/0/target"),
        ("edge.crossesLoop", "/nodes/1/config/edges/0/source"),
        ("edge.crossesLoop", "/nodes/1/config/edges/1/target"),
    ]
    assert "inside the loop f" in validation.faults[0].message
    assert "outside this loop" in validation.faults[1].message


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("nodes.before.output", None),
        ("nodes.first.output", None),
        ("item + index", None),
        ("nodes.after.output", "reference.notUpstream"),
        ("nodes.later.output", "reference.notUpstream"),
        ("nodes.f.output", "reference.notUpstream"),
        ("nodes.reader.output", "reference.notUpstream"),
        ("nodes.elsewhere.output", "reference.insideLoop"),
        ("nodes.nowhere.output", "reference.unknownNode"),
        ("nodes.before.result", "reference.unknownPort"),
        ("last", "reference.outsideLoop"),
    ],
)
def test_a_node_inside_reads_what_is_upstream_of_it_and_of_its_loops(expression: str, code: str | None) -> None:
    body = each(
        node("first"),
        node("reader", values={"x": f"{{{{ {expression} }}}}"}),
        node("later"),
        edges=wires(("first", "reader"), ("reader", "later")),
    )
    other = each(node("elsewhere"), id="g")
    edges: list[tuple[str, ...]] = [("before", "f"), ("f", "after"), ("before", "g")]
    validation = check(drawn(node("before"), body, other, node("after"), edges=edges))
    expected = [] if code is None else [(code, "/nodes/1/config/nodes/1/config/values/x")]
    assert codes(validation) == expected


def test_nodes_outside_do_not_read_what_is_inside_but_the_result_does() -> None:
    loop = each(node("a"), items="{{ nodes.a.output }}", result="{{ nodes.a.output }}")
    reader = node("reader", values={"x": "{{ nodes.a.output }}"})
    validation = check(drawn(loop, reader, edges=[("f", "reader")]))
    assert codes(validation) == [
        ("reference.insideLoop", "/nodes/0/config/items"),
        ("reference.insideLoop", "/nodes/1/config/values/x"),
    ]
    assert validation.faults[1].message.startswith("node a is inside the loop f and is read only there")


@pytest.mark.parametrize(
    ("loop", "pointer"),
    [
        (each(node("a"), items="{{ item }}"), "/nodes/0/config/items"),
        (each(node("a"), result="{{ last }}"), "/nodes/0/config/result"),
        (repeat(node("a"), condition="{{ item > 1 }}"), "/nodes/0/config/condition"),
        (repeat(node("a", values={"x": "{{ item }}"})), "/nodes/0/config/nodes/0/config/values/x"),
    ],
)
def test_each_loop_gives_its_own_names_only(loop: Any, pointer: str) -> None:
    fault = only(check(drawn(loop)))
    assert (fault.code, fault.pointer) == ("reference.outsideLoop", pointer)


def test_a_foreach_that_collects_errors_leaves_by_both_ports() -> None:
    collecting = each(node("a"), continueOnItemError=True)
    both = {**node("both", "merge"), "join": "all"}
    edges: list[tuple[str, ...]] = [("f", "output", "both"), ("f", "error", "both")]
    assert check(drawn(collecting, both, edges=edges)).faults == ()
    fault = only(check(drawn(each(node("a")), node("after"), edges=[("f", "error", "after")])))
    assert fault.code == "edge.unknownPort"
    assert "continueOnItemError" in fault.message


def nested(depth: int) -> Any:
    inside = node("inside")
    for level in range(depth):
        inside = each(inside, id=f"level{level}")
    return inside


def test_loops_nest_eight_deep() -> None:
    assert check(drawn(nested(8))).faults == ()
    fault = only(check(drawn(nested(12))))
    assert (fault.code, fault.pointer) == ("definition.tooNested", "/nodes/0/config" + "/nodes/0/config" * 8)


def test_the_limit_of_nodes_counts_those_inside_loops() -> None:
    loops = [each(*(node(f"n{loop}_{index}") for index in range(499)), id=f"f{loop}") for loop in range(2)]
    assert check(drawn(*loops)).faults == ()
    assert only(check(drawn(*loops, node("x")))).code == "definition.tooManyNodes"


def test_a_disabled_loop_may_be_half_drawn() -> None:
    loop = each({"id": "a"}, "nothing", edges=[{"source": "x"}]) | {"disabled": True}
    assert check(drawn(loop)).faults == ()


def test_a_loop_says_how_many_items_a_batch_holds_and_how_long_it_may_take() -> None:
    assert check(drawn(each(node("a"), batchSize=25) | {"timeout": "5m"})).faults == ()


def test_a_node_in_a_body_that_can_never_run_is_a_warning() -> None:
    branch = node("i", "if", condition="{{ item > 1 }}")
    both = {**node("both"), "join": "all"}
    validation = check(drawn(each(branch, both, edges=wires(("i", "true", "both"), ("i", "false", "both")))))
    assert codes(validation) == [("node.neverRuns", "/nodes/0/config/nodes/1/join")]


def test_five_hundred_loops_are_validated_fast() -> None:
    loops = [each(node(f"n{index}", values={"x": "{{ item }}"}), id=f"f{index}") for index in range(500)]
    started = time.thread_time()
    assert check(drawn(*copy.deepcopy(loops))).faults == ()
    assert time.thread_time() - started < 1.0
