"""What may be wrong with the edges: where they lead, which port they leave by, and the cycles they close."""

from typing import Any, Literal

from user_workflows.definition.catalogue import ERROR_PORT
from user_workflows.definition.drawing import Drawing, DrawnEdge, DrawnGraph, DrawnNode
from user_workflows.definition.faults import Faults
from user_workflows.plan.graph import Graph


def check_edges(drawn: DrawnGraph, drawing: Drawing, faults: Faults) -> Graph:
    """Report faulty edges of one graph of a drawing and return what leads where in it.

    In that graph an edge to an unknown node whose name is almost that of a known one leads there: one slip of the pen
    must not be reported again for every expression behind it.
    """
    good: list[tuple[str, str]] = []
    guessed: list[tuple[str, str]] = []
    seen: dict[tuple[Any, ...], int] = {}
    for edge in drawn.edges:
        identity = (edge.source, edge.source_handle, edge.target, edge.target_handle)
        first = seen.setdefault(identity, edge.index)
        if first != edge.index:
            message = f"the edge {edge.source} → {edge.target} is drawn twice, first as edge {first}; remove one"
            faults.add("edge.duplicate", edge.path, message)
        source = _check_end(edge, "source", drawn, drawing, faults)
        target = _check_end(edge, "target", drawn, drawing, faults)
        if (source, target) != (edge.source, edge.target):
            if source is not None and target is not None:
                guessed.append((source, target))
        elif source == target:
            message = f"the edge leads from {edge.source} back to itself; a node cannot wait for itself"
            faults.add("edge.self", edge.path, message, node_id=edge.source)
        else:
            good.append((edge.source, edge.target))
        if edge.source in drawn.by_id:
            _check_port(edge, drawn.by_id[edge.source], faults)
    graph = Graph(drawn.by_id, good)
    for cycle in graph.cycles():
        _report_cycle(cycle, drawn, faults)
    return Graph(drawn.by_id, good + guessed) if guessed else graph


def _check_end(
    edge: DrawnEdge, end: Literal["source", "target"], drawn: DrawnGraph, drawing: Drawing, faults: Faults
) -> str | None:
    """Return the node at one end of an edge, or the one that was probably meant."""
    name = edge.source if end == "source" else edge.target
    if name in drawn.by_id:
        return name
    if name in drawing.by_id:
        loop = drawing.graph_of(name).loop
        place = "outside this loop" if loop is None else f"inside the loop {loop.id}"
        message = f"the edge's {end} {name} is {place}; edges do not lead into loops or out of them: connect the loop"
        faults.add("edge.crossesLoop", (*edge.path, end), message)
        return None
    message = f"the edge's {end} {name!r} is not a node{faults.suggest(name, drawn.by_id)}"
    faults.add(f"edge.unknown{end.capitalize()}", (*edge.path, end), message)
    return faults.nearest(name, drawn.by_id)


def _check_port(edge: DrawnEdge, source: DrawnNode, faults: Faults) -> None:
    port = edge.source_handle
    ports = source.ports
    if port is None or ports is None or port in ports:
        return
    path = (*edge.path, "sourceHandle")
    if port == ERROR_PORT:
        options = 'onError "port"' + (" or continueOnItemError" if source.plugin_id == "foreach" else "")
        message = f'node {source.id} leaves by "error" only with {options}; set it, or remove the edge'
    else:
        listed = f"; it leaves by {', '.join(ports)}" if ports else "; it has no ports: the execution ends there"
        message = f"node {source.id} ({source.plugin_id}) has no port {port!r}{listed}"
    faults.add("edge.unknownPort", path, message, node_id=source.id)


def _report_cycle(cycle: list[str], drawn: DrawnGraph, faults: Faults) -> None:
    members = set(cycle)
    last = [edge for edge in drawn.edges if edge.source in members and edge.target in members][-1]
    message = (
        f"the nodes {' → '.join([*cycle, cycle[0]])} form a cycle, so none of them could ever start; "
        "remove one of their edges"
    )
    faults.add("graph.cycle", last.path, message, node_id=cycle[0])
