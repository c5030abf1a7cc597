"""The graph of a definition: order, ancestors and cycles. Every answer follows the order of drawing."""

from collections.abc import Hashable, Iterable, Mapping
from functools import cached_property
from typing import TypeVar

import networkx as nx

N = TypeVar("N", bound=Hashable)


class Graph:
    """A directed graph of node ids, which may hold cycles.

    Args:
        nodes: every node, in the order drawn.
        edges: pairs of known nodes; duplicates and self-loops are ignored.
    """

    def __init__(self, nodes: Iterable[str], edges: Iterable[tuple[str, str]]) -> None:
        self._place = {node: place for place, node in enumerate(nodes)}
        self._graph: nx.DiGraph[str] = nx.DiGraph()
        self._graph.add_nodes_from(self._place)
        self._graph.add_edges_from((source, target) for source, target in edges if source != target)

    @cached_property
    def _groups(self) -> list[list[str]]:
        """The nodes in topological order, each alone, or with those that it lies on cycles with in the order drawn."""
        try:
            return [[node] for node in nx.topological_sort(self._graph)]
        except nx.NetworkXUnfeasible:
            condensed = nx.condensation(self._graph)
            groups = (condensed.nodes[group]["members"] for group in nx.topological_sort(condensed))
            return [sorted(members, key=self._place.__getitem__) for members in groups]

    def order(self) -> list[str]:
        """Return the nodes in topological order, earlier drawn first.

        Raises:
            ValueError: the graph holds a cycle.
        """
        try:
            return list(nx.lexicographical_topological_sort(self._graph, key=self._place.__getitem__))
        except nx.NetworkXUnfeasible as error:
            raise ValueError("a graph with a cycle has no order") from error

    def sweep(self) -> list[str]:
        """Return the nodes in topological order, those that lie on cycles together in the order drawn."""
        return [node for group in self._groups for node in group]

    def cycles(self) -> list[list[str]]:
        """Return each group of nodes that lie on cycles together, in the order of one walk round where there is one."""
        groups = [group for group in nx.strongly_connected_components(self._graph) if len(group) > 1]
        return sorted((self._walk(group) for group in groups), key=lambda walk: self._place[walk[0]])

    def ancestor_masks(self) -> dict[str, int]:
        """Return for each node a bit set of its ancestors; a node's bit is its place in the order of drawing."""
        masks: dict[str, int] = {}
        for group in self._groups:
            inside = sum(1 << self._place[node] for node in group) if len(group) > 1 else 0
            before = inside
            for node in group:
                for parent in self._graph.predecessors(node):
                    # One of the same group has no mask yet.
                    before |= masks.get(parent, 0) | 1 << self._place[parent]
            masks.update(dict.fromkeys(group, before))
        return masks

    def place(self, node: str) -> int:
        return self._place[node]

    def depths(self, waits: Mapping[str, int]) -> dict[str, int]:
        """Return for each node the most waits on any path to it and through it.

        Args:
            waits: how many a node brings, those that bring any.

        Raises:
            ValueError: the graph holds a cycle.
        """
        depth: dict[str, int] = {}
        for node in self.order():
            before = max((depth[parent] for parent in self._graph.predecessors(node)), default=0)
            depth[node] = before + waits.get(node, 0)
        return depth

    def _walk(self, group: set[str]) -> list[str]:
        first = min(group, key=self._place.__getitem__)
        # A path from a node back to itself never leaves its group, so the whole graph may be searched.
        parents = dict(nx.bfs_predecessors(self._graph, first))
        node = next(node for node in parents if self._graph.has_edge(node, first))
        walk = []
        while node != first:
            walk.append(node)
            node = parents[node]
        walk = [first, *reversed(walk)]
        return walk + sorted(group.difference(walk), key=self._place.__getitem__)
