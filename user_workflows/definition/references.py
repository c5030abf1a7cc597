"""What may be wrong with the expressions of a definition: how they are written and what they read."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import structs

from user_workflows.definition.catalogue import ERROR_PORT
from user_workflows.definition.drawing import Drawing, DrawnGraph, DrawnNode
from user_workflows.definition.faults import Faults, Severity, pointer
from user_workflows.definition.shape import is_template
from user_workflows.definition.templates import Templates
from user_workflows.expressions import Reference, Template, compile_template
from user_workflows.plan.graph import Graph

#: what expressions read after ``execution.``
EXECUTION_FIELDS = ("id", "workflowId", "version", "startedAt")

#: what loops give to expressions, and where
_LOOP_NAMES = {
    "item": "where items are looked at one by one",
    "index": "where items are looked at one by one, and inside loops",
    "last": "inside a while, and in its condition",
}


def check_references(drawing: Drawing, wired: Mapping[DrawnGraph, Graph], templates: Templates, faults: Faults) -> None:
    """Report faulty expressions and references."""
    checker = _Checker(drawing, wired, templates, faults)
    for graph in drawing.graphs:
        for node in graph.nodes:
            checker.check(node, graph)
            if node.compensation is not None:
                checker.check(node.compensation, graph)


class _Checker:
    """What every check of one definition's expressions needs to know."""

    def __init__(
        self, drawing: Drawing, wired: Mapping[DrawnGraph, Graph], templates: Templates, faults: Faults
    ) -> None:
        self._drawing = drawing
        self._wired = wired
        self._bodies = {drawn.loop: drawn for drawn in drawing.graphs if drawn.loop is not None}
        self._templates = templates
        self._faults = faults

    def check(self, node: DrawnNode, drawn: DrawnGraph) -> None:
        references = self._compile(node)
        # An expression that reads the same thing twice has one fault, not two.
        for place, root, read in dict.fromkeys((found.pointer, found.root, found.path) for found in references):
            for code, message in self._faults_of(node, drawn, place.split("/")[1], root, read):
                self._add(node, code, place, message)

    def _compile(self, node: DrawnNode) -> Sequence[Reference]:
        """Report what cannot be compiled and return what the rest reads."""
        template = self._templates.of(node)
        if isinstance(template, Template):
            return template.references
        for place, fault in template.faults:
            self._add(node, fault.type, place, str(fault))
        faulty = {place for place, _ in template.faults}
        good = [(place, text) for place, text in _templates(node.own_config) if place not in faulty]
        return [
            structs.replace(found, pointer=place) for place, text in good for found in compile_template(text).references
        ]

    def _add(self, node: DrawnNode, code: str, place: str, message: str) -> None:
        severity: Severity = "warning" if node.disabled or code == "reference.dynamic" else "error"
        where = pointer(*node.path, "config") + place
        self._faults.add(code, where, message, node_id=node.id, severity=severity)

    def _faults_of(
        self, node: DrawnNode, drawn: DrawnGraph, key: str, root: str, read: tuple[str, ...]
    ) -> Iterator[tuple[str, str]]:
        if root in _LOOP_NAMES:
            if root not in drawn.sees | node.sees(key):
                yield "reference.outsideLoop", f"{root} is known only {_LOOP_NAMES[root]}"
        elif root == "nodes":
            yield from self._faults_of_node(node, drawn, key, read)
        elif root == "vars" and read and read[0] not in self._drawing.variables:
            hint = self._faults.suggest(read[0], self._drawing.variables) or "; add it to the workflow's variables"
            yield "reference.unknownVariable", f"there is no variable {read[0]!r}{hint}"
        elif root == "execution" and read and read[0] not in EXECUTION_FIELDS:
            hint = self._faults.suggest(read[0], EXECUTION_FIELDS)
            yield "reference.unknownField", f"execution has no {read[0]!r}{hint}"

    def _faults_of_node(
        self, node: DrawnNode, drawn: DrawnGraph, key: str, read: tuple[str, ...]
    ) -> Iterator[tuple[str, str]]:
        if not read:
            yield "reference.dynamic", "which node this reads is known only when it runs; name it, to have it checked"
            return
        name = read[0]
        body = self._bodies.get(node)
        if body is not None and key == "result" and name in body.by_id:
            source = body.by_id[name]  # the round is over: all of its nodes may be read
        else:
            reader, seen = node, drawn
            while name not in seen.by_id and seen.loop is not None and seen.outer is not None:
                reader, seen = seen.loop, seen.outer
            if name not in seen.by_id:
                yield self._unseen(name)
                return
            source = seen.by_id[name]
            if not self._leads_to(source, reader, seen):
                yield "reference.notUpstream", _not_upstream(source, reader, node)
        readable = source.readable()
        if len(read) > 1 and readable is not None and read[1] not in readable:
            yield "reference.unknownPort", self._no_port(source, read[1], readable)

    def _unseen(self, name: str) -> tuple[str, str]:
        """The fault of reading a node that is not there, or is inside a loop that the reader is not in."""
        if name not in self._drawing.by_id:
            hint = self._faults.suggest(name, self._drawing.by_id)
            return "reference.unknownNode", f"there is no node {name!r}{hint}"
        loop = self._drawing.graph_of(name).loop
        within = "" if loop is None else f" {loop.id}"
        message = f"node {name} is inside the loop{within} and is read only there; give it to the loop's result"
        return "reference.insideLoop", message

    def _leads_to(self, source: DrawnNode, reader: DrawnNode, drawn: DrawnGraph) -> bool:
        if reader.id is None or source.id is None:
            return True  # its missing id is the fault
        if reader is source.compensation:
            return True  # it runs after what it undoes
        return self._wired[drawn].leads_to(source.id, reader.id)

    def _no_port(self, source: DrawnNode, port: str, readable: tuple[str, ...]) -> str:
        if port == ERROR_PORT:
            hint = f'; set onError of {source.id} to "continue" or "port" to read its error'
        else:
            hint = self._faults.suggest(port, readable) if readable else "; it has no output"
        return f"node {source.id} ({source.plugin_id}) has no port {port!r}{hint}"


def _not_upstream(source: DrawnNode, reader: DrawnNode, node: DrawnNode) -> str:
    if source is node:
        return f"node {node.id} reads its own output, which is not there yet"
    if source is reader:
        return f"node {node.id} is inside the loop {source.id}, whose output is not there yet"
    within = "" if reader is node else f", which is around {node.id}"
    return (
        f"node {source.id} does not lead to {reader.id}{within}, so its output may not be there; draw an edge from it"
    )


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
