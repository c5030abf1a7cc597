"""Warnings of expressions that surely fail, or give what their place does not take, by the types that are known.

Known are the outputs that plugins declare, what `set` nodes and variables hold, and what the triggers give. Whatever
else an expression reads is not claimed to be anything, and nothing is told of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import inspect

from plugins.sdk.plugin import Plugin
from user_workflows.definition import json_types
from user_workflows.definition.declared import takes
from user_workflows.definition.drawing import Drawing, DrawnEdge, DrawnGraph, DrawnNode
from user_workflows.definition.faults import Faults, pointer
from user_workflows.definition.outputs import Ports, Rendered, elements_of, input_of, ports_of_node, round_of
from user_workflows.definition.shape import type_info
from user_workflows.definition.templates import Templates
from user_workflows.definition.trigger_kinds import trigger_kinds
from user_workflows.expressions import Finding, Inference, Placed, Template
from user_workflows.expressions.kinds import BOOL, INT, STRING, Kind, Kinds, describe, kinds_of
from user_workflows.plan.graph import Graph

_CODES = {"unknownField": "expression.unknownField", "noSuchOverload": "expression.noSuchOverload"}

_EXECUTION = {"id": STRING, "workflowId": STRING, "version": INT, "startedAt": STRING}

_CONDITION = (inspect.BoolType(), "a condition")
_ITEMS = (inspect.ListType(item_type=inspect.AnyType()), "what is walked over")

#: what control nodes need where their config's own type says only that an expression is drawn
_NEEDED: Mapping[tuple[str, str], tuple[inspect.Type, str]] = {
    ("if", "condition"): _CONDITION,
    ("switch", "when"): _CONDITION,
    ("while", "condition"): _CONDITION,
    ("filter", "where"): _CONDITION,
    ("filter", "items"): _ITEMS,
    ("foreach", "items"): _ITEMS,
    ("wait", "duration"): (inspect.StrType(), "a duration"),
    ("wait", "until"): (inspect.StrType(), "a moment"),
}


def check_types(drawing: Drawing, wired: Mapping[DrawnGraph, Graph], templates: Templates, faults: Faults) -> None:
    """Walk the definition as an execution would, with kinds in place of values.

    Args:
        drawing: the definition.
        wired: its graphs.
        templates: the configs of nodes; of those with faults of their own nothing is told.
        faults: takes what is found.
    """
    _Checker(drawing, wired, templates, faults).check(drawing.graphs[0], trigger_kinds(drawing), {})


class _Checker:
    def __init__(
        self,
        drawing: Drawing,
        wired: Mapping[DrawnGraph, Graph],
        templates: Templates,
        faults: Faults,
    ) -> None:
        self._wired = wired
        self._templates = templates
        self._faults = faults
        self._bodies = {drawn.loop: drawn for drawn in drawing.graphs if drawn.loop is not None}
        #: node → port → kinds, of the nodes walked so far
        self._outputs: dict[str, Ports] = {}
        self._nodes: dict[str, Kinds] = {}
        self._seen: dict[str, Kinds] = {
            "nodes": (Kind("map", fields=self._nodes),),
            # A variable that is not there is a fault of its own.
            "vars": (Kind("map", fields={name: kinds_of(value) for name, value in drawing.variables.items()}),),
            "trigger": trigger_kinds(drawing),
            "execution": (Kind("map", fields=_EXECUTION),),
        }

    def check(self, drawn: DrawnGraph, given: Kinds, seen: Mapping[str, Kinds]) -> None:
        incoming: dict[str, list[DrawnEdge]] = {}
        for edge in drawn.edges:
            incoming.setdefault(edge.target, []).append(edge)
        for id in self._wired[drawn].sweep():
            node = drawn.by_id[id]
            arriving = input_of(node, incoming.get(id, []), self._outputs, given)
            ports = self._ports(node, arriving, seen)
            self._outputs[id] = ports
            self._nodes[id] = (Kind("map", fields=ports),)
            if node.compensation is not None:
                self._look(node.compensation, arriving, seen, self._placed(node.compensation))

    def _ports(self, node: DrawnNode, given: Kinds, seen: Mapping[str, Kinds]) -> Ports:
        if node.disabled:
            return {node.ports[0]: given} if node.ports else {}
        early: list[Placed] = []
        late: list[Placed] = []
        for each in self._placed(node):
            (late if _key(each) in ("result", "where") else early).append(each)
        found = self._look(node, given, seen, early)
        items, one = None, {}
        if node.plugin_id in ("filter", "foreach"):
            items = elements_of(Rendered(node.own_config, found))
            one = {"item": items, "index": INT}
        elif node.plugin_id == "while":
            one = {"index": INT}
        comes_to = None
        body = self._bodies.get(node)
        if body is not None:
            self.check(body, items if node.plugin_id == "foreach" else None, {**seen, **one})
            comes_to = round_of(body, self._outputs)
        found |= self._look(node, given, {**seen, **one}, late)
        return ports_of_node(node, given, Rendered(node.own_config, found), comes_to)

    def _placed(self, node: DrawnNode) -> Sequence[Placed]:
        template = self._templates.of(node)
        return template.placed if isinstance(template, Template) and not node.disabled else ()

    def _look(
        self, node: DrawnNode, given: Kinds, seen: Mapping[str, Kinds], placed: Sequence[Placed]
    ) -> dict[str, Kinds]:
        """Tell what is wrong with expressions, and return what their strings come to."""
        found: dict[str, Kinds] = {}
        if not placed:
            return found
        scope = {**self._seen, **seen, "input": given}
        if node.plugin_id == "while":
            scope["index"] = INT
        for each in placed:
            inference = Inference(scope)
            kinds = inference.kinds(each.expression.tree)
            for finding in inference.findings:
                self._tell(node, each, finding)
            found[each.pointer] = kinds if each.is_whole else STRING
            if not inference.findings:
                self._check_place(node, each, found[each.pointer])
        return found

    def _tell(self, node: DrawnNode, placed: Placed, finding: Finding) -> None:
        self._add(node, placed, _CODES[finding.reason], finding.message, finding.position)

    def _check_place(self, node: DrawnNode, placed: Placed, kinds: Kinds) -> None:
        if kinds is None:
            return
        path = placed.pointer.split("/")[1:]
        expected, what = _needed(node, path)
        if expected is not None and not takes(expected, kinds):
            message = f"{what} must be {json_types.name(expected)}, and this gives {describe(kinds)}"
            mending = _mending(expected, is_whole=placed.is_whole)
            self._add(node, placed, "expression.typeMismatch", message + mending, placed.expression.start)

    def _add(self, node: DrawnNode, placed: Placed, code: str, message: str, position: int) -> None:
        self._faults.add(
            code,
            pointer(*node.path, "config") + placed.pointer,
            f"{message} (at character {position + 1})",
            node_id=node.id,
            severity="warning",
            position=position,
        )


def _key(placed: Placed) -> str:
    return placed.pointer.split("/")[1]


def _needed(node: DrawnNode, path: list[str]) -> tuple[inspect.Type | None, str]:
    """Return the type that is needed at a path within a node's config, if any is, and what it is called there."""
    name = f'"{".".join(path)}"'
    if isinstance(node.kind, Plugin):
        config: Any = node.kind.config
        options = [*_at(type_info(config), path)]
        if len(options) > 1:
            return inspect.UnionType(types=tuple(options)), name
        return (options[0] if options else None), name
    is_own = len(path) == 1 or node.plugin_id == "switch"
    needed = _NEEDED.get((node.plugin_id or "", path[-1])) if is_own else None
    return (None, name) if needed is None else (needed[0], f"{name}, {needed[1]},")


def _at(expected: inspect.Type, path: list[str]) -> Iterator[inspect.Type]:
    """Yield the declared types of what lies at a path, as far as they say."""
    if not path:
        yield expected
        return
    match expected:
        case inspect.Metadata(type=inner):
            yield from _at(inner, path)
        case inspect.UnionType(types=types):
            for option in types:
                yield from _at(option, path)
        case inspect.StructType(fields=fields):
            key = path[0].replace("~1", "/").replace("~0", "~")
            for field in fields:
                if field.encode_name == key:
                    yield from _at(field.type, path[1:])
        case inspect.DictType(value_type=inner):
            yield from _at(inner, path[1:])
        case inspect.ListType(item_type=inner) | inspect.VarTupleType(item_type=inner):
            yield from _at(inner, path[1:])
        case inspect.AnyType():
            yield expected


def _mending(expected: inspect.Type, *, is_whole: bool) -> str:
    if not is_whole:
        return "; leave out the text around the braces: what is more than one expression is text"
    if takes(expected, BOOL):
        return "; write a comparison, such as {{ … == … }}"
    if takes(expected, INT):
        return "; convert it with int(…) or double(…)"
    if takes(expected, STRING):
        return "; convert it with string(…), or a list or map with json.encode(…)"
    return ""
