"""Workflows that call one another in a circle, found before one of them is published.

Looked at are targets that are drawn as they are, in published versions. A circle that comes about otherwise, by an
expression or by two publications at the same moment, is refused when it is run, and so is what nests too deep.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from user_workflows.definition.calls import Called, drawn_calls, read_called
from user_workflows.definition.drawing import Drawing
from user_workflows.definition.faults import pointer
from user_workflows.definition.model import Fault
from user_workflows.errors import Conflict, NotFound
from user_workflows.interpreter.calls import CALL
from user_workflows.plan.model import Plan

#: the most versions that are looked at for one publication
MOST_VERSIONS = 500

#: returns the plan that a call starts; raises `NotFound` or `Conflict` where it starts nothing
FindPlan = Callable[[Called], Awaitable[Plan]]

_Calls = Mapping[Called, Sequence[Called]]


async def find_cycles(workflow_id: str, drawing: Drawing, find_plan: FindPlan) -> list[Fault]:
    """Return a fault for each call of a drawing that would come back to the workflow that it is to be published for.

    A direct call of itself is left to `validate`.
    """
    drawn = [(node, called) for node, called in drawn_calls(drawing) if called.workflow_id != workflow_id]
    calls = await _collect(workflow_id, (called for _, called in drawn), find_plan)
    ways = {called: _way_back(workflow_id, called, calls) for _, called in drawn}
    return [
        Fault(
            code="call.cycle",
            pointer=pointer(*node.path, "config", "workflowId"),
            message=f"workflows would call one another in a circle: {' → '.join((workflow_id, *way))}; take a call out",
            node_id=node.id,
        )
        for node, called in drawn
        if (way := ways[called]) is not None
    ]


async def _collect(workflow_id: str, roots: Iterable[Called], find_plan: FindPlan) -> _Calls:
    """Return what is called by whatever `roots` reach, breadth first; what comes back is not followed again."""
    calls: dict[Called, Sequence[Called]] = {}
    waiting = deque(dict.fromkeys(roots))
    while waiting and len(calls) < MOST_VERSIONS:
        called = waiting.popleft()
        if called in calls or called.workflow_id == workflow_id:
            continue
        try:
            calls[called] = tuple(_calls_of(await find_plan(called)))
        except (NotFound, Conflict):
            calls[called] = ()
        waiting.extend(calls[called])
    return calls


def _calls_of(plan: Plan) -> Iterable[Called]:
    nodes = (node for graph in plan.graphs() for node in graph.nodes if node.plugin == CALL and not node.disabled)
    return dict.fromkeys(called for node in nodes if (called := read_called(node.config)) is not None)


def _way_back(workflow_id: str, root: Called, calls: _Calls) -> tuple[str, ...] | None:
    """Return the shortest way from `root` to the workflow, by ids; ``None``: none leads there."""
    came_from: dict[Called, Called | None] = {root: None}
    waiting = deque([root])
    while waiting:
        here = waiting.popleft()
        if here.workflow_id == workflow_id:
            way: list[str] = []
            step: Called | None = here
            while step is not None:
                way.append(step.workflow_id)
                step = came_from[step]
            return tuple(reversed(way))
        for called in calls.get(here, ()):
            if called not in came_from:
                came_from[called] = here
                waiting.append(called)
    return None
