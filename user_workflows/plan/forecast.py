"""Predict what an execution of a plan costs in Temporal: history events, and actions that Temporal Cloud bills."""

from user_workflows.plan.graph import Graph
from user_workflows.plan.model import Forecast, Plan, PlanNode

#: scheduled, started, completed: a workflow task as well as an activity
_TASK = 3
#: started, fired
_TIMER = 2
_STARTED, _FINAL_RECORD, _COMPLETED = 1, 1, 1


def forecast(plan: Plan) -> Forecast:
    """Predict the cost of an execution in which every node runs once and succeeds at once.

    A segment is taken to fit into its local activity: one marker, and no workflow task of its own. Each wait for
    something outside the workflow brings one more workflow task; waits that run side by side are taken to share
    theirs. A chain comes out exactly, a plan with branches may cost a little more. Skipped branches cost nothing,
    retries add to it.
    """
    activities = [node for node in plan.nodes if node.home == "activity" and not node.disabled]
    waits = [node for node in plan.nodes if node.plugin == "wait" and not node.disabled]
    timers = [node for node in waits if _has_timer(node)]
    signals = [node for node in waits if "signal" in node.config]
    graph = Graph((node.id for node in plan.nodes), ((edge.source, edge.target) for edge in plan.edges))
    levels = graph.levels([node.id for node in (*activities, *waits)])
    return Forecast(
        history_events=_STARTED
        + _TASK * (1 + levels)
        + _TASK * len(activities)
        + _TIMER * len(timers)
        + len(signals)
        + len(plan.segments)
        + _FINAL_RECORD
        + _COMPLETED,
        billable_actions=1 + len(activities) + len(timers) + len(signals) + len(plan.segments) + 1,
    )


def _has_timer(node: PlanNode) -> bool:
    return "signal" not in node.config or "timeout" in node.config
