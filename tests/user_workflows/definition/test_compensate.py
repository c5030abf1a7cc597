"""What may be wrong with a node's `compensate`."""

from typing import Any

import pytest

from tests.user_workflows.palette import MAIL, PRICE, REGISTRY, drawn, node
from user_workflows.definition.validate import validate

GOOD = {"pluginId": "stock.price", "config": {"symbol": "{{ nodes.price.output.symbol }}"}}


def faults(raw: dict[str, Any]) -> list[tuple[str, str]]:
    return [(fault.code, fault.pointer) for fault in validate(raw, plugins=REGISTRY).faults]


def test_an_action_sees_its_node_and_what_is_before_it() -> None:
    reads: dict[str, Any] = {
        "pluginId": "email.send",
        "config": {**MAIL["config"], "text": "after {{ nodes.first.output }}"},
    }
    raw = drawn(
        node("first"), {**PRICE, "compensate": reads}, edges=[("first", "price")], variables={"email": "a@example.com"}
    )
    assert faults(raw) == []
    assert faults(drawn({**PRICE, "compensate": {**GOOD, "timeout": "5s", "retry": {"maxAttempts": 5}}})) == []


@pytest.mark.parametrize(
    ("action", "code", "place"),
    [
        ({}, "node.missing", "/pluginId"),
        ("undo", "node.invalid", ""),
        ({**GOOD, "onError": "fail"}, "node.unknownKey", "/onError"),
        ({"pluginId": "nothing"}, "plugin.unknown", "/pluginId"),
        ({"pluginId": "set", "config": {"values": {}}}, "compensate.notPlugin", "/pluginId"),
        ({"pluginId": "stock.price", "config": {"symbol": "no"}}, "config.invalid", "/config/symbol"),
        ({"pluginId": "vault.read", "config": {"name": "a", "value": "b"}}, "credential.missing", "/credentials/auth"),
        ({**GOOD, "config": {"symbol": "{{ nodes.after.output }}"}}, "reference.notUpstream", "/config/symbol"),
        ({**GOOD, "config": {"symbol": "{{ nodes.price.out }}"}}, "reference.unknownPort", "/config/symbol"),
        ({**GOOD, "config": {"symbol": "{{ vars.x }}"}}, "reference.unknownVariable", "/config/symbol"),
        ({**GOOD, "timeout": "0s"}, "node.invalid", "/timeout"),
    ],
)
def test_an_action_is_checked_like_a_node(action: Any, code: str, place: str) -> None:
    raw = drawn({**PRICE, "compensate": action}, node("after"), edges=[("price", "after")])
    assert faults(raw) == [(code, f"/nodes/0/compensate{place}")]


def test_what_is_inside_a_loop_is_undone_by_the_loop() -> None:
    loop = node("each", "foreach", items=[1], nodes=[{**PRICE, "compensate": GOOD}])
    assert faults(drawn(loop)) == [("compensate.insideLoop", "/nodes/0/config/nodes/0/compensate")]
