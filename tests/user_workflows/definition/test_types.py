"""What an expression surely cannot do with what it reads is told at save: certain mismatches, and nothing else."""

import time
from itertools import pairwise
from typing import Any

import pytest

from tests.user_workflows.palette import PRICE, REGISTRY, drawn, node
from user_workflows.definition.codes import CODES
from user_workflows.definition.model import Fault
from user_workflows.definition.validate import validate

CONSTANTS = node("c", values={"count": 3, "name": "Ann", "tags": ["a"], "deep": {"on": True}, "any": "{{ trigger }}"})
CRON = {"id": "daily", "type": "cron", "config": {"cron": "0 9 * * *", "payload": {"region": "eu"}}}
HOOK = {"id": "hook", "type": "webhook", "config": {"secret": "cred_1"}}


def faults(raw: dict[str, Any]) -> list[Fault]:
    validation = validate(raw, plugins=REGISTRY)
    assert {fault.code for fault in validation.faults} <= CODES.keys()
    assert all(fault.severity == "warning" for fault in validation.faults), validation.faults
    return list(validation.faults)


def of(expression: str, **more: Any) -> list[Fault]:
    """The faults of an expression that reads nodes `price` and `c`."""
    reader = node("r", values={"x": expression})
    return faults(drawn(PRICE, CONSTANTS, reader, edges=[("price", "c"), ("c", "r")], **more))


