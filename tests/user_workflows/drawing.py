"""A short hand for drawing definitions in tests."""

from itertools import pairwise
from typing import Any

_OPTIONS = ("retry", "onError", "onUnknown", "timeout", "join", "disabled", "credentials", "label")


def node(id: str, plugin: str = "set", **config: Any) -> dict[str, Any]:
    """Draw a node: options of nodes by their names, all else is its config."""
    options = {key: config.pop(key) for key in _OPTIONS if key in config}
    return {"id": id, "pluginId": plugin, "config": config, **options}


def edges(*pairs: str) -> list[dict[str, str]]:
    """Draw edges: ``a>b``, and ``a.true>b`` for one that leaves by a port."""
    drawn = []
    for pair in pairs:
        source, target = pair.split(">")
        source, _, port = source.partition(".")
        drawn.append({"source": source, "target": target} | ({"sourceHandle": port} if port else {}))
    return drawn


def chain(*nodes: dict[str, Any]) -> dict[str, Any]:
    """Draw a definition in which one node follows the other."""
    ids = [drawn["id"] for drawn in nodes]
    return {"nodes": list(nodes), "edges": edges(*(f"{a}>{b}" for a, b in pairwise(ids)))}


def undoable(drawn: dict[str, Any], plugin: str = "test.flaky", **config: Any) -> dict[str, Any]:
    """Draw what undoes a node."""
    return {**drawn, "compensate": {"pluginId": plugin, "config": config}}
