"""What may be wrong with the form of a graph, the definition's own or a loop's: its keys, its size, its depth."""

from typing import Any

from user_workflows.definition.drawing import Drawing, DrawnGraph
from user_workflows.definition.faults import Faults
from user_workflows.definition.model import MAX_DEPTH, MAX_NODES, SubGraph
from user_workflows.definition.nodes import code, describe
from user_workflows.definition.shape import Mismatch, Path, match

_NOUNS = {"nodes": "node", "edges": "edge", "triggers": "trigger"}


def check_graphs(drawing: Drawing, faults: Faults) -> None:
    count = sum(1 for _ in drawing.nodes)
    if count > MAX_NODES:
        message = f"a definition may hold {MAX_NODES:,} nodes, this one holds {count:,}; split the workflow"
        faults.add("definition.tooManyNodes", ("nodes",), message)
    for graph in drawing.graphs:
        if graph.loop is not None:
            _check_body(graph, faults)
        if graph.raw.get("nodes") == []:
            _report_empty(graph, faults)


def report_mismatch(raw: Any, mismatch: Mismatch, faults: Faults, *, within: Path = ()) -> None:
    """Report how a graph differs from its type.

    Args:
        raw: the object that holds its ``nodes`` and ``edges``.
        mismatch: what differs, its path beginning at `raw`.
        faults: where it is reported.
        within: the path of `raw`.
    """
    path = mismatch.path
    is_inside = len(path) > 2 and path[0] in _NOUNS
    noun = _NOUNS[str(path[0])] if is_inside else "definition"
    inner = mismatch._replace(path=path[2:]) if is_inside else mismatch
    message = describe(inner, faults) if path else f"a definition {mismatch.message}"
    faults.add(code(noun, mismatch), (*within, *path), message, node_id=_node_id(raw, path))


def _check_body(graph: DrawnGraph, faults: Faults) -> None:
    if graph.depth == MAX_DEPTH + 1:
        message = f"loops may be drawn {MAX_DEPTH} deep within each other; call another workflow from here instead"
        faults.add("definition.tooNested", graph.path, message, node_id=_loop_id(graph))
    body = {key: graph.raw.get(key) for key in ("nodes", "edges") if isinstance(graph.raw.get(key), list)}
    for mismatch in match(body, SubGraph):
        if len(mismatch.path) > 1:  # what is missing or no list, the check of the loop's own config says
            report_mismatch(body, mismatch, faults, within=graph.path)


def _report_empty(graph: DrawnGraph, faults: Faults) -> None:
    place = "a definition needs at least one node" if graph.loop is None else "a loop needs at least one node inside"
    faults.add("definition.noNodes", (*graph.path, "nodes"), f"{place}; draw one", node_id=_loop_id(graph))


def _loop_id(graph: DrawnGraph) -> str | None:
    return None if graph.loop is None else graph.loop.id


def _node_id(raw: Any, path: Path) -> str | None:
    if len(path) < 2 or path[0] != "nodes" or not isinstance(path[1], int):
        return None
    node = raw["nodes"][path[1]]
    id = node.get("id") if isinstance(node, dict) else None
    return id if isinstance(id, str) else None
