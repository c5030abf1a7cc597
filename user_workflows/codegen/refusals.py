"""What code generation refuses: what it could only do differently than the interpreter."""

from collections.abc import Iterator

from user_workflows.errors import Conflict
from user_workflows.plan.model import PLAN_FORMAT, Plan, PlanNode

#: the control nodes that can be written as Python; every other one is refused by name
WRITABLE = frozenset(
    {
        "if",
        "switch",
        "set",
        "merge",
        "filter",
        "respond",
        "stop",
        "wait",
        "approval",
        "workflow.call",
        "foreach",
        "while",
    }
)


class NotWritable(Conflict):
    """A version cannot be written as Python: every node in the way is named."""

    def __init__(self, reasons: dict[str, str]) -> None:
        told = "; ".join(f"node {node_id} {reason}" for node_id, reason in reasons.items())
        super().__init__(f"this version cannot be written as Python: {told}")
        #: node → why
        self.reasons = reasons


def refuse(plan: Plan, control_nodes: frozenset[str]) -> None:
    """Refuse a plan that cannot be written.

    Args:
        plan: of a published version.
        control_nodes: ids of all control nodes; any other node is a plugin's.

    Raises:
        NotWritable: naming every node that is in the way.
        Conflict: the plan is of a later release.
    """
    if plan.format > PLAN_FORMAT:
        raise Conflict(f"the version was published by a later release, in plan format {plan.format}")
    nodes = [node for graph in plan.graphs() for node in graph.nodes]
    reasons = {node.id: reason for node in nodes for reason in _reasons(node, control_nodes)}
    if reasons:
        raise NotWritable(reasons)


def _reasons(node: PlanNode, control_nodes: frozenset[str]) -> Iterator[str]:
    if node.compensate is not None:
        yield "is undone when the execution fails (compensate), which only the interpreter does"
    if node.plugin in control_nodes - WRITABLE and not node.disabled:
        yield f"is of the kind {node.plugin}, which only the interpreter knows"
