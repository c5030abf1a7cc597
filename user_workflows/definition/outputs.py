"""What nodes leave with, as far as it can be known before anything runs: port → the kinds of its value."""

from collections.abc import Mapping
from typing import Any

from user_workflows.definition.catalogue import ERROR_PORT
from user_workflows.definition.control_nodes import ControlNode
from user_workflows.definition.declared import declared
from user_workflows.definition.drawing import DrawnEdge, DrawnGraph, DrawnNode
from user_workflows.definition.faults import pointer
from user_workflows.definition.shape import is_template
from user_workflows.expressions.kinds import (
    INT,
    MAP,
    NULL,
    STRING,
    Kinds,
    as_json,
    either,
    kinds_of,
    list_of,
    map_of,
)

Ports = Mapping[str, Kinds]

#: ``nodes.<id>.error``
ERROR = map_of({"type": STRING, "message": STRING, "status": either((INT, NULL)), "attempts": INT})
_ITEM_ERROR = map_of({"type": STRING, "message": STRING, "nodeId": either((STRING, NULL))})


class Rendered:
    """The kinds of a config's expressions.

    Args:
        found: JSON Pointer of a string within the config → what it comes to.
    """

    def __init__(self, config: Mapping[str, Any], found: Mapping[str, Kinds]) -> None:
        self._config = config
        self._found = found

    def at(self, key: str) -> Kinds:
        """Return the kinds of what is drawn under a key."""
        return self._of(self._config[key], pointer(key)) if key in self._config else None

    def _of(self, value: Any, place: str) -> Kinds:
        if is_template(value):
            return self._found.get(place)
        if isinstance(value, dict):
            return map_of({key: self._of(item, place + pointer(key)) for key, item in value.items()})
        if isinstance(value, list):
            return list_of(either(self._of(item, place + pointer(index)) for index, item in enumerate(value)))
        return kinds_of(value)


def ports_of_node(node: DrawnNode, given: Kinds, rendered: Rendered, body: Kinds) -> Ports:
    """Return what a node leaves with, port by port.

    Args:
        node: not a disabled one.
        given: its input.
        rendered: its config.
        body: of a loop without ``result``, what a round comes to.
    """
    ports = node.ports or ()
    own = _left(node, given, rendered, body)
    left = {**dict.fromkeys(ports), **own}
    if node.on_error == "continue" and ports:
        left[ports[0]] = either((left[ports[0]], NULL))
    if node.on_error in ("continue", "port"):
        left[ERROR_PORT] = either((own[ERROR_PORT], ERROR)) if ERROR_PORT in own else ERROR
    return left


def _left(node: DrawnNode, given: Kinds, rendered: Rendered, body: Kinds) -> Ports:  # noqa: PLR0911 - one a kind of node
    if not isinstance(node.kind, ControlNode):
        return {} if node.kind is None else dict.fromkeys(node.kind.ports, declared(node.kind.output))
    result = as_json(rendered.at("result")) if "result" in node.config else body
    match node.plugin_id:
        case "if" | "switch":
            return dict.fromkeys((port for port in node.ports or () if port != ERROR_PORT), given)
        case "set":
            return {"output": as_json(rendered.at("values"))}
        case "merge":
            return {"output": given}
        case "filter":
            return {"output": list_of(elements_of(rendered))}
        case "foreach":
            return _of_foreach(node, result)
        case "while":
            return {"output": either((result, NULL))}
        case "wait":
            return {"output": None if "signal" in node.config else given, "timeout": NULL}
    return {}


def _of_foreach(node: DrawnNode, result: Kinds) -> Ports:
    if node.config.get("continueOnItemError") is not True:
        return {"output": list_of(result)}
    errors = list_of(map_of({"index": INT, "error": _ITEM_ERROR}))
    return {"output": list_of(either((result, NULL))), ERROR_PORT: errors}


def elements_of(rendered: Rendered) -> Kinds:
    """Return the kinds of the items that a loop or filter looks at."""
    items = rendered.at("items")
    return None if items is None else either(kind.element for kind in items if kind.name == "list")


def input_of(node: DrawnNode, edges: list[DrawnEdge], outputs: Mapping[str, Ports], given: Kinds) -> Kinds:
    """Return what a node sees as `input`: at roots what is `given`."""
    if not edges:
        return given
    if len(edges) == 1 and node.plugin_id != "merge":
        return _arrives(edges[0], outputs)
    arriving: dict[str, list[Kinds]] = {}
    for edge in edges:
        arriving.setdefault(edge.target_handle or edge.source, []).append(_arrives(edge, outputs))
    return map_of({key: either(options) for key, options in arriving.items()})


def _arrives(edge: DrawnEdge, outputs: Mapping[str, Ports]) -> Kinds:
    ports = outputs.get(edge.source)
    if not ports:
        return None
    if edge.source_handle is not None:
        return ports.get(edge.source_handle)
    return either(kinds for port, kinds in ports.items() if port != ERROR_PORT)


def round_of(body: DrawnGraph, outputs: Mapping[str, Ports]) -> Kinds:
    """Return what a round of a loop comes to without ``result``: the values of the nodes that lead nowhere."""
    leading = {edge.source for edge in body.edges}
    ends = [node.id for node in body.nodes if node.id is not None and node.id not in leading]
    if any(not outputs.get(id) for id in ends):
        return MAP
    return map_of({id: either(outputs[id].values()) for id in ends})
