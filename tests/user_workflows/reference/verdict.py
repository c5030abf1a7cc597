"""What the model has to say of an execution that has ended on a real server."""

from typing import Any

from tests.user_workflows.lane import Lane
from tests.user_workflows.reference.comparison import Ended, expected, plain
from tests.user_workflows.reference.drawings import CHEAP
from tests.user_workflows.reference.model import LOST
from tests.user_workflows.reference.model import Execution as Model
from user_workflows.executions.views import Execution, Step

#: node and path of a step → the step
Steps = dict[tuple[str, tuple[int, ...]], Step]


async def judge(lane: Lane, execution: Execution, definition: dict[str, Any], trigger: Any) -> Steps:
    """Hold every step and the output of an execution against the model, and return the steps.

    What the world told is taken from the record: the answers to reads, and effects of which nobody knows whether they
    came about. Everything else must follow from that.
    """
    steps = [*(await lane.steps(execution)).values()]
    for loop in loops_of(definition):
        steps += await lane.inside(execution, loop)
    found = {(step.node_id, tuple(step.path)): step for step in steps}
    plugins = {node["id"]: node["pluginId"] for node in nodes_of(definition)}
    answers: dict[tuple[str, tuple[int, ...]], Any] = {
        at: plain(step.output)
        for at, step in found.items()
        if plugins[step.node_id] == CHEAP and step.status == "completed"
    }
    answers |= {at: LOST for at, step in found.items() if is_unknown(step)}
    model = Model(definition, trigger, [0], answers)
    assert {at: _ended(step) for at, step in found.items()} == expected(model), definition
    assert all(step.reason for step in steps if step.status == "skipped")
    assert (execution.status, plain(execution.output)) == (model.status, model.output), definition
    return found


def is_unknown(step: Step) -> bool:
    """Tell whether a step says of itself that nobody knows whether it acted."""
    return step.error is not None and step.error.type == "effect.outcomeUnknown"


def nodes_of(graph: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every node, those of the bodies of loops too."""
    nodes: list[dict[str, Any]] = []
    for node in graph["nodes"]:
        nodes.append(node)
        if node["pluginId"] in ("foreach", "while"):
            nodes += nodes_of(node["config"])
    return nodes


def loops_of(graph: dict[str, Any]) -> list[str]:
    """Return every loop that is walked, those within loops too."""
    loops: list[str] = []
    for node in graph["nodes"]:
        if node["pluginId"] in ("foreach", "while") and not node.get("disabled"):
            loops += [node["id"], *loops_of(node["config"])]
    return loops


def _ended(step: Step) -> Ended:
    return step.status, plain(step.input), step.port, plain(step.output)
