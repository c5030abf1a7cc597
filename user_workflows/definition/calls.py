"""Calls of other workflows, as far as their targets are drawn as they are: what an expression names is known later."""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from user_workflows.definition.drawing import Drawing, DrawnNode
from user_workflows.definition.faults import Faults
from user_workflows.definition.shape import has_template
from user_workflows.interpreter.calls import CALL


class Called(Struct, frozen=True):
    """What a `workflow.call` starts."""

    workflow_id: str
    #: ``None``: the published one
    version: int | None = None


def read_called(config: Mapping[str, Any]) -> Called | None:
    """Return what a call with this drawn config starts; ``None``: only its expressions will tell."""
    target, version = config.get("workflowId"), config.get("version")
    if not isinstance(target, str) or has_template(target) or has_template(version):
        return None
    return Called(target, version if isinstance(version, int) else None)


def drawn_calls(drawing: Drawing) -> Iterator[tuple[DrawnNode, Called]]:
    """Yield the calls of a drawing, those inside loops too; a disabled one calls nothing."""
    for node in drawing.nodes:
        called = read_called(node.config) if node.plugin_id == CALL and not node.disabled else None
        if called is not None:
            yield node, called


def check_calls(drawing: Drawing, raw: Mapping[str, Any], workflow_id: str, faults: Faults) -> None:
    """Refuse calls of the workflow by itself, and warn when it is its own error workflow."""
    for node, called in drawn_calls(drawing):
        if called.workflow_id == workflow_id:
            message = "a workflow cannot call itself; draw a loop, or call another workflow"
            faults.add("call.self", (*node.path, "config", "workflowId"), message, node_id=node.id)
    if raw.get("errorWorkflow") == workflow_id:
        message = "a workflow is never started as its own error workflow; name another one"
        faults.add("errorWorkflow.self", ("errorWorkflow",), message, severity="warning")
