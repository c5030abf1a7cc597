"""A definition read with goodwill: whatever of it can be understood, so that each check sees all it can."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from plugins.sdk.plugin import Plugin
from user_workflows.definition.catalogue import ERROR_PORT, Catalogue, ports_of
from user_workflows.definition.control_nodes import ControlNode


class DrawnNode(Struct, frozen=True, kw_only=True, eq=False):
    #: its place in ``nodes``
    index: int
    id: str | None
    plugin_id: str | None
    #: what `plugin_id` names, if anything
    kind: ControlNode | Plugin | None
    config: dict[str, Any]
    credentials: dict[str, Any]
    raw: Mapping[str, Any]

    @property
    def disabled(self) -> bool:
        return self.raw.get("disabled") is True

    @property
    def on_error(self) -> object:
        return self.raw.get("onError", "fail")

    def ports(self) -> tuple[str, ...] | None:
        """The ports it leaves by, ``error`` included where errors do; ``None``: not known."""
        if self.kind is None:
            return None
        ports = ports_of(self.kind, self.config)
        return (*ports, ERROR_PORT) if self.on_error == "port" and ERROR_PORT not in ports else ports

    def readable(self) -> tuple[str, ...] | None:
        """What expressions may read of it after ``nodes.<id>.``; ``None``: not known."""
        ports = self.ports()
        if ports is not None and self.on_error == "continue" and ERROR_PORT not in ports:
            return (*ports, ERROR_PORT)
        return ports


class DrawnEdge(Struct, frozen=True, kw_only=True):
    #: its place in ``edges``
    index: int
    source: str
    target: str
    source_handle: str | None
    target_handle: str | None


class Drawing(Struct, frozen=True, kw_only=True, eq=False):
    nodes: tuple[DrawnNode, ...]
    #: the first node of each id
    by_id: dict[str, DrawnNode]
    edges: tuple[DrawnEdge, ...]
    variables: dict[str, Any]
    #: index → trigger, of those that are objects
    triggers: dict[int, dict[str, Any]]


def read_drawing(raw: Mapping[str, Any], catalogue: Catalogue) -> Drawing:
    """Read what can be read; what cannot is left out, for the check of its shape to report."""
    nodes = tuple(_read_node(index, node, catalogue) for index, node in _objects(raw.get("nodes")).items())
    by_id: dict[str, DrawnNode] = {}
    for node in nodes:
        if node.id is not None:
            by_id.setdefault(node.id, node)
    return Drawing(
        nodes=nodes,
        by_id=by_id,
        edges=tuple(
            DrawnEdge(
                index=index,
                source=edge["source"],
                target=edge["target"],
                source_handle=_text(edge.get("sourceHandle")),
                target_handle=_text(edge.get("targetHandle")),
            )
            for index, edge in _objects(raw.get("edges")).items()
            if isinstance(edge.get("source"), str) and isinstance(edge.get("target"), str)
        ),
        variables=_object(raw.get("variables")),
        triggers=_objects(raw.get("triggers")),
    )


def _read_node(index: int, raw: dict[str, Any], catalogue: Catalogue) -> DrawnNode:
    plugin_id = _text(raw.get("pluginId"))
    return DrawnNode(
        index=index,
        id=_text(raw.get("id")),
        plugin_id=plugin_id,
        kind=None if plugin_id is None else catalogue.find(plugin_id),
        config=_object(raw.get("config")),
        credentials=_object(raw.get("credentials")),
        raw=raw,
    )


def _objects(value: Any) -> dict[int, dict[str, Any]]:
    if not isinstance(value, list):
        return {}
    return {index: item for index, item in enumerate(value) if isinstance(item, dict)}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
