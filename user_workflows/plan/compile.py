"""Compile a valid definition into the plan that the interpreter walks."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from plugins.host.registry import Registry
from plugins.sdk.duration import parse_duration
from plugins.sdk.effect import EFFECTFUL, Effect
from plugins.sdk.plugin import Plugin
from user_workflows.definition.catalogue import Catalogue, ports_of
from user_workflows.definition.control_nodes import BODY_KEYS, ControlNode
from user_workflows.definition.model import Definition, Edge, JoinCount, Node, SubGraph
from user_workflows.expressions import EVALUATOR_VERSION
from user_workflows.plan.graph import Graph
from user_workflows.plan.model import Home, Plan, PlanEdge, PlanGraph, PlanNode
from user_workflows.plan.segments import find_segments, is_carried, known_effect, may_share

#: seconds for one attempt of a plugin, where the node says nothing
DEFAULT_TIMEOUT = 30.0


def compile_plan(definition: Definition, *, plugins: Registry) -> Plan:
    """Return the plan of a definition that `validate` found valid.

    Raises:
        LookupError: a node names a plugin that is not installed.
        ValueError: the definition, or the body of a loop, holds a cycle.
    """
    graph = _compile_graph(definition.nodes, definition.edges, Catalogue(plugins))
    return Plan(
        evaluator=EVALUATOR_VERSION,
        nodes=graph.nodes,
        edges=graph.edges,
        segments=graph.segments,
        variables=definition.variables,
        timeout=None if definition.timeout is None else parse_duration(definition.timeout),
        error_workflow=definition.error_workflow,
    )


def _compile_graph(drawn_nodes: Sequence[Node], drawn_edges: Sequence[Edge], catalogue: Catalogue) -> PlanGraph:
    drawn = {node.id: node for node in drawn_nodes}
    ports = {node.id: ports_of(_kind(node, catalogue), node.config) for node in drawn_nodes}
    incoming: dict[str, list[int]] = {id: [] for id in drawn}
    outgoing: dict[str, list[int]] = {id: [] for id in drawn}
    for index, edge in enumerate(drawn_edges):
        outgoing[edge.source].append(index)
        incoming[edge.target].append(index)
    order = Graph(drawn, ((edge.source, edge.target) for edge in drawn_edges)).order()
    edges = tuple(_compile_edge(edge, ports) for edge in drawn_edges)
    nodes = [_compile_node(drawn[id], catalogue, ports[id], tuple(incoming[id]), tuple(outgoing[id])) for id in order]
    effects = {node.id: effect for node in nodes if (effect := _shared_effect(node, drawn[node.id], catalogue))}
    segments = find_segments(nodes, edges, effects)
    shared = {id for chain in segments for id in chain if id in effects}
    return PlanGraph(
        nodes=tuple(
            replace(node, home="segment", acts=effects[node.id] in EFFECTFUL) if node.id in shared else node
            for node in nodes
        ),
        edges=edges,
        segments=segments,
    )


def _kind(node: Node, catalogue: Catalogue) -> ControlNode | Plugin:
    kind = catalogue.find(node.plugin_id)
    if kind is None:
        raise LookupError(f"no plugin {node.plugin_id!r} is installed")
    return kind


def _compile_node(
    node: Node, catalogue: Catalogue, ports: tuple[str, ...], incoming: tuple[int, ...], outgoing: tuple[int, ...]
) -> PlanNode:
    kind = _kind(node, catalogue)
    config, body = node.config, None
    if isinstance(kind, ControlNode) and kind.is_loop:
        config, body = _compile_loop(node, catalogue)
    home: Home = "inline" if isinstance(kind, ControlNode) else "activity"
    if node.plugin_id == "foreach" and body is not None and is_carried(body):
        home = "batch"
    elif node.plugin_id == "workflow.call":
        home = "child"
    return PlanNode(
        id=node.id,
        plugin=node.plugin_id,
        home=home,
        config=config,
        label=node.label,
        default_port=ports[0] if ports else "output",
        incoming=incoming,
        outgoing=outgoing,
        join=node.join.count if isinstance(node.join, JoinCount) else node.join,
        on_error=node.on_error,
        on_unknown=node.on_unknown,
        retry=node.retry,
        timeout=DEFAULT_TIMEOUT if node.timeout is UNSET else parse_duration(node.timeout),
        limit=_limit(node, kind),
        credentials=node.credentials,
        disabled=node.disabled,
        body=body,
        compensate=_compile_compensation(node),
    )


def _limit(node: Node, kind: ControlNode | Plugin) -> float | None:
    if node.timeout is UNSET or not isinstance(kind, ControlNode) or not kind.takes_time:
        return None
    return parse_duration(node.timeout)


def _compile_compensation(node: Node) -> PlanNode | None:
    undo = node.compensate
    if undo is None or node.disabled:
        return None
    return PlanNode(
        id=f"{node.id}.compensate",
        plugin=undo.plugin_id,
        home="activity",
        config=undo.config,
        label=f"undo {node.label or node.id}",
        retry=undo.retry,
        timeout=parse_duration(undo.timeout),
        credentials=undo.credentials,
    )


def _compile_loop(node: Node, catalogue: Catalogue) -> tuple[dict[str, Any], PlanGraph | None]:
    """Return what is left of a loop's config, and its body; a disabled loop may be half drawn, and has none."""
    config = {key: value for key, value in node.config.items() if key not in BODY_KEYS}
    if node.disabled:
        return config, None
    body = msgspec.convert({key: node.config[key] for key in BODY_KEYS if key in node.config}, SubGraph)
    return config, _compile_graph(body.nodes, body.edges, catalogue)


def _shared_effect(node: PlanNode, drawn: Node, catalogue: Catalogue) -> Effect | None:
    """Return the effect of a plugin's node that may share an activity; ``None``: it may not, or only a run tells."""
    kind = _kind(drawn, catalogue)
    if not isinstance(kind, Plugin) or not may_share(node, isolate=drawn.isolate):
        return None
    return known_effect(kind, node.config)


def _compile_edge(edge: Edge, ports: Mapping[str, tuple[str, ...]]) -> PlanEdge:
    port = edge.source_handle
    if port is None and len(ports[edge.source]) == 1:
        (port,) = ports[edge.source]
    return PlanEdge(source=edge.source, target=edge.target, port=port, key=edge.target_handle or edge.source)
