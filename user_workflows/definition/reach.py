"""What can be seen, before anything runs, to never run: joins that cannot hold, branches that no port reaches."""

from collections.abc import Iterable, Mapping
from typing import Any

from user_workflows.definition.control_nodes import ControlNode
from user_workflows.definition.drawing import DrawnEdge, DrawnGraph, DrawnNode
from user_workflows.definition.faults import Faults, pointer
from user_workflows.definition.shape import is_template
from user_workflows.definition.templates import Templates
from user_workflows.expressions import ExpressionError, Meter
from user_workflows.plan.graph import Graph

#: steps that all constant conditions of one definition may take together; what is beyond them counts as not known
_CONSTANT_STEPS = 100_000

#: what must have happened when a node runs: node → the one port that it left by
_Facts = Mapping[str, str]


def check_reach(wired: Mapping[DrawnGraph, Graph], templates: Templates, faults: Faults) -> None:
    """Warn of nodes that never run, of edges that never fire, and of loops that nothing inside them can end."""
    conditions = _Conditions(templates)
    for drawn, graph in wired.items():
        _Sweep(drawn, faults, conditions).check(graph.sweep())
        for node in drawn.nodes:
            _check_rounds(node, templates, faults)


class _Conditions:
    """What conditions come to that read nothing."""

    def __init__(self, templates: Templates) -> None:
        self._templates = templates
        self._meter = Meter(steps=_CONSTANT_STEPS)

    def constant(self, node: DrawnNode, condition: Any, *path: str | int) -> bool | None:
        """Return what a condition at a path within a config comes to; ``None``: it reads something, or is faulty."""
        if not is_template(condition):
            return None
        placed = self._templates.placed(node, pointer(*path), condition)
        if len(placed) != 1 or not placed[0].is_whole or placed[0].expression.references:
            return None
        self._meter.renew()
        try:
            value = placed[0].expression.evaluate({}, self._meter)
        except ExpressionError:
            return None
        return value if isinstance(value, bool) else None


class _Sweep:
    """One pass over a graph, sources first: what is known of a node when its turn comes is known of all before it."""

    def __init__(self, drawn: DrawnGraph, faults: Faults, conditions: _Conditions) -> None:
        self._drawn = drawn
        self._faults = faults
        self._conditions = conditions
        self._dead: set[str] = set()
        self._facts: dict[str, _Facts] = {}
        self._live: dict[str, frozenset[str] | None] = {}
        self._incoming: dict[str, list[DrawnEdge]] = {}
        for edge in drawn.edges:
            if edge.source in drawn.by_id and edge.target in drawn.by_id and edge.source != edge.target:
                self._incoming.setdefault(edge.target, []).append(edge)

    def check(self, order: Iterable[str]) -> None:
        for id in order:
            node = self._drawn.by_id[id]
            edges = self._incoming.get(id, [])
            self._live[id] = _live_ports(node, self._conditions)
            for edge in edges:
                self._warn_of_edge(edge)
            if edges:
                self._settle(node, id, edges)

    def _settle(self, node: DrawnNode, id: str, edges: list[DrawnEdge]) -> None:
        join = node.raw.get("join", "any")
        firing = [edge for edge in edges if self._may_fire(edge)]
        known = [self._facts_of(edge) for edge in firing]
        reason, code = None, "node.neverRuns"
        if isinstance(join, dict) and isinstance(count := join.get("count"), int) and count > len(edges):
            reason = f"its join asks for {count} edges and it has {len(edges)}"
        elif not firing:
            reason, code = _why_no_edge(edges, self._drawn)
        elif isinstance(join, dict) and isinstance(count := join.get("count"), int) and count > len(firing):
            reason = f"its join asks for {count} edges and only {len(firing)} of them can fire"
        elif join == "all" and len(firing) < len(edges):
            stuck = next(edge for edge in edges if edge not in firing)
            reason = f"its join asks for every edge, and the one from {stuck.source} never fires"
        elif join == "all" and (source := _contradiction(known)) is not None:
            reason = f"its join asks for every edge, and {source} leaves by one port only"
        if reason is not None:
            self._dead.add(id)
            where = (*node.path, "join") if code == "node.neverRuns" else node.path
            self._faults.add(code, where, f"node {id} can never run: {reason}", node_id=id, severity="warning")
        elif join == "all":
            self._facts[id] = {source: port for facts in known for source, port in facts.items()}
        elif join in ("any", "first"):
            first, *others = known
            self._facts[id] = {
                source: port for source, port in first.items() if all(facts.get(source) == port for facts in others)
            }

    def _may_fire(self, edge: DrawnEdge) -> bool:
        if edge.source in self._dead:
            return False
        live = self._live.get(edge.source)  # on a cycle, a source may come later
        if live is None or not self._is_port(edge):
            return True  # an unknown port is an error already
        return bool(live) if edge.source_handle is None else edge.source_handle in live

    def _is_port(self, edge: DrawnEdge) -> bool:
        ports = self._drawn.by_id[edge.source].ports
        return edge.source_handle is None or (ports is not None and edge.source_handle in ports)

    def _facts_of(self, edge: DrawnEdge) -> _Facts:
        facts = self._facts.get(edge.source, {})
        source = self._drawn.by_id[edge.source]
        if edge.source_handle is None or not _leaves_once(source):
            return facts
        return {**facts, edge.source: edge.source_handle}

    def _warn_of_edge(self, edge: DrawnEdge) -> None:
        source = self._drawn.by_id[edge.source]
        if edge.source_handle is not None and edge.source not in self._dead and not self._may_fire(edge):
            why = "is disabled, and passes its input through" if source.disabled else "has a condition that is constant"
            message = f"the edge {edge.source} → {edge.target} never fires: {edge.source} {why}"
            path = (*edge.path, "sourceHandle")
            self._faults.add("edge.neverFires", path, message, node_id=edge.source, severity="warning")


