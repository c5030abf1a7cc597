"""Compile a valid definition into the plan that the interpreter walks."""

from collections.abc import Mapping

from msgspec.structs import replace

from plugins.host.registry import Registry
from plugins.sdk.duration import parse_duration
from user_workflows.definition.catalogue import Catalogue, ports_of
from user_workflows.definition.control_nodes import ControlNode
from user_workflows.definition.model import Definition, Edge, JoinCount, Node
from user_workflows.expressions import EVALUATOR_VERSION
from user_workflows.plan.graph import Graph
from user_workflows.plan.model import Plan, PlanEdge, PlanNode
from user_workflows.plan.segments import find_segments, is_cheap, known_effect


def compile_plan(definition: Definition, *, plugins: Registry) -> Plan:
    """Return the plan of a definition that `validate` found valid.

    Raises:
        LookupError: a node names a plugin that is not installed.
        ValueError: the definition holds a cycle.
    """
    catalogue = Catalogue(plugins)
    nodes = {node.id: node for node in definition.nodes}
    ports = {node.id: _ports(node, catalogue) for node in definition.nodes}
    incoming: dict[str, list[int]] = {id: [] for id in nodes}
    outgoing: dict[str, list[int]] = {id: [] for id in nodes}
    for index, edge in enumerate(definition.edges):
        outgoing[edge.source].append(index)
        incoming[edge.target].append(index)
    order = Graph(nodes, ((edge.source, edge.target) for edge in definition.edges)).order()
    edges = tuple(_compile_edge(edge, ports) for edge in definition.edges)
    compiled = [
        _compile_node(nodes[id], catalogue, ports[id], tuple(incoming[id]), tuple(outgoing[id])) for id in order
    ]
    segments = find_segments(compiled, edges, {node.id: _is_cheap(node, nodes[node.id], plugins) for node in compiled})
    shared = {id for chain in segments for id in chain}
    return Plan(
        evaluator=EVALUATOR_VERSION,
        nodes=tuple(
            replace(node, home="segment") if node.id in shared and node.home == "activity" else node
            for node in compiled
        ),
        edges=edges,
        segments=segments,
        variables=definition.variables,
        timeout=None if definition.timeout is None else parse_duration(definition.timeout),
    )


def _ports(node: Node, catalogue: Catalogue) -> tuple[str, ...]:
    kind = catalogue.find(node.plugin_id)
    if kind is None:
        raise LookupError(f"no plugin {node.plugin_id!r} is installed")
    return ports_of(kind, node.config)


def _compile_node(
    node: Node, catalogue: Catalogue, ports: tuple[str, ...], incoming: tuple[int, ...], outgoing: tuple[int, ...]
) -> PlanNode:
    return PlanNode(
        id=node.id,
        plugin=node.plugin_id,
        home="inline" if isinstance(catalogue.find(node.plugin_id), ControlNode) else "activity",
        config=node.config,
        label=node.label,
        default_port=ports[0] if ports else "output",
        incoming=incoming,
        outgoing=outgoing,
        join=node.join.count if isinstance(node.join, JoinCount) else node.join,
        on_error=node.on_error,
        on_unknown=node.on_unknown,
        retry=node.retry,
        timeout=parse_duration(node.timeout),
        credentials=node.credentials,
        disabled=node.disabled,
    )


def _is_cheap(node: PlanNode, drawn: Node, plugins: Registry) -> bool:
    plugin = plugins.find(node.plugin)
    if node.home != "activity" or plugin is None:
        return False
    return is_cheap(node, known_effect(plugin, node.config), isolate=drawn.isolate)


def _compile_edge(edge: Edge, ports: Mapping[str, tuple[str, ...]]) -> PlanEdge:
    port = edge.source_handle
    if port is None and len(ports[edge.source]) == 1:
        (port,) = ports[edge.source]
    return PlanEdge(source=edge.source, target=edge.target, port=port, key=edge.target_handle or edge.source)