def wired(*nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Nodes in a chain."""
    return drawn(*nodes, edges=[(one["id"], other["id"]) for one, other in pairwise(nodes)], **more)


def test_a_field_that_the_plugins_schema_does_not_have_is_told_with_its_place_and_the_nearest_one() -> None:
    (fault,) = of("costs {{ nodes.price.output.pric }}")
    assert (fault.code, fault.pointer, fault.node_id) == ("expression.unknownField", "/nodes/2/config/values/x", "r")
    assert fault.message == "nodes.price.output has no field 'pric'; did you mean 'price'? (at character 29)"
    assert fault.position == 28


@pytest.mark.parametrize(
    ("expression", "code", "says"),
    [
        ("{{ nodes.price.output.volume }}", "expression.unknownField", "it has symbol, price"),
        ("{{ nodes.price.output['volume'] }}", "expression.unknownField", "no field 'volume'"),
        ("{{ nodes.price.output.price.cents }}", "expression.noSuchOverload", "price is a number"),
        ("{{ nodes.price.output.price.lower() }}", "expression.noSuchOverload", "needs a string"),
        ("{{ nodes.price.output.symbol + 1 }}", "expression.noSuchOverload", "string(…)"),
        ("{{ nodes.price.output.symbol > 1 }}", "expression.noSuchOverload", "'>' between a string and a whole number"),
        ("{{ nodes.price.output.symbol ? 1 : 2 }}", "expression.noSuchOverload", "needs true or false, not a string"),
        ("{{ !nodes.c.output.count }}", "expression.noSuchOverload", "'!' needs true or false"),
        ("{{ -nodes.c.output.name }}", "expression.noSuchOverload", "'-' of a string"),
        ("{{ nodes.c.output.count.map(x, x) }}", "expression.noSuchOverload", "loop over, not a whole number"),
        ("{{ nodes.c.output.tags.map(t, t + 1) }}", "expression.noSuchOverload", "'+' between"),
        ("{{ nodes.c.output.tags.filter(t, t) }}", "expression.noSuchOverload", "condition of filter()"),
        ("{{ nodes.c.output.tags['a'] }}", "expression.noSuchOverload", "is a list and has no field"),
        ("{{ nodes.c.output.count[0] }}", "expression.noSuchOverload", "not indexed by a whole number"),
        ("{{ nodes.c.output.deep.off }}", "expression.unknownField", "nodes.c.output.deep has no field 'off'"),
        ("{{ nodes.c.output.missing }}", "expression.unknownField", "it has count, name, tags, deep, any"),
        ("{{ input.missing }}", "expression.unknownField", "input has no field 'missing'"),
        ("{{ vars.limits.low }}", "expression.unknownField", "vars.limits has no field 'low'"),
        ("{{ trigger.regoin }}", "expression.unknownField", "did you mean 'region'?"),
        ("{{ execution.version.major }}", "expression.noSuchOverload", "is a whole number and has no field"),
        ("{{ nodes.price.output.symbol && true }}", "expression.noSuchOverload", "'&&' needs true or false"),
        ("{{ cel.bind(p, nodes.price.output, p.cost) }}", "expression.unknownField", "no field 'cost'"),
        ("{{ size(nodes.c.output.count) }}", "expression.noSuchOverload", "size() needs a string, list or map"),
    ],
)
def test_what_surely_fails_is_told(expression: str, code: str, says: str) -> None:
    (fault,) = of(expression, variables={"limits": {"high": 1}}, triggers=[CRON])
    assert fault.code == code
    assert says in fault.message


@pytest.mark.parametrize(
    "expression",
    [
        "{{ nodes.price.output.price * 2 }}",
        "{{ nodes.c.output.any.whatever[0].of.it }}",
        "{{ has(nodes.price.output.volume) ? nodes.price.output.volume : 0 }}",
        "{{ has(nodes.price.output.volume) && nodes.price.output.volume > 1 }}",
        "{{ nodes.price.output?.volume }}",
        "{{ default(nodes.price.output.volume, 0) }}",
        "{{ 'volume' in nodes.price.output ? nodes.price.output.volume : 0 }}",
        "{{ type(nodes.price.output.symbol) == int ? nodes.price.output.symbol + 1 : 0 }}",
        "{{ vars.unset != null ? vars.unset.deep : 0 }}",
        "{{ vars.unset == 'text' }}",
        "{{ nodes.c.output.count + 1.5 }}",
        "{{ nodes.c.output.tags[0].upper() }}",
    ],
)
def test_what_may_have_a_value_is_not_told_of(expression: str) -> None:
    assert of(expression, variables={"unset": None}) == []


def test_what_only_a_run_can_tell_is_never_told_of() -> None:
    for expression in ("{{ trigger.a.b + 1 }}", "{{ input.a.lower() }}", "{{ !trigger }}", "{{ trigger[0] }}"):
        assert faults(drawn(node("r", values={"x": expression}))) == []
        assert faults(drawn(node("r", values={"x": expression}), triggers=[{"id": "m", "type": "manual"}])) == []


@pytest.mark.parametrize(
    ("config", "place", "says"),
    [
        (
            {"symbol": "AAPL", "decimals": "{{ nodes.c.output.name }}"},
            "decimals",
            "a whole number, and this gives a string",
        ),
        ({"symbol": "AAPL", "decimals": "{{ nodes.c.output.count }} places"}, "decimals", "leave out the text around"),
        (
            {"symbol": "{{ nodes.c.output.count }}"},
            "symbol",
            "a string, and this gives a whole number; convert it with",
        ),
        ({"symbol": "{{ nodes.c.output }}"}, "symbol", "a string, and this gives a map"),
    ],
)
def test_a_value_that_cannot_be_what_the_plugin_wants_is_told(config: dict[str, Any], place: str, says: str) -> None:
    (fault,) = faults(wired(CONSTANTS, node("p", "stock.price", **config)))
    assert (fault.code, fault.pointer) == ("expression.typeMismatch", f"/nodes/1/config/{place}")
    assert says in fault.message


def test_a_value_within_lists_and_optional_fields_of_a_config_is_checked_too() -> None:
    mail = node(
        "m",
        "email.send",
        to=["{{ nodes.c.output.count }}"],
        subject="{{ nodes.c.output.count }} items",
        replyTo="{{ nodes.c.output.deep.on }}",
        headers=[{"name": "a", "value": "{{ nodes.c.output.tags }}"}],
    )
    found = [(fault.code, fault.pointer.rpartition("config/")[2]) for fault in faults(wired(CONSTANTS, mail))]
    assert found == [("expression.typeMismatch", place) for place in ("to/0", "replyTo", "headers/0/value")]


@pytest.mark.parametrize(
    ("control", "place", "says"),
    [
        (node("n", "if", condition="{{ nodes.c.output.count }}"), "condition", "write a comparison"),
        (node("n", "if", condition="{{ vars.on }} and more"), "condition", "leave out the text"),
        (node("n", "switch", cases=[{"port": "a", "when": "{{ true }}"}, {"port": "b", "when": "{{ 'b' }}"}]),
         "cases/1/when", "true or false, and this gives a string"),
        (node("n", "filter", items="{{ nodes.c.output.tags }}", where="{{ item }}"), "where", "gives a string"),
        (node("n", "filter", items="{{ nodes.c.output.name }}", where="{{ true }}"), "items", "must be a list"),
        (node("n", "foreach", items="{{ nodes.c.output.deep }}", nodes=[node("i")]), "items", "must be a list"),
        (node("n", "while", condition="{{ index }}", nodes=[node("i")]), "condition", "gives a whole number"),
        (node("n", "wait", duration="{{ nodes.c.output.count }}"), "duration", "a string, and this gives"),
    ],
)  # fmt: skip
def test_a_control_node_that_surely_gets_what_it_cannot_use_is_told(
    control: dict[str, Any], place: str, says: str
) -> None:
    found = [fault for fault in faults(wired(CONSTANTS, control, variables={"on": True}))
             if fault.code.startswith("expression.")]  # fmt: skip
    assert [(fault.code, fault.pointer) for fault in found] == [("expression.typeMismatch", f"/nodes/1/config/{place}")]
    assert says in found[0].message


def test_values_keep_their_types_on_their_way_through_control_nodes() -> None:
    checked = node("i", "if", condition="{{ input.count > 1 }}")
    each = node("e", "foreach", items="{{ nodes.i.true.tags }}", nodes=[node("b", values={"up": "{{ item.upper() }}"})],
                result="{{ nodes.b.output }}")  # fmt: skip
    kept = node("k", "filter", items="{{ nodes.e.output }}", where="{{ item.up != 'A' }}")
    raw = drawn(CONSTANTS, checked, each, kept, node("r", values={"x": "{{ nodes.k.output[0].down }}"}),
                edges=[("c", "i"), ("i", "true", "e"), ("e", "k"), ("k", "r")])  # fmt: skip
    (fault,) = faults(raw)
    assert (fault.code, fault.node_id) == ("expression.unknownField", "r")
    assert "did you mean" in fault.message or "it has up" in fault.message
    raw["nodes"][4] = node("r", values={"x": "{{ nodes.k.output[0].up }}"})
    assert faults(raw) == []


def test_a_join_sees_what_may_arrive_by_any_edge() -> None:
    other = node("o", values={"total": 1})
    reader = node("r", values={"x": "{{ input.c.count + input.o.total }}", "y": "{{ input.o.count }}"})
    raw = drawn(CONSTANTS, other, reader, edges=[("c", "r"), ("o", "r")])
    (fault,) = faults(raw)
    assert (fault.pointer, fault.code) == ("/nodes/2/config/values/y", "expression.unknownField")


def test_what_may_be_null_is_not_taken_for_what_it_may_be_else() -> None:
    price = {**PRICE, "onError": "continue"}
    reader = node("r", values={"x": "{{ nodes.price.output.price }}", "e": "{{ nodes.price.error.message.lower() }}"})
    assert faults(wired(price, reader)) == []
    reader["config"]["values"]["e"] = "{{ nodes.price.error.reason }}"
    assert [fault.code for fault in faults(wired(price, reader))] == ["expression.unknownField"]


def test_a_disabled_node_hands_on_what_arrives_and_is_not_looked_at() -> None:
    off = {**node("o", values={"x": "{{ nodes.c.output.missing }}"}), "disabled": True}
    reader = node("r", values={"x": "{{ nodes.o.output.count }}"})
    assert faults(wired(CONSTANTS, off, reader)) == []
    reader["config"]["values"]["x"] = "{{ nodes.o.output.x }}"
    assert [fault.node_id for fault in faults(wired(CONSTANTS, off, reader))] == ["r"]


def test_a_trigger_of_which_one_kind_has_the_field_is_not_told_of() -> None:
    reader = node("r", values={"x": "{{ trigger.body.id }}", "y": "{{ trigger.headers['x-id'].lower() }}"})
    assert faults(drawn(reader, triggers=[HOOK])) == []
    assert faults(drawn(reader, triggers=[HOOK, CRON])) == []
    assert [fault.position for fault in faults(drawn(reader, triggers=[CRON]))] == [11, 11]


def test_a_chain_of_nodes_that_hold_one_another_twice_is_checked_in_no_time() -> None:
    nodes = [node("n0", values={"x": 1})]
    for index in range(1, 200):
        held = f"{{{{ nodes.n{index - 1}.output }}}}"
        nodes.append(node(f"n{index}", values={"x": held, "y": held}))
    started = time.thread_time()
    assert faults(wired(*nodes)) == []
    assert time.thread_time() - started < 2


def test_two_edges_under_one_key_bring_either_value() -> None:
    wires = [{"source": "c", "target": "r", "targetHandle": "in"}, {"source": "o", "target": "r", "targetHandle": "in"}]
    reader = node("r", values={"x": "{{ input['in'].count }}", "y": "{{ input['in'].none }}"})
    raw = drawn(CONSTANTS, node("o", values={"total": 1}), reader) | {"edges": wires}
    assert [fault.pointer for fault in faults(raw)] == ["/nodes/2/config/values/y"]
