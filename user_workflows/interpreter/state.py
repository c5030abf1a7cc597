"""The state of one graph, an execution's or a loop body's, and its transitions: plain data, no clock, no engine."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from user_workflows.interpreter.joins import Dead, EdgeState, Ready, decide
from user_workflows.interpreter.journal import Journal
from user_workflows.interpreter.messages import CarriedGraph, Seed, StepError, StepOutcome
from user_workflows.interpreter.node import NodeState
from user_workflows.plan.model import PlanGraph, PlanNode

#: the port by which a failed node with ``onError: port`` leaves
ERROR_PORT = "error"

#: why a node is skipped that the API was asked to skip
SKIPPED = "skipped by request"


class GraphState:
    """All nodes and edges of one graph.

    A transition settles one node, fires or rules out its edges, and carries skips on along dead paths; nodes that
    became ready are handed out once by `take_ready`, in the order in which they became so.
    """

    def __init__(
        self,
        graph: PlanGraph,
        journal: Journal,
        *,
        path: tuple[int, ...] = (),
        outer: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        self.plan = graph
        self.path = path
        self.nodes: dict[str, NodeState] = {node.id: NodeState(node, path) for node in graph.nodes}
        #: what expressions see as `nodes`: node → port → value, of the nodes that left by a port
        self.outputs: dict[str, dict[str, Any]] = dict(outer or {})
        self.journal = journal
        #: what nodes see as `input` instead of what arrives
        self.edited: Mapping[str, Any] = {}
        #: nodes that an earlier run of the execution began, to be gone on with
        self.under_way: list[NodeState] = []
        self._edges = [EdgeState(edge) for edge in graph.edges]
        #: nodes that will run, or never will; asked for membership only, its order means nothing
        self._decided: set[str] = set()
        self._ready: dict[str, None] = {node.id: None for node in graph.nodes if not node.incoming}

    @property
    def has_ready(self) -> bool:
        return bool(self._ready)

    def is_ready(self, node_id: str) -> bool:
        return node_id in self._ready

    def take_ready(self) -> Iterator[NodeState]:
        """Hand out the nodes whose join holds, each once; transitions made meanwhile may add more."""
        while self._ready:
            node_id = next(iter(self._ready))
            del self._ready[node_id]
            yield self.nodes[node_id]

    def input_of(self, node: PlanNode, given: Any) -> Any:
        """Return what a node sees as `input` (design §6): at roots what was `given`; a `merge` always sees a map."""
        if node.id in self.edited:
            return self.edited[node.id]
        if not node.incoming:
            return given
        states = [self._edges[index] for index in node.incoming]
        if len(states) == 1 and node.plugin != "merge":
            return self._value(states[0])
        return {state.edge.key: self._value(state) for state in states if state.status == "fired"}

    def result(self) -> dict[str, Any]:
        """Return the values of completed nodes without outgoing edges."""
        return {
            node_id: state.output
            for node_id, state in self.nodes.items()
            if state.status == "completed" and not state.node.outgoing
        }

    def apply(self, outcome: StepOutcome, given: Any) -> NodeState:
        """Settle a node as an activity says it settled; the node may have begun already."""
        state = self.nodes[outcome.node_id]
        self._ready.pop(outcome.node_id, None)
        self._decided.add(outcome.node_id)
        if state.status == "pending":
            self.begin(state, self.input_of(state.node, given), outcome.started_at)
        if outcome.error is not None:
            self.fail(state, outcome.error, outcome.closed_at)
        else:
            self.complete(state, outcome.ports or {}, outcome.closed_at, attempt=outcome.attempt)
        return state

    def plant(self, seed: Seed, given: Any, at: datetime) -> None:
        """Settle what is kept of an execution before this one."""
        self.edited = seed.inputs
        for outcome in seed.outcomes:
            self.apply(outcome, given).reason = seed.reason or outcome.reason
        for node_id in seed.skipped:
            state = self.nodes[node_id]
            if not state.is_settled:
                self.skip(state, SKIPPED, at)

    def restore(self, carried: CarriedGraph) -> None:
        """Take up the state that an earlier run of the execution came to; its records are written."""
        for kept in carried.nodes:
            state = self.nodes[kept.id]
            state.status, state.ports, state.seq, state.input = kept.status, dict(kept.ports), kept.seq, kept.input
            state.started_at, state.closed_at, state.attempt = kept.started_at, kept.closed_at, kept.attempt
            state.reason, state.kept, state.compensation = kept.reason, dict(kept.kept), kept.compensation
            self._decided.add(kept.id)
            if not state.is_settled:
                self.under_way.append(state)
            elif state.status == "skipped":
                self._rule_out(state)
            elif state.status == "completed" or state.ports:
                self._fire(state)
        self._ready.clear()
        for node_id, state in self.nodes.items():
            if state.status == "pending" and isinstance(self._decide(state.node), Ready):
                self._decided.add(node_id)
                self._ready[node_id] = None

    def outcomes(self) -> list[StepOutcome]:
        """Return the nodes that have settled, in the order of the plan, as `apply` takes them."""
        return [
            StepOutcome(
                node_id=state.node.id,
                started_at=state.started_at,
                closed_at=state.closed_at,
                ports=None if state.status == "failed" else state.ports,
                error=state.error,
                attempt=state.attempt,
            )
            for state in self.nodes.values()
            if state.status in ("completed", "failed") and state.started_at and state.closed_at
        ]

    def begin(self, state: NodeState, input: Any, at: datetime) -> None:
        state.status, state.input, state.started_at = "running", input, at
        self.journal.note(state)

    def wait(self, state: NodeState, reason: str) -> None:
        state.status, state.reason = "waiting", reason
        self.journal.note(state)

    def complete(self, state: NodeState, ports: Mapping[str, Any], at: datetime, *, attempt: int = 1) -> None:
        """A node left by `ports`, port → value."""
        state.status, state.ports, state.reason = "completed", dict(ports), None
        state.attempt, state.closed_at = attempt, at
        self.journal.note(state)
        self._leave(state)

    def fail(self, state: NodeState, error: StepError, at: datetime) -> None:
        """A node failed; by its `onError` the execution may go on from here, or end."""
        state.status, state.error, state.reason = "failed", error, None
        state.attempt, state.closed_at = error.attempts, at
        seen = {"type": error.type, "message": error.message, "status": error.status, "attempts": error.attempts}
        match state.node.on_error:
            case "continue":
                state.ports = {state.node.default_port: None, ERROR_PORT: seen}
            case "port":
                state.ports = {ERROR_PORT: seen}
            case "fail":
                pass
        self.journal.note(state)
        if state.node.on_error != "fail":
            self._leave(state)

    def skip(self, state: NodeState, reason: str, at: datetime) -> None:
        """A node that has not settled never will; its edges are ruled out, and the skip travels on."""
        self._ready.pop(state.node.id, None)
        self._decided.add(state.node.id)
        self._skip(state, reason, at)
        self._settle_targets(state, at)

    def cancel(self, state: NodeState, reason: str, at: datetime) -> None:
        """A node that was running or waiting is stopped."""
        state.status, state.reason, state.closed_at = "canceled", reason, at
        self.journal.note(state)

    def close(self, reason: str, at: datetime) -> None:
        """End everything that has not settled: what runs is canceled, what never began is skipped."""
        for state in self.nodes.values():
            if state.status in ("running", "waiting"):
                self.cancel(state, reason, at)
            elif state.status == "pending":
                self._mark_skipped(state, reason, at)

    def _leave(self, state: NodeState) -> None:
        self._fire(state)
        self._settle_targets(state, state.closed_at)

    def _fire(self, state: NodeState) -> None:
        """Fire and rule out the edges of a node that left by its ports."""
        self.outputs[state.node.id] = state.ports
        # A failed node that continues leaves by its default port alone; `error` is only readable.
        ports = [state.node.default_port] if state.status == "failed" and len(state.ports) > 1 else [*state.ports]
        taken = " and ".join(f"`{port}`" for port in ports)
        for index in state.node.outgoing:
            edge = self._edges[index]
            wanted = edge.edge.port
            if wanted in ports or (wanted is None and ports != [ERROR_PORT]):
                edge.status = "fired"
            else:
                edge.status = "ruledOut"
                edge.reason = f"edge {edge.edge.source}→{edge.edge.target} ruled out: port {taken} was taken"

    def _skip(self, state: NodeState, reason: str, at: datetime | None) -> None:
        self._mark_skipped(state, reason, at)
        self._rule_out(state)

    def _rule_out(self, state: NodeState) -> None:
        for index in state.node.outgoing:
            edge = self._edges[index]
            edge.status = "ruledOut"
            edge.reason = f"edge {edge.edge.source}→{edge.edge.target} ruled out: {edge.edge.source} was skipped"

    def _mark_skipped(self, state: NodeState, reason: str, at: datetime | None) -> None:
        state.status, state.reason, state.closed_at = "skipped", reason, at
        self.journal.note(state)

    def _settle_targets(self, source: NodeState, at: datetime | None) -> None:
        # A work list, not recursion: dead paths may be a thousand nodes long.
        sources = [source]
        while sources:
            for index in sources.pop(0).node.outgoing:
                target = self.nodes[self._edges[index].edge.target]
                if target.node.id in self._decided:
                    continue
                match self._decide(target.node):
                    case Ready():
                        self._decided.add(target.node.id)
                        self._ready[target.node.id] = None
                    case Dead(reason):
                        self._decided.add(target.node.id)
                        self._skip(target, reason, at)
                        sources.append(target)
                    case None:
                        pass

    def _decide(self, node: PlanNode) -> Ready | Dead | None:
        return decide(node, [self._edges[index] for index in node.incoming])

    def _value(self, edge: EdgeState) -> Any:
        source = self.nodes[edge.edge.source]
        port = edge.edge.port if edge.edge.port is not None else source.port
        return source.ports.get(port) if port is not None else None
