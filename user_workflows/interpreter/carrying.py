"""Takes down the state of a walk as plain messages, without what nobody will ask for any more."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from msgspec import structs

from user_workflows.interpreter.messages import CarriedGraph, CarriedNode, LoopProgress
from user_workflows.interpreter.node import NodeState
from user_workflows.interpreter.templates import Templates
from user_workflows.interpreter.walk import Loop, Walk
from user_workflows.plan.model import PlanNode


def carry(walk: Walk, around: Sequence[PlanNode] = ()) -> CarriedGraph:
    """Return the state of a walk that is at rest.

    Args:
        walk: of an execution, or of the round of a loop.
        around: the loop that it is a round of, whose own expressions see the round's nodes.
    """
    states = walk.graph.nodes.values()
    unsettled = [state.node for state in states if not state.is_settled]
    undoing = [state.node.compensate for state in states if _may_be_undone(state)]
    asked = _asked_for(walk.templates, [*around, *unsettled, *filter(None, undoing)])
    return CarriedGraph(nodes=tuple(_carry_node(walk, state, asked) for state in states if state.status != "pending"))


def first_wake(walk: Walk) -> datetime | None:
    """Return when the first of the nodes that wait, in loops too, goes on though nobody tells it anything."""
    unsettled = [state for state in walk.graph.nodes.values() if not state.is_settled]
    wakes = [datetime.fromisoformat(state.kept["until"]) for state in unsettled if state.kept.get("until") is not None]
    wakes += [
        state.started_at + timedelta(seconds=state.node.limit)
        for state in unsettled
        if state.node.limit is not None and state.started_at is not None
    ]
    inside = (first_wake(inner) for loop in walk.loops.values() for inner in loop.rounds.values())
    return min((*wakes, *(wake for wake in inside if wake is not None)), default=None)


def _carry_node(walk: Walk, state: NodeState, asked: frozenset[str] | None) -> CarriedNode:
    if state.is_settled and not _may_be_undone(state):
        is_asked = asked is None or state.node.id in asked or _has_followers(walk, state)
        ports = state.ports if is_asked else dict.fromkeys(state.ports)
        return CarriedNode(id=state.node.id, status=state.status, ports=ports)
    loop = walk.loops.get(state.node.id)
    return CarriedNode(
        id=state.node.id,
        status=state.status,
        ports=state.ports,
        seq=state.seq,
        attempt=state.attempt,
        input=state.input,
        reason=state.reason,
        started_at=state.started_at,
        closed_at=state.closed_at,
        kept=state.kept,
        progress=None if loop is None else _carry_loop(loop, state.node),
        compensation=state.compensation,
    )


def _carry_loop(loop: Loop, node: PlanNode) -> LoopProgress:
    rounds = {number: carry(inner, [node]) for number, inner in loop.rounds.items()}
    return structs.replace(loop.progress, under_way={**loop.progress.under_way, **rounds})


def _may_be_undone(state: NodeState) -> bool:
    """Whether its record may be written again: what it holds, and when it completed, has to be known then."""
    return state.status == "completed" and state.node.compensate is not None and not state.path


def _has_followers(walk: Walk, state: NodeState) -> bool:
    """Whether a node's values are a result of the graph, or the input of a node that has not begun."""
    edges = [walk.graph.plan.edges[index] for index in state.node.outgoing]
    return not edges or any(walk.graph.nodes[edge.target].status == "pending" for edge in edges)


def _asked_for(templates: Templates, nodes: Sequence[PlanNode]) -> frozenset[str] | None:
    """Return the nodes that expressions refer to; ``None``: an expression asks for all of them."""
    asked = set()
    for node in nodes:
        for inside in _with_bodies(node):
            for reference in templates.at(inside).references:
                if reference.root != "nodes":
                    continue
                if not reference.path:
                    return None
                asked.add(reference.path[0])
    return frozenset(asked)


def _with_bodies(node: PlanNode) -> Iterator[PlanNode]:
    yield node
    if node.compensate is not None:
        yield node.compensate
    if node.body is not None:
        for graph in node.body.graphs():
            yield from graph.nodes
