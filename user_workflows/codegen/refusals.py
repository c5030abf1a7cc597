"""What code generation refuses: what it could only do differently than the interpreter."""

from user_workflows.errors import Conflict
from user_workflows.plan.model import PLAN_FORMAT, Plan

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
    only_interpreted = control_nodes - WRITABLE
    reasons = {
        node.id: f"is of the kind {node.plugin}, which only the interpreter knows"
        for node in nodes
        if node.plugin in only_interpreted and not node.disabled
    }
    if reasons:
        raise NotWritable(reasons)
