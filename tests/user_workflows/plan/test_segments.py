"""Which nodes share an activity."""

from itertools import pairwise
from typing import Any

import pytest

from plugins.builtin import BUILTINS
from plugins.host.registry import Registry
from tests.user_workflows.drawing import edges, node
from user_workflows.definition.validate import validate
from user_workflows.plan.compile import compile_plan
from user_workflows.plan.segments import LONGEST, known_effect

REGISTRY = Registry(BUILTINS)


def get(id: str, **options: Any) -> dict[str, Any]:
    return node(id, "http.request", method="GET", url="https://example.com") | options


def post(id: str) -> dict[str, Any]:
    return node(id, "http.request", method="POST", url="https://example.com")


def segments(nodes: list[dict[str, Any]], *pairs: str) -> tuple[tuple[str, ...], ...]:
    validation = validate({"nodes": nodes, "edges": edges(*pairs)}, plugins=REGISTRY)
    assert validation.definition is not None, validation.faults
    return compile_plan(validation.definition, plugins=REGISTRY).segments


def test_a_chain_of_reads_and_the_data_between_them_is_one_segment() -> None:
    drawn = [get("a"), node("b", values={}), get("c"), node("d", values={})]
    assert segments(drawn, "a>b", "b>c", "c>d") == (("a", "b", "c"),)


def test_a_segment_ends_with_the_first_step_that_acts() -> None:
    drawn = [get("a"), node("b", values={}), post("c"), post("d"), get("e"), post("f")]
    assert segments(drawn, "a>b", "b>c", "c>d", "d>e", "e>f") == (("a", "b", "c"), ("e", "f"))
    assert segments([post("a"), post("b")], "a>b") == ()


@pytest.mark.parametrize("options", [{"isolate": True}, {"timeout": "2m"}, {"disabled": True}])
def test_a_step_that_acts_and_is_long_or_asks_for_it_stays_alone(options: dict[str, Any]) -> None:
    assert segments([get("a"), post("b") | options], "a>b") == (("a",),)


def test_a_step_of_which_only_a_run_tells_whether_it_acts_stays_alone() -> None:
    unclear = node("b", "http.request", method="{{ trigger.method }}", url="https://example.com")
    assert segments([get("a"), unclear], "a>b") == (("a",),)


def test_a_segment_ends_before_what_branches_or_joins() -> None:
    assert segments([get("a"), get("b"), get("c")], "a>b", "a>c") == (("a",), ("b",), ("c",))
    assert segments([get("a"), get("b"), get("c")], "a>c", "b>c") == (("a",), ("b",), ("c",))
    check = node("if", "if", condition="{{ true }}")
    assert segments([get("a"), check, get("b")], "a>if", "if.true>b") == (("a",), ("b",))


@pytest.mark.parametrize("options", [{"isolate": True}, {"timeout": "2m"}, {"disabled": True}])
def test_a_step_that_is_long_or_asks_for_it_stays_alone(options: dict[str, Any]) -> None:
    assert segments([get("a", **options), get("b")], "a>b") == (("b",),)


def test_a_segment_is_not_longer_than_it_may_be() -> None:
    ids = [f"n{i:03}" for i in range(LONGEST + 5)]
    found = segments([get(id) for id in ids], *(f"{a}>{b}" for a, b in pairwise(ids)))
    assert [len(chain) for chain in found] == [LONGEST, 5]


@pytest.mark.parametrize(
    ("config", "effect"),
    [
        ({"method": "GET"}, "read"),
        ({}, "read"),
        ({"method": "PUT"}, "idempotent"),
        ({"method": "POST"}, "unsafe"),
        ({"method": "POST", "idempotent": True}, "idempotent"),
        ({"method": "{{ vars.method }}"}, None),
        ({"method": "GET", "url": "{{ vars.url }}"}, "read"),
    ],
)
def test_the_effect_is_known_when_no_expression_decides_it(config: dict[str, Any], effect: str | None) -> None:
    assert known_effect(REGISTRY.get("http.request"), config) == effect
