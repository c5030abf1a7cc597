"""Predict what an execution of a plan costs in Temporal: history events, and actions that Temporal Cloud bills."""

import math
from typing import NamedTuple

from user_workflows.definition.control_nodes import DEFAULT_CONCURRENCY
from user_workflows.plan.graph import Graph
from user_workflows.plan.model import BATCH_ITEMS, Forecast, Plan, PlanGraph, PlanNode

#: scheduled, started, completed: a workflow task as well as an activity
_TASK = 3
#: started, fired
_TIMER = 2
_STARTED, _FINAL_RECORD, _COMPLETED = 1, 1, 1


class _Cost(NamedTuple):
    """What one walk of a graph costs."""

    activities: int = 0
    #: of local activities
    markers: int = 0
    #: after how many waits there are some; all of one workflow task are one action
    local: frozenset[int] = frozenset()
    timers: int = 0
    signals: int = 0
    #: waits for something outside the workflow, one after the other
    levels: int = 0


def forecast(plan: Plan) -> Forecast:
    """Predict the cost of an execution in which every node runs once and succeeds at once.

    A segment in which nothing acts is taken to fit into its local activity: one marker, and no workflow task of its
    own. One that acts is one activity. Each wait for something outside the workflow brings one more workflow task;
    waits that run side by side are taken to share theirs. A chain comes out exactly, a plan with branches may cost a
    little more. Skipped branches cost nothing, retries add to it. A `foreach` over a list that is drawn costs as many
    rounds as that has items; how often any other loop goes round is not known, and it is taken to go once.
    """
    cost = _cost(plan)
    # A timer that is taken back in the workflow task that started it never was.
    timers = cost.timers + int(plan.timeout is not None and cost.levels > 0)
    return Forecast(
        history_events=_STARTED
        + _TASK * (1 + cost.levels)
        + _TASK * cost.activities
        + _TIMER * timers
        + cost.signals
        + cost.markers
        + _FINAL_RECORD
        + _COMPLETED,
        # The last record is written by a local activity too.
        billable_actions=1 + cost.activities + timers + cost.signals + len(cost.local | {cost.levels}),
    )


def _cost(graph: PlanGraph) -> _Cost:
    acting = {node.id: node.acts for node in graph.nodes}
    costs = {node.id: _cost_with_limit(node) for node in graph.nodes if not node.disabled}
    costs |= {chain[0]: _Cost(markers=1, local=frozenset({0})) for chain in graph.segments if not acting[chain[-1]]}
    drawn = Graph((node.id for node in graph.nodes), ((edge.source, edge.target) for edge in graph.edges))
    depths = drawn.depths({id: cost.levels for id, cost in costs.items()})
    return _Cost(
        activities=sum(cost.activities for cost in costs.values()),
        markers=sum(cost.markers for cost in costs.values()),
        local=frozenset(depths[id] - cost.levels + at for id, cost in costs.items() for at in cost.local),
        timers=sum(cost.timers for cost in costs.values()),
        signals=sum(cost.signals for cost in costs.values()),
        levels=max(depths.values(), default=0),
    )


def _cost_with_limit(node: PlanNode) -> _Cost:
    cost = _cost_of(node)
    return cost if node.limit is None or not cost.levels else cost._replace(timers=cost.timers + 1)


def _cost_of(node: PlanNode) -> _Cost:
    if node.body is not None:
        rounds, at_a_time = _rounds(node)
        if node.home == "batch":
            batches = math.ceil(rounds / node.config.get("batchSize", BATCH_ITEMS))
            return _Cost(activities=batches, levels=batches)
        body = _cost(node.body)
        turns = math.ceil(rounds / at_a_time)
        return _Cost(
            activities=rounds * body.activities,
            markers=rounds * body.markers,
            local=frozenset(turn * body.levels + at for turn in range(turns) for at in body.local),
            timers=rounds * body.timers,
            signals=rounds * body.signals,
            levels=turns * body.levels,
        )
    if node.plugin == "wait":
        signals = int("signal" in node.config)
        return _Cost(timers=int(not signals or "timeout" in node.config), signals=signals, levels=1)
    if node.plugin == "approval":
        # Its links are made at once; each decision that is needed comes by a signal of its own.
        required = node.config.get("required", 1)
        return _Cost(
            markers=1, local=frozenset({0}), timers=int("deadline" in node.config), signals=required, levels=required
        )
    if node.home == "child":
        # An activity starts it, and a signal tells its end to a call that waits.
        waits = int(node.config.get("mode") != "detach")
        return _Cost(activities=1, signals=waits, levels=1 + waits)
    return _Cost(activities=1, levels=1) if node.home == "activity" or node.acts else _Cost()


def _rounds(loop: PlanNode) -> tuple[int, int]:
    """How often a loop goes round, as far as it is drawn, and how many rounds are under way at a time."""
    items = loop.config.get("items")
    return len(items) if isinstance(items, list) else 1, loop.config.get("concurrency", DEFAULT_CONCURRENCY)
