"""Control and data nodes that are evaluated inside the workflow, at no cost in history events."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from user_workflows.expressions import Meter
from user_workflows.interpreter.errors import StepFailed
from user_workflows.interpreter.messages import StepError
from user_workflows.interpreter.responses import answer_of
from user_workflows.interpreter.templates import Templates
from user_workflows.plan.model import PlanNode

Scope = Mapping[str, Any]
#: steps that all conditions of one filter may take together: half a second, of the two that a workflow task has
FILTER_STEPS = 1_500_000
#: what a node left by: port → value
Ports = dict[str, Any]


class Performed(Struct, frozen=True):
    """A node was performed: the ports it left by, port → value."""

    ports: Ports
    attempt: int = 1


class Stop(Struct, frozen=True):
    """A `stop` node ends the execution here."""

    failed: bool
    message: str
    output: Any


Evaluate = Callable[[PlanNode, Templates, Scope], "Ports | Stop"]


def evaluate(node: PlanNode, templates: Templates, scope: Scope) -> "Ports | Stop":
    """Evaluate an inline node.

    Raises:
        StepFailed: a value is not of the type that the node needs.
        ExpressionError: an expression failed.
    """
    return EVALUATORS[node.plugin](node, templates, scope)


def _if(node: PlanNode, templates: Templates, scope: Scope) -> Ports:
    taken = boolean(templates.at(node, "condition").render(scope), "condition")
    return {"true" if taken else "false": scope["input"]}


def _switch(node: PlanNode, templates: Templates, scope: Scope) -> Ports:
    every = node.config.get("mode", "first") == "all"
    ports: Ports = {}
    for index, case in enumerate(node.config["cases"]):
        when = templates.at(node, "cases", index, "when").render(scope)
        if boolean(when, f"cases[{index}].when"):
            ports[case["port"]] = scope["input"]
            if not every:
                break
    return ports or {"default": scope["input"]}


def _set(node: PlanNode, templates: Templates, scope: Scope) -> Ports:
    return {"output": templates.at(node, "values").render(scope)}


def _merge(node: PlanNode, templates: Templates, scope: Scope) -> Ports:
    return {"output": scope["input"]}


def _filter(node: PlanNode, templates: Templates, scope: Scope) -> Ports:
    items = templates.at(node, "items").render(scope)
    if not isinstance(items, list):
        raise StepFailed(StepError(type="config.type", message=f"items must be a list, not {name_of(items)}"))
    where = templates.at(node, "where")
    meter = Meter(steps=FILTER_STEPS)
    kept = [
        item
        for index, item in enumerate(items)
        if boolean(where.render({**scope, "item": item, "index": index}, meter), "where")
    ]
    return {"output": kept}


def _respond(node: PlanNode, templates: Templates, scope: Scope) -> Ports:
    return {"output": answer_of(templates.at(node).render(scope))}


def _stop(node: PlanNode, templates: Templates, scope: Scope) -> Stop:
    config = templates.at(node).render(scope)
    return Stop(
        failed=config.get("status") == "failed",
        message=str(config.get("message") or "stopped by the workflow"),
        output=config.get("output"),
    )


def boolean(value: Any, where: str) -> bool:
    """Return a value that decides.

    Raises:
        StepFailed: it is not true or false.
    """
    if not isinstance(value, bool):
        message = f"{where} must be true or false, not {name_of(value)}"
        raise StepFailed(StepError(type="config.type", message=message))
    return value


def name_of(value: Any) -> str:
    """Return the kind of a JSON value, for messages."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "a map"


EVALUATORS: Mapping[str, Evaluate] = {
    "if": _if,
    "switch": _switch,
    "set": _set,
    "merge": _merge,
    "filter": _filter,
    "respond": _respond,
    "stop": _stop,
}
