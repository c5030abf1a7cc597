"""No key of a node is passed over in silence: it is acted on, refused, or warned of."""

from typing import Any

import pytest

from tests.user_workflows.palette import PRICE, REGISTRY, drawn, node
from user_workflows.definition.control_nodes import CONTROL_NODES
from user_workflows.definition.model import Fault
from user_workflows.definition.validate import validate
from user_workflows.plan.compile import compile_plan
from user_workflows.plan.model import PlanNode

BODY = [node("inside")]
ONE_OF_EACH: dict[str, dict[str, Any]] = {
    "if": {"condition": "{{ true }}"},
    "switch": {"cases": [{"port": "a", "when": "{{ input.a }}"}]},
    "set": {"values": {}},
    "merge": {},
    "filter": {"items": [], "where": "{{ item }}"},
    "foreach": {"items": [], "nodes": BODY},
    "while": {"condition": "{{ index < 1 }}", "nodes": BODY},
    "wait": {"duration": "1s"},
    "approval": {"title": "?"},
    "respond": {},
    "workflow.call": {"workflowId": "wf_1"},
    "stop": {},
}
TAKE_TIME = ("foreach", "while", "wait", "approval", "workflow.call")
AT_ONCE = tuple(kind for kind in ONE_OF_EACH if kind not in TAKE_TIME)


def faults(kind: str, **keys: Any) -> list[Fault]:
    drawing = drawn({"id": "x", "pluginId": kind, "config": ONE_OF_EACH[kind], **keys})
    return [fault for fault in validate(drawing, plugins=REGISTRY).faults if fault.pointer != "/nodes/0/config"]


def compiled(drawing: dict[str, Any]) -> PlanNode:
    validation = validate(drawn(drawing), plugins=REGISTRY)
    assert validation.definition is not None, validation.faults
    return compile_plan(validation.definition, plugins=REGISTRY).nodes[0]


def test_every_control_node_is_tried_here() -> None:
    assert ONE_OF_EACH.keys() <= CONTROL_NODES.keys()
    assert {kind for kind, node in CONTROL_NODES.items() if node.takes_time} == set(TAKE_TIME)


@pytest.mark.parametrize("kind", TAKE_TIME)
def test_a_timeout_of_what_takes_time_is_a_limit_for_the_whole_of_it(kind: str) -> None:
    drawing = {"id": "x", "pluginId": kind, "config": ONE_OF_EACH[kind]}
    assert faults(kind, timeout="30s") == []
    assert compiled({**drawing, "timeout": "30s"}).limit == 30
    assert compiled(drawing).limit is None


@pytest.mark.parametrize("kind", TAKE_TIME)
def test_what_takes_time_is_not_tried_again_as_a_whole(kind: str) -> None:
    (fault,) = faults(kind, retry={"maxAttempts": 3})
    assert (fault.code, fault.severity, fault.pointer) == ("node.notRetried", "error", "/nodes/0/retry")
    (fault,) = faults(kind, retry={"maxAttempts": 3}, disabled=True)
    assert fault.severity == "warning"


@pytest.mark.parametrize("kind", AT_ONCE)
@pytest.mark.parametrize("key", ["retry", "timeout"])
def test_what_is_evaluated_at_once_says_that_it_needs_neither_retry_nor_timeout(kind: str, key: str) -> None:
    (fault,) = faults(kind, **{key: {"retry": {"maxAttempts": 3}, "timeout": "5s"}[key]})
    assert (fault.code, fault.severity, fault.pointer) == ("node.noEffect", "warning", f"/nodes/0/{key}")


@pytest.mark.parametrize("kind", ONE_OF_EACH)
def test_what_is_meant_for_plugins_is_warned_of(kind: str) -> None:
    found = faults(kind, isolate=True, onUnknown="retry")
    assert [(fault.code, fault.severity) for fault in found] == [("node.noEffect", "warning")] * 2
    assert faults(kind, isolate=False, onUnknown="fail", retry=None) == []


def test_a_timeout_of_a_plugin_is_one_of_each_attempt() -> None:
    assert (compiled(PRICE).timeout, compiled(PRICE).limit) == (30, None)
    assert (compiled(PRICE | {"timeout": "5s"}).timeout, compiled(PRICE | {"timeout": "5s"}).limit) == (5, None)
