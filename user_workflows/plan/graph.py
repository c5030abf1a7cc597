"""The graph of a definition: order, ancestors and cycles. Every answer follows the order of drawing."""

from collections.abc import Iterable, Mapping
from functools import cached_property

import networkx as nx


class Graph:
    """A directed graph of node ids, which may hold cycles.

    Args:
        nodes: every node, in the order drawn.
        edges: pairs of known nodes; duplicates and self-loops are ignored.
    """

    def __init__(self, nodes: Iterable[str], edges: Iterable[tuple[str, str]]) -> None:
        self._place = {node: place for place, node in enumerate(nodes)}
        self._drawn: nx.DiGraph[str] = nx.DiGraph()
        self._drawn.add_nodes_from(self._place)
        self._drawn.add_edges_from((source, target) for source, target in edges if source != target)

    @cached_property
    def _groups(self) -> list[list[str]]:
        """The nodes in topological order, each alone, or with those that it lies on cycles with in the order drawn."""
        try:
            return [[node] for node in nx.topological_sort(self._drawn)]
        except nx.NetworkXUnfeasible:
            condensed = nx.condensation(self._drawn)
            groups = (condensed.nodes[group]["members"] for group in nx.topological_sort(condensed))
            return [sorted(members, key=self._place.__getitem__) for members in groups]

    def order(self) -> list[str]:
        """Return the nodes in topological order, earlier drawn first.

        Raises:
            ValueError: the graph holds a cycle.
        """
        try:
            return list(nx.lexicographical_topological_sort(self._drawn, key=self._place.__getitem__))
        except nx.NetworkXUnfeasible as error:
            raise ValueError("a graph with a cycle has no order") from error

    def sweep(self) -> list[str]:
        """Return the nodes in topological order, those that lie on cycles together in the order drawn."""
        return [node for group in self._groups for node in group]

    def cycles(self) -> list[list[str]]:
        """Return each group of nodes that lie on cycles together, in the order of one walk round where there is one."""
        groups = [group for group in self._groups if len(group) > 1]
        return sorted((self._walk(group) for group in groups), key=lambda walk: self._place[walk[0]])

    def leads_to(self, source: str, target: str) -> bool:
        """Return whether there is a way from one node to another; from one to itself there is on a cycle alone."""
        return bool(self._ancestors[target] >> self._place[source] & 1)

    @cached_property
    def _ancestors(self) -> dict[str, int]:
        """For each node a bit set of its ancestors; a node's bit is its place in the order of drawing."""
        masks: dict[str, int] = {}
        for group in self._groups:
            inside = sum(1 << self._place[node] for node in group) if len(group) > 1 else 0
            before = inside
            for node in group:
                for parent in self._drawn.predecessors(node):
                    # One of the same group has no mask yet.
                    before |= masks.get(parent, 0) | 1 << self._place[parent]
            masks.update(dict.fromkeys(group, before))
        return masks

    def depths(self, waits: Mapping[str, int]) -> dict[str, int]:
        """Return for each node the most waits on any path to it and through it, of a graph without cycles.

        Args:
            waits: how many a node brings, those that bring any.
        """
        depth: dict[str, int] = {}
        for node in self.sweep():
            before = max((depth[parent] for parent in self._drawn.predecessors(node)), default=0)
            depth[node] = before + waits.get(node, 0)
        return depth

    def _walk(self, group: list[str]) -> list[str]:
        first = group[0]
        # A path from a node back to itself never leaves its group, so the whole graph may be searched.
        parents = dict(nx.bfs_predecessors(self._drawn, first))
        node = next(node for node in parents if self._drawn.has_edge(node, first))
        walk = []
        while node != first:
            walk.append(node)
            node = parents[node]
        walk = [first, *reversed(walk)]
        on_walk = set(walk)
        return walk + [node for node in group if node not in on_walk]
