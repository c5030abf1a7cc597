"""What validation can see to never run, or to never end by itself."""

from typing import Any

import pytest

from tests.user_workflows.palette import REGISTRY, drawn, node
from user_workflows.definition.validate import validate

BRANCH = node("i", "if", condition="{{ trigger.big }}")
SWITCH = node("s", "switch", cases=[{"port": "x", "when": "{{ trigger.x }}"}, {"port": "y", "when": "{{ trigger.y }}"}])


def joined(id: str, join: Any) -> dict[str, Any]:
    return {**node(id), "join": join}


def warnings(raw: dict[str, Any]) -> list[tuple[str, str | None, str]]:
    validation = validate(raw, plugins=REGISTRY)
    assert validation.valid, validation.faults
    return [(fault.code, fault.node_id, fault.pointer) for fault in validation.faults]


def test_a_join_of_more_edges_than_there_are_never_holds() -> None:
    raw = drawn(node("a"), joined("j", {"count": 2}), edges=[("a", "j")])
    assert warnings(raw) == [("node.neverRuns", "j", "/nodes/1/join")]


def test_a_join_of_all_edges_from_branches_that_exclude_each_other_never_holds() -> None:
    direct = drawn(BRANCH, joined("j", "all"), edges=[("i", "true", "j"), ("i", "false", "j")])
    assert warnings(direct) == [("node.neverRuns", "j", "/nodes/1/join")]
    further = drawn(
        SWITCH, node("a"), node("b"), joined("j", "all"),
        edges=[("s", "x", "a"), ("s", "y", "b"), ("a", "j"), ("b", "j")],
    )  # fmt: skip
    assert warnings(further) == [("node.neverRuns", "j", "/nodes/3/join")]


def test_branches_that_may_run_together_or_meet_before_may_be_joined() -> None:
    every = node("s", "switch", mode="all", cases=SWITCH["config"]["cases"])
    assert warnings(drawn(every, joined("j", "all"), edges=[("s", "x", "j"), ("s", "y", "j")])) == []
    met = drawn(
        BRANCH, node("a"), node("b"), node("m", "merge"), joined("j", "all"),
        edges=[("i", "true", "a"), ("i", "false", "b"), ("a", "m"), ("b", "m"), ("m", "j"), ("i", "true", "j")],
    )  # fmt: skip
    assert warnings(met) == []


def test_what_lies_behind_a_node_that_never_runs_is_unreachable_and_each_is_named() -> None:
    raw = drawn(
        node("end", "stop"), node("a"), node("b"), node("c"), node("root"),
        edges=[("end", "a"), ("a", "b"), ("b", "c"), ("root", "c")],
    )  # fmt: skip
    assert warnings(raw) == [("node.neverRuns", "a", "/nodes/1/join"), ("node.unreachable", "b", "/nodes/2")]


@pytest.mark.parametrize(
    ("source", "dead"),
    [
        (node("s", "if", condition="{{ 1 < 2 }}"), ["false"]),
        (node("s", "if", condition="{{ false }}"), ["true"]),
        ({**node("s", "if", condition="{{ trigger.x }}"), "disabled": True}, ["false"]),
        (node("s", "switch", cases=[{"port": "true", "when": "{{ true }}"}, {"port": "false", "when": "{{ input }}"}]),
         ["false"]),
        (node("s", "switch", mode="all", cases=[{"port": "true", "when": "{{ false }}"},
                                                {"port": "false", "when": "{{ input }}"}]), ["true"]),
    ],
)  # fmt: skip
def test_a_branch_that_a_constant_condition_never_takes_is_a_warning(source: Any, dead: list[str]) -> None:
    raw = drawn(source, node("t"), node("f"), edges=[("s", "true", "t"), ("s", "false", "f")])
    found = warnings(raw)
    places = {"true": ("/edges/0/sourceHandle", "t", "/nodes/1"), "false": ("/edges/1/sourceHandle", "f", "/nodes/2")}
    edges = [("edge.neverFires", "s", places[port][0]) for port in dead]
    assert found == edges + [("node.unreachable", places[port][1], places[port][2]) for port in dead]


def test_a_condition_that_cannot_be_known_rules_nothing_out() -> None:
    for condition in ("{{ input }}", "{{ vars.x }}", "{{ 1 / 0 == 1 }}", "{{ dyn('text') }}"):
        raw = drawn(
            node("i", "if", condition=condition), node("a"), node("b"),
            edges=[("i", "true", "a"), ("i", "false", "b")], variables={"x": True},
        )  # fmt: skip
        assert warnings(raw) == []


def test_a_while_whose_condition_no_round_can_change_is_a_warning() -> None:
    for condition, found in (("{{ true }}", True), ("{{ vars.x }}", True), ("{{ index < 3 }}", False)):
        loop = node("w", "while", condition=condition, nodes=[node("a")])
        expected = [("loop.constant", "w", "/nodes/0/config/condition")] if found else []
        assert warnings(drawn(loop, variables={"x": True})) == expected


def test_other_faults_and_cycles_hide_nothing() -> None:
    raw = drawn(
        node("a"), node("b"), joined("j", {"count": 2}), node("x", "nothing"), BRANCH, joined("k", "all"),
        edges=[("a", "b"), ("b", "a"), ("a", "j"), ("x", "nowhere", "a"), ("i", "true", "k"), ("i", "false", "k")],
    )  # fmt: skip
    found = {(fault.code, fault.node_id) for fault in validate(raw, plugins=REGISTRY).faults}
    assert {("graph.cycle", "a"), ("plugin.unknown", "x"), ("node.neverRuns", "j"), ("node.neverRuns", "k")} <= found


def test_a_condition_is_known_though_another_of_its_node_is_faulty() -> None:
    half = node("s", "switch", cases=[{"port": "x", "when": "{{ false }}"}, {"port": "y", "when": "{{ nope.y }}"}])
    raw = drawn(half, node("a"), node("b"), edges=[("s", "x", "a"), ("s", "y", "b")])
    found = {(fault.code, fault.pointer) for fault in validate(raw, plugins=REGISTRY).faults}
    assert ("edge.neverFires", "/edges/0/sourceHandle") in found, found


def test_a_case_whose_port_is_no_name_is_a_fault_of_its_own() -> None:
    damaged = node("s", "switch", cases=[{"port": [], "when": "{{ true }}"}, {"port": "y", "when": "{{ false }}"}])
    raw = drawn(damaged, node("a"), edges=[("s", "y", "a")])
    found = {(fault.code, fault.pointer) for fault in validate(raw, plugins=REGISTRY).faults}
    assert ("config.invalid", "/nodes/0/config/cases/0/port") in found, found


def test_constant_conditions_count_as_not_known_when_all_of_them_have_taken_enough_steps() -> None:
    slow = "{{ [1,2,3,4,5,6,7,8,9].all(x, [1,2,3,4,5,6,7,8,9].all(y, [1,2,3,4,5,6,7,8,9].all(z, x + y + z > 0))) }}"
    branches = [node(f"n{index}", "if", condition=slow) for index in range(500)]
    leaves = [node(f"x{index}") for index in range(500)]
    raw = drawn(*branches, *leaves, edges=[(f"n{index}", "false", f"x{index}") for index in range(500)])
    known = [pointer for code, _, pointer in warnings(raw) if code == "edge.neverFires"]
    assert known == [f"/edges/{index}/sourceHandle" for index in range(len(known))]
    assert 0 < len(known) < 100
