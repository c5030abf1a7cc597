"""A definition read with goodwill: whatever of it can be understood, so that each check sees all it can."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from plugins.sdk.plugin import Plugin
from user_workflows.definition.catalogue import ERROR_PORT, Catalogue, ports_of
from user_workflows.definition.control_nodes import BODY_KEYS, ControlNode
from user_workflows.definition.shape import Path


class DrawnNode(Struct, frozen=True, kw_only=True, eq=False):
    #: where it is drawn
    path: Path
    id: str | None
    plugin_id: str | None
    #: what `plugin_id` names, if anything
    kind: ControlNode | Plugin | None
    config: dict[str, Any]
    #: without what is drawn inside a loop
    own_config: dict[str, Any]
    #: what it leaves by, ``error`` included where errors do; ``None``: not known
    ports: tuple[str, ...] | None
    credentials: dict[str, Any]
    raw: Mapping[str, Any]
    #: what undoes it: read like a node, under the id of the one that it undoes
    compensation: "DrawnNode | None" = None

    @property
    def disabled(self) -> bool:
        return self.raw.get("disabled") is True

    @property
    def on_error(self) -> object:
        return self.raw.get("onError", "fail")

    @property
    def is_loop(self) -> bool:
        return _is_loop(self.kind)

    def sees(self, key: str) -> frozenset[str]:
        """Which of ``item``, ``index`` and ``last`` the expressions under a config key see by this node's doing."""
        return self.kind.sees.get(key, frozenset()) if isinstance(self.kind, ControlNode) else frozenset()

    def readable(self) -> tuple[str, ...] | None:
        """What expressions may read of it after ``nodes.<id>.``; ``None``: not known."""
        if self.ports is not None and self.on_error == "continue" and ERROR_PORT not in self.ports:
            return (*self.ports, ERROR_PORT)
        return self.ports


class DrawnEdge(Struct, frozen=True, kw_only=True, gc=False):
    path: Path
    #: its place in ``edges``
    index: int
    source: str
    target: str
    source_handle: str | None
    target_handle: str | None


class DrawnGraph(Struct, frozen=True, kw_only=True, eq=False):
    """What is drawn in one plane: the definition's own graph, or the body of a loop."""

    #: of the object that holds its ``nodes`` and ``edges``
    path: Path
    raw: Mapping[str, Any]
    nodes: tuple[DrawnNode, ...]
    #: the first node of each id
    by_id: dict[str, DrawnNode]
    edges: tuple[DrawnEdge, ...]
    #: the loop whose body it is, and the graph in which that is drawn
    loop: DrawnNode | None = None
    outer: "DrawnGraph | None" = None

    @property
    def depth(self) -> int:
        """How many loops are around it."""
        return 0 if self.outer is None else self.outer.depth + 1

    @property
    def sees(self) -> frozenset[str]:
        """Which of ``item``, ``index`` and ``last`` the loops around it give to its expressions."""
        if self.loop is None or self.outer is None or not isinstance(self.loop.kind, ControlNode):
            return frozenset()
        return self.outer.sees | self.loop.kind.body_sees


class Drawing(Struct, frozen=True, kw_only=True, eq=False):
    #: the definition's own, then the bodies of loops, each after the graph that it is drawn in
    graphs: tuple[DrawnGraph, ...]
    #: the first node of each id, over all graphs
    by_id: dict[str, DrawnNode]
    variables: dict[str, Any]
    #: index → trigger, of those that are objects
    triggers: dict[int, dict[str, Any]]

    @property
    def nodes(self) -> Iterator[DrawnNode]:
        """Every node, those inside loops too."""
        return (node for graph in self.graphs for node in graph.nodes)

    def graph_of(self, id: str) -> DrawnGraph:
        """Return the graph in which a known node is drawn."""
        return next(graph for graph in self.graphs if id in graph.by_id)


def read_drawing(raw: Mapping[str, Any], catalogue: Catalogue) -> Drawing:
    """Read what can be read; what cannot is left out, for the check of its shape to report.

    A disabled loop may be half drawn, and is not looked into.
    """
    graphs = [_read_graph(raw, (), catalogue)]
    for graph in graphs:  # grows meanwhile, by the bodies that are found
        graphs.extend(
            _read_graph(node.config, (*node.path, "config"), catalogue, loop=node, outer=graph)
            for node in graph.nodes
            if node.is_loop and not node.disabled
        )
    return Drawing(
        graphs=tuple(graphs),
        by_id=_first_of_each_id(node for graph in graphs for node in graph.nodes),
        variables=_object(raw.get("variables")),
        triggers=_objects(raw.get("triggers")),
    )


def _read_graph(
    raw: Mapping[str, Any],
    path: Path,
    catalogue: Catalogue,
    *,
    loop: DrawnNode | None = None,
    outer: DrawnGraph | None = None,
) -> DrawnGraph:
    nodes = tuple(
        _read_node((*path, "nodes", index), node, catalogue) for index, node in _objects(raw.get("nodes")).items()
    )
    return DrawnGraph(
        path=path,
        raw=raw,
        nodes=nodes,
        by_id=_first_of_each_id(nodes),
        edges=tuple(
            DrawnEdge(
                path=(*path, "edges", index),
                index=index,
                source=edge["source"],
                target=edge["target"],
                source_handle=_text(edge.get("sourceHandle")),
                target_handle=_text(edge.get("targetHandle")),
            )
            for index, edge in _objects(raw.get("edges")).items()
            if isinstance(edge.get("source"), str) and isinstance(edge.get("target"), str)
        ),
        loop=loop,
        outer=outer,
    )


def _read_node(path: Path, raw: dict[str, Any], catalogue: Catalogue) -> DrawnNode:
    plugin_id = _text(raw.get("pluginId"))
    undo = raw.get("compensate")
    compensation = None
    if isinstance(undo, dict):
        # It is half drawn where the node is.
        whole = {key: undo[key] for key in undo if key != "compensate"}
        whole |= {"id": raw.get("id"), "disabled": raw.get("disabled")}
        compensation = _read_node((*path, "compensate"), whole, catalogue)
    kind = None if plugin_id is None else catalogue.find(plugin_id)
    config = own_config = _object(raw.get("config"))
    if _is_loop(kind):
        own_config = {key: value for key, value in config.items() if key not in BODY_KEYS}
    return DrawnNode(
        path=path,
        id=_text(raw.get("id")),
        plugin_id=plugin_id,
        kind=kind,
        config=config,
        own_config=own_config,
        ports=None if kind is None else _ports(kind, config, raw),
        credentials=_object(raw.get("credentials")),
        raw=raw,
        compensation=compensation,
    )


def _is_loop(kind: ControlNode | Plugin | None) -> bool:
    return isinstance(kind, ControlNode) and kind.is_loop


def _ports(kind: ControlNode | Plugin, config: Mapping[str, Any], raw: Mapping[str, Any]) -> tuple[str, ...]:
    ports = ports_of(kind, config)
    return (*ports, ERROR_PORT) if raw.get("onError") == "port" and ERROR_PORT not in ports else ports


def _first_of_each_id(nodes: Iterable[DrawnNode]) -> dict[str, DrawnNode]:
    by_id: dict[str, DrawnNode] = {}
    for node in nodes:
        if node.id is not None:
            by_id.setdefault(node.id, node)
    return by_id


def _objects(value: Any) -> dict[int, dict[str, Any]]:
    if not isinstance(value, list):
        return {}
    return {index: item for index, item in enumerate(value) if isinstance(item, dict)}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
