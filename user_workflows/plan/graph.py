"""The graph of a definition: order, ancestors and cycles. Every answer follows the order of drawing."""

import heapq
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
        self._parents: dict[str, list[str]] = {node: [] for node in self._place}
        self._children: dict[str, list[str]] = {node: [] for node in self._place}
        for source, target in dict.fromkeys(edges):
            if source != target:
                self._parents[target].append(source)
                self._children[source].append(target)

    @cached_property
    def _groups(self) -> list[list[str]]:
        """The nodes in topological order, each alone, or with those that it lies on cycles with in the order drawn."""
        waits_for = {node: len(parents) for node, parents in self._parents.items()}
        order = [node for node, count in waits_for.items() if not count]
        for node in order:  # grows meanwhile, by those that wait for nothing more
            for child in self._children[node]:
                waits_for[child] -= 1
                if not waits_for[child]:
                    order.append(child)
        if len(order) == len(self._place):
            return [[node] for node in order]
        condensed = nx.condensation(self._drawn)
        groups = (condensed.nodes[group]["members"] for group in nx.topological_sort(condensed))
        return [sorted(members, key=self._place.__getitem__) for members in groups]

    @cached_property
    def _drawn(self) -> "nx.DiGraph[str]":
        """The graph for what networkx knows about cycles."""
        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(self._place)
        graph.add_edges_from((node, child) for node, children in self._children.items() for child in children)
        return graph

    def order(self) -> list[str]:
        """Return the nodes in topological order, earlier drawn first.

        Raises:
            ValueError: the graph holds a cycle.
        """
        nodes = list(self._place)
        waits_for = [len(parents) for parents in self._parents.values()]
        ready = [place for place, count in enumerate(waits_for) if not count]  # sorted, and so a heap
        order: list[str] = []
        while ready:
            node = nodes[heapq.heappop(ready)]
            order.append(node)
            for child in self._children[node]:
                place = self._place[child]
                waits_for[place] -= 1
                if not waits_for[place]:
                    heapq.heappush(ready, place)
        if len(order) < len(nodes):
            raise ValueError("a graph with a cycle has no order")
        return order

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
                for parent in self._parents[node]:
                    # One of the same group has no mask yet.
                    before |= masks.get(parent, 0) | 1 << self._place[parent]
            masks.update(dict.fromkeys(group, before))
        return masks

    def depths(self, waits: Mapping[str, int]) -> dict[str, int]:
        """Return for each node the most waits on any path to it and through it.

        Args:
            waits: how many a node brings, those that bring any.

        Raises:
            ValueError: the graph holds a cycle.
        """
        depth: dict[str, int] = {}
        for node in self.order():
            before = max((depth[parent] for parent in self._parents[node]), default=0)
            depth[node] = before + waits.get(node, 0)
        return depth

    def _walk(self, group: list[str]) -> list[str]:
        first = group[0]
        # A path from a node back to itself never leaves its group, so the whole graph may be searched.
        parents = dict(nx.bfs_predecessors(self._drawn, first))
        node = next(node for node in parents if first in self._children[node])
        walk = []
        while node != first:
            walk.append(node)
            node = parents[node]
        walk = [first, *reversed(walk)]
        on_walk = set(walk)
        return walk + [node for node in group if node not in on_walk]
