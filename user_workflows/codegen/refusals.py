"""What code generation refuses: what it could only do differently than the interpreter."""

from user_workflows.errors import Conflict
from user_workflows.generated.graph import RUNS_IN_ONE
from user_workflows.interpreter.messages import HISTORY_LIMIT
from user_workflows.plan.model import PLAN_FORMAT, Plan, PlanGraph, PlanNode

#: events that the one history of an execution may have
MOST_EVENTS = RUNS_IN_ONE * HISTORY_LIMIT
#: of an activity: scheduled, started, completed
_EVENTS = 3

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
    for node in plan.nodes:
        if (events := _least_events(node, control_nodes)) > MOST_EVENTS:
            reasons[node.id] = (
                f"takes {events:,} events of history at least, and generated code has one history, of {MOST_EVENTS:,} "
                "at most; the interpreter goes on in further ones"
            )
    if reasons:
        raise NotWritable(reasons)


def _least_events(node: PlanNode, control_nodes: frozenset[str]) -> int:
    """Return how many events a node surely takes: those of its plugin, or of a loop over items that are drawn."""
    if node.disabled:
        return 0
    if node.body is None:
        return 0 if node.plugin in control_nodes else _EVENTS
    items = node.config.get("items")
    rounds = len(items) if isinstance(items, list) else 0
    return rounds * _least_of_all(node.body, control_nodes)


def _least_of_all(graph: PlanGraph, control_nodes: frozenset[str]) -> int:
    # A branch may pass a node by: only those at the beginning surely run.
    return sum(_least_events(node, control_nodes) for node in graph.nodes if not node.incoming)
