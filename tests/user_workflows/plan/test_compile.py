"""A valid definition becomes the plan that the interpreter walks."""

import time
from typing import Any

import msgspec
import pytest

from tests.user_workflows.palette import MAIL, PRICE, REGISTRY, drawn, node
from user_workflows.definition.model import Definition
from user_workflows.definition.validate import validate
from user_workflows.expressions import EVALUATOR_VERSION
from user_workflows.plan.compile import compile_plan
from user_workflows.plan.model import Plan, PlanEdge, PlanNode


def compiled(raw: dict[str, Any]) -> Plan:
    validation = validate(raw, plugins=REGISTRY)
    assert validation.definition is not None, validation.faults
    return compile_plan(validation.definition, plugins=REGISTRY)


def by_id(plan: Plan) -> dict[str, PlanNode]:
    return {node.id: node for node in plan.nodes}


def test_reads_share_segments_effects_have_activities_and_control_nodes_are_inline_in_topological_order() -> None:
    raw = drawn(
        MAIL,
        node("dropped", "if", condition="{{ nodes.price.output.price < 5 }}"),
        PRICE,
        node("pause", "wait", duration="5s"),
        edges=[("dropped", "true", "pause"), ("pause", "mail"), ("price", "dropped")],
        variables={"email": "a@example.com"},
        timeout="2h",
    )
    plan = compiled(raw)
    assert [(node.id, node.home) for node in plan.nodes] == [
        ("price", "segment"),
        ("dropped", "inline"),
        ("pause", "inline"),
        ("mail", "activity"),
    ]
    assert plan.evaluator == EVALUATOR_VERSION
    assert plan.variables == {"email": "a@example.com"}
    assert plan.timeout == 7200.0


def test_an_edge_leaves_by_the_default_port_or_by_whichever_of_several_fires() -> None:
    plan = compiled(
        drawn(
            PRICE,
            node("branch", "if", condition="{{ true }}"),
            node("a"),
            node("b"),
            edges=[("price", "branch"), ("branch", "a"), ("branch", "false", "b")],
        )
    )
    assert plan.edges == (
        PlanEdge(source="price", target="branch", port="output", key="price"),
        PlanEdge(source="branch", target="a", port=None, key="branch"),
        PlanEdge(source="branch", target="b", port="false", key="branch"),
    )
    nodes = by_id(plan)
    assert (nodes["branch"].incoming, nodes["branch"].outgoing) == ((0,), (1, 2))
    assert (nodes["price"].default_port, nodes["branch"].default_port) == ("output", "true")


def test_a_value_arrives_under_its_target_handle() -> None:
    raw = drawn(node("a"), node("b", "merge"), edges=[("a", "b")])
    raw["edges"][0]["targetHandle"] = "left"
    assert compiled(raw).edges[0].key == "left"


def test_what_a_node_says_about_its_own_run_is_kept() -> None:
    raw = drawn(
        PRICE
        | {
            "label": "Price",
            "retry": {"maxAttempts": 7, "initialInterval": "250ms"},
            "timeout": "2m",
            "onError": "port",
            "onUnknown": "retry",
            "disabled": True,
        },
        MAIL | {"credentials": {"smtp": "cred_1"}, "join": {"count": 1}},
        edges=[("price", "mail")],
        variables={"email": "a@example.com"},
    )
    nodes = by_id(compiled(raw))
    price, mail = nodes["price"], nodes["mail"]
    assert price.retry is not None
    assert (price.retry.max_attempts, price.retry.initial_interval) == (7, "250ms")
    assert (price.label, price.timeout, price.on_error, price.on_unknown) == ("Price", 120.0, "port", "retry")
    assert price.disabled
    assert (mail.credentials, mail.join, mail.timeout, mail.retry) == ({"smtp": "cred_1"}, 1, 30.0, None)


def test_a_plan_survives_the_wire() -> None:
    plan = compiled(drawn(PRICE, node("a", values={"x": [1, None]}), edges=[("price", "a")]))
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


LOOP = node(
    "loop",
    "foreach",
    items="{{ [1, 2] }}",
    concurrency=2,
    result="{{ nodes.b.output }}",
    nodes=[
        node("b", values={"x": "{{ nodes.a.output }}"}),
        PRICE | {"id": "a"},
        node("rounds", "while", condition="{{ index < 2 }}", nodes=[MAIL]),
    ],
    edges=[{"source": "a", "target": "b"}, {"source": "b", "target": "rounds"}],
)


def test_a_loop_holds_its_body_compiled_and_keeps_the_rest_of_its_config() -> None:
    plan = compiled(drawn(PRICE, LOOP, edges=[("price", "loop")], variables={"email": "a@example.com"}))
    loop = by_id(plan)["loop"]
    assert loop.home == "inline"
    assert loop.config == {"items": "{{ [1, 2] }}", "concurrency": 2, "result": "{{ nodes.b.output }}"}
    assert loop.body is not None
    assert [(node.id, node.home, node.incoming, node.outgoing) for node in loop.body.nodes] == [
        ("a", "segment", (), (0,)),
        ("b", "inline", (0,), (1,)),
        ("rounds", "inline", (1,), ()),
    ]
    assert loop.body.segments == (("a",),)
    rounds = loop.body.nodes[2]
    assert rounds.config == {"condition": "{{ index < 2 }}"}
    assert rounds.body is not None
    assert [(node.id, node.home) for node in rounds.body.nodes] == [("mail", "activity")]
    assert list(plan.graphs()) == [plan, loop.body, rounds.body]
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


def test_a_disabled_loop_has_no_body() -> None:
    loop = by_id(compiled(drawn(node("loop", "foreach", nodes=["half drawn"]) | {"disabled": True})))["loop"]
    assert (loop.body, loop.config) == (None, {})


def test_a_plugin_that_has_gone_is_named() -> None:
    definition = msgspec.convert(drawn(node("a", "gone.away")), Definition)
    with pytest.raises(LookupError, match=r"gone\.away"):
        compile_plan(definition, plugins=REGISTRY)


def test_a_thousand_nodes_are_compiled_fast() -> None:
    raw = drawn(*(node(f"n{index}") for index in range(1000)), edges=[("n0", f"n{index}") for index in range(1, 1000)])
    definition = msgspec.convert(raw, Definition)
    started = time.process_time()
    compile_plan(definition, plugins=REGISTRY)
    assert time.process_time() - started < 0.5
