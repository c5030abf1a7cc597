"""What may be wrong with the expressions of a definition: how they are written and what they read."""

from collections.abc import Iterator
from typing import Any

from user_workflows.definition.catalogue import ERROR_PORT
from user_workflows.definition.control_nodes import ControlNode
from user_workflows.definition.drawing import Drawing, DrawnNode
from user_workflows.definition.faults import Faults, Severity
from user_workflows.definition.shape import Path, is_template
from user_workflows.expressions import TemplateError, compile_template
from user_workflows.plan.graph import Graph

#: what expressions read after ``execution.``
EXECUTION_FIELDS = ("id", "workflowId", "version", "startedAt")


def check_references(drawing: Drawing, graph: Graph, faults: Faults) -> None:
    checker = _Checker(drawing, graph, faults)
    for node in drawing.nodes:
        for path, text in templates_in(node.config, ()):
            checker.check(node, path, text)


def templates_in(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Yield every string within `value` that holds an expression, with its path."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from templates_in(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from templates_in(item, (*path, index))
    elif is_template(value):
        yield path, value


class _Checker:
    """What every check of one definition's expressions needs to know."""

    def __init__(self, drawing: Drawing, graph: Graph, faults: Faults) -> None:
        self._drawing = drawing
        self._graph = graph
        self._upstream = graph.ancestor_masks()
        self._faults = faults

    def check(self, node: DrawnNode, path: Path, text: str) -> None:
        for code, message in self._faults_in(node, path, text):
            severity: Severity = "warning" if node.disabled or code == "reference.dynamic" else "error"
            where = ("nodes", node.index, "config", *path)
            self._faults.add(code, where, message, node_id=node.id, severity=severity)

    def _faults_in(self, node: DrawnNode, path: Path, text: str) -> Iterator[tuple[str, str]]:
        try:
            references = compile_template(text).references
        except TemplateError as error:
            for _, fault in error.faults:
                yield fault.type, str(fault)
            return
        # An expression that reads the same thing twice has one fault, not two.
        for root, read in dict.fromkeys((reference.root, reference.path) for reference in references):
            yield from self._faults_of(node, path, root, read)

    def _faults_of(self, node: DrawnNode, path: Path, root: str, read: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        if root in ("item", "index", "last"):
            per_item = node.kind.per_item if isinstance(node.kind, ControlNode) else frozenset()
            if root == "last" or path[0] not in per_item:
                yield "reference.outsideLoop", f"{root} is known only where items are looked at one by one"
        elif root == "nodes":
            yield from self._faults_of_node(node, read)
        elif root == "vars" and read and read[0] not in self._drawing.variables:
            hint = self._faults.suggest(read[0], self._drawing.variables) or "; add it to the workflow's variables"
            yield "reference.unknownVariable", f"there is no variable {read[0]!r}{hint}"
        elif root == "execution" and read and read[0] not in EXECUTION_FIELDS:
            hint = self._faults.suggest(read[0], EXECUTION_FIELDS)
            yield "reference.unknownField", f"execution has no {read[0]!r}{hint}"

    def _faults_of_node(self, node: DrawnNode, read: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        if not read:
            yield "reference.dynamic", "which node this reads is known only when it runs; name it, to have it checked"
            return
        source = self._drawing.by_id.get(read[0])
        if source is None:
            hint = self._faults.suggest(read[0], self._drawing.by_id)
            yield "reference.unknownNode", f"there is no node {read[0]!r}{hint}"
            return
        if not self._leads_to(source, node):
            if source.id == node.id:
                yield "reference.notUpstream", f"node {node.id} reads its own output, which is not there yet"
            else:
                hint = "its output may not be there; draw an edge from it"
                yield "reference.notUpstream", f"node {source.id} does not lead to {node.id}, so {hint}"
        readable = source.readable()
        if len(read) > 1 and readable is not None and read[1] not in readable:
            yield "reference.unknownPort", self._no_port(source, read[1], readable)

    def _leads_to(self, source: DrawnNode, node: DrawnNode) -> bool:
        if node.id is None or source.id is None:
            return True  # its missing id is the fault
        return bool(self._upstream[node.id] >> self._graph.place(source.id) & 1)

    def _no_port(self, source: DrawnNode, port: str, readable: tuple[str, ...]) -> str:
        if port == ERROR_PORT:
            hint = f'; set onError of {source.id} to "continue" or "port" to read its error'
        else:
            hint = self._faults.suggest(port, readable) if readable else "; it has no output"
        return f"node {source.id} ({source.plugin_id}) has no port {port!r}{hint}"
