"""What may be wrong with the expressions of a definition: how they are written and what they read."""

from collections.abc import Iterator
from typing import Any

from msgspec import structs

from user_workflows.definition.catalogue import ERROR_PORT
from user_workflows.definition.control_nodes import ControlNode
from user_workflows.definition.drawing import Drawing, DrawnNode
from user_workflows.definition.faults import Faults, Severity, pointer
from user_workflows.definition.shape import is_template
from user_workflows.expressions import Reference, TemplateError, compile_template
from user_workflows.plan.graph import Graph

#: what expressions read after ``execution.``
EXECUTION_FIELDS = ("id", "workflowId", "version", "startedAt")


def check_references(drawing: Drawing, graph: Graph, faults: Faults) -> None:
    checker = _Checker(drawing, graph, faults)
    for node in drawing.nodes:
        checker.check(node)


class _Checker:
    """What every check of one definition's expressions needs to know."""

    def __init__(self, drawing: Drawing, graph: Graph, faults: Faults) -> None:
        self._drawing = drawing
        self._graph = graph
        self._upstream = graph.ancestor_masks()
        self._faults = faults

    def check(self, node: DrawnNode) -> None:
        references = self._compile(node)
        # An expression that reads the same thing twice has one fault, not two.
        for place, root, read in dict.fromkeys((found.pointer, found.root, found.path) for found in references):
            for code, message in self._faults_of(node, place, root, read):
                self._add(node, code, place, message)

    def _compile(self, node: DrawnNode) -> list[Reference]:
        """Report what cannot be compiled and return what the rest reads."""
        try:
            return list(compile_template(node.config).references)
        except TemplateError as error:
            for place, fault in error.faults:
                self._add(node, fault.type, place, str(fault))
            faulty = {place for place, _ in error.faults}
        good = [(place, text) for place, text in _templates(node.config) if place not in faulty]
        return [
            structs.replace(found, pointer=place) for place, text in good for found in compile_template(text).references
        ]

    def _add(self, node: DrawnNode, code: str, place: str, message: str) -> None:
        severity: Severity = "warning" if node.disabled or code == "reference.dynamic" else "error"
        where = pointer("nodes", node.index, "config") + place
        self._faults.add(code, where, message, node_id=node.id, severity=severity)

    def _faults_of(self, node: DrawnNode, place: str, root: str, read: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        if root in ("item", "index", "last"):
            per_item = node.kind.per_item if isinstance(node.kind, ControlNode) else frozenset()
            if root == "last" or place.split("/")[1] not in per_item:
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


def _templates(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield every string within `value` that holds an expression, with its JSON Pointer."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _templates(item, place + pointer(key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _templates(item, place + pointer(index))
    elif is_template(value):
        yield place, value