def _why_no_edge(edges: list[DrawnEdge], drawn: DrawnGraph) -> tuple[str, str]:
    if all(drawn.by_id[edge.source].ports == () for edge in edges):
        return "the execution ends at every node that leads to it", "node.neverRuns"
    sources = ", ".join(dict.fromkeys(edge.source for edge in edges))
    return f"nothing ever arrives from {sources}", "node.unreachable"


def _contradiction(known: Iterable[_Facts]) -> str | None:
    """Return a node that would have to leave by two ports, though it leaves by one."""
    seen: dict[str, str] = {}
    for facts in known:
        for source, port in facts.items():
            if seen.setdefault(source, port) != port:
                return source
    return None


def _leaves_once(node: DrawnNode) -> bool:
    return not (isinstance(node.kind, ControlNode) and node.kind.leaves_by_several(node.config))


def _live_ports(node: DrawnNode, conditions: _Conditions) -> frozenset[str] | None:
    """Return the ports that a node may leave by, as far as its config alone tells; ``None``: by any."""
    ports = node.ports
    if ports is None:
        return None
    if node.disabled:
        return frozenset(ports[:1]) if ports else None
    if not ports:
        return frozenset()
    match node.plugin_id:
        case "if":
            holds = conditions.constant(node, node.config.get("condition"), "condition")
            return None if holds is None else frozenset(ports) - {"false" if holds else "true"}
        case "switch":
            return _live_cases(node, ports, conditions)
    return None


def _live_cases(node: DrawnNode, ports: tuple[str, ...], conditions: _Conditions) -> frozenset[str] | None:
    cases = node.config.get("cases")
    if not isinstance(cases, list) or not all(isinstance(case, dict) for case in cases):
        return None
    live = set(ports) - {str(case.get("port")) for case in cases}
    for index, case in enumerate(cases):
        holds = conditions.constant(node, case.get("when"), "cases", index, "when")
        if holds is not False:
            live.add(str(case.get("port")))
        if holds is True:
            live.discard("default")
            if node.config.get("mode", "first") == "first":
                break
    return frozenset(live)


def _check_rounds(node: DrawnNode, templates: Templates, faults: Faults) -> None:
    """Warn of a `while` whose condition reads nothing that a round could change."""
    condition = node.config.get("condition")
    if node.plugin_id != "while" or node.disabled or not is_template(condition):
        return
    placed = templates.placed(node, "/condition", condition)
    roots = {reference.root for each in placed for reference in each.expression.references}
    if placed and not roots & {"index", "last", "item"}:
        message = (
            f"the condition of {node.id} reads neither index nor last, so no round can change it: the loop does "
            "nothing, or goes on until maxIterations stops it"
        )
        faults.add("loop.constant", (*node.path, "config", "condition"), message, node_id=node.id, severity="warning")
