"""How a plan is shown: where each node runs, and what an execution is predicted to cost."""

from msgspec import Struct

from user_workflows.plan.forecast import forecast
from user_workflows.plan.model import Home, Plan


class PlanBody(Struct, frozen=True, kw_only=True, rename="camel"):
    """Where each node will run, and what an execution is predicted to cost when every step succeeds at once."""

    #: node id → home, of those inside loops too
    homes: dict[str, Home]
    #: chains of nodes that share an activity
    segments: list[list[str]]
    history_events: int
    billable_actions: int


def show_plan(plan: Plan) -> PlanBody:
    cost = forecast(plan)
    return PlanBody(
        homes={node.id: node.home for graph in plan.graphs() for node in graph.nodes},
        segments=[list(chain) for graph in plan.graphs() for chain in graph.segments],
        history_events=cost.history_events,
        billable_actions=cost.billable_actions,
    )
