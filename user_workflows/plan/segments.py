"""Segments: chains of calls that one activity makes, step by step (design §7).

A segment holds `pure` and `read` steps, the data nodes between them, and at most one step that acts on the world, as
its last. What comes before that one may be made again from any of its steps, until the last begins.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import structs

from plugins.sdk.effect import EFFECTFUL, Effect
from plugins.sdk.plugin import Plugin
from user_workflows.definition.shape import has_template
from user_workflows.plan.model import PlanEdge, PlanGraph, PlanNode

#: a step that may take longer than this has an activity of its own, in seconds
LONGEST_STEP = 60.0

#: the most nodes of one segment
LONGEST = 40

_DATA_NODES = frozenset({"set", "filter", "merge"})

#: what an activity may walk besides cheap steps
_INLINE_NODES = frozenset({"if", "switch", *_DATA_NODES})


class _NotKnownYet(Exception):
    """The effect depends on a value that an expression gives."""


class _Drawn:
    """A config as drawn, for asking a plugin's effect: fields that hold expressions are not known yet."""

    def __init__(self, plugin: Plugin, config: Mapping[str, Any]) -> None:
        self._fields = {field.name: field for field in structs.fields(plugin.config)}
        self._config = config

    def __getattr__(self, name: str) -> Any:
        field = self._fields.get(name)
        if field is None:
            raise AttributeError(name)
        value = self._config.get(field.encode_name, field.default)
        if has_template(value):
            raise _NotKnownYet(name)
        return value


def known_effect(plugin: Plugin, config: Mapping[str, Any]) -> Effect | None:
    """Return what a call with this drawn `config` does; ``None``: only its expressions will tell."""
    if not callable(plugin.effect):
        return plugin.effect
    try:
        return plugin.effect(_Drawn(plugin, config))
    except _NotKnownYet:
        return None


def may_share(node: PlanNode, *, isolate: bool) -> bool:
    """Return whether a plugin's node may share an activity with others."""
    return not isolate and not node.disabled and node.timeout <= LONGEST_STEP


def is_carried(body: PlanGraph) -> bool:
    """Return whether an activity may walk the whole body of a loop: cheap steps, and what decides between them."""
    steps = [node for node in body.nodes if node.home == "segment"]
    rest = [node for node in body.nodes if node.home != "segment"]
    if any(node.acts for node in steps):
        return False
    return bool(steps) and all(node.plugin in _INLINE_NODES for node in rest)


def find_segments(
    nodes: Sequence[PlanNode], edges: Sequence[PlanEdge], effects: Mapping[str, Effect]
) -> tuple[tuple[str, ...], ...]:
    """Return the segments of a graph: each a chain of node ids that begins with a cheap step and ends with any.

    Args:
        nodes: in topological order.
        edges: of the same graph.
        effects: of the nodes that may be steps of a segment; a cheap one is `pure` or `read`.
    """
    by_id = {node.id: node for node in nodes}
    taken: set[str] = set()
    segments = []
    for node in nodes:
        if effects.get(node.id, "unsafe") in EFFECTFUL or node.id in taken:
            continue
        chain = [node.id]
        while len(chain) < LONGEST and (follower := _follower(by_id[chain[-1]], by_id, edges)) is not None:
            if not (follower.id in effects or follower.plugin in _DATA_NODES) or follower.id in taken:
                break
            chain.append(follower.id)
            if effects.get(follower.id) in EFFECTFUL:
                break
        while chain[-1] not in effects:
            chain.pop()
        taken.update(chain)
        segments.append(tuple(chain))
    return tuple(segments)


def _follower(node: PlanNode, by_id: Mapping[str, PlanNode], edges: Sequence[PlanEdge]) -> PlanNode | None:
    """The node that follows this one alone, and follows it alone."""
    if len(node.outgoing) != 1:
        return None
    target = by_id[edges[node.outgoing[0]].target]
    return target if len(target.incoming) == 1 else None
