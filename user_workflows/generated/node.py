"""One node of a generated workflow: a task that waits for its join, works, and leaves by ports.

It comes to the same end as a node of the interpreter, for the same reasons, and is recorded alike.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from msgspec import Struct
from temporalio import workflow
from temporalio.exceptions import is_cancelled_exception

from user_workflows.expressions import ExpressionError
from user_workflows.interpreter.control import Ports
from user_workflows.interpreter.errors import ExecutionFailed, StepFailed
from user_workflows.interpreter.joins import Dead, EdgeState, Ready, decide
from user_workflows.interpreter.journal import Journal
from user_workflows.interpreter.messages import ExecutionError, StepError
from user_workflows.interpreter.node import NodeState
from user_workflows.interpreter.state import ERROR_PORT, SKIPPED
from user_workflows.interpreter.valve import Valve
from user_workflows.plan.model import PlanEdge

OnError = Literal["fail", "continue", "port"]


class Edge(Struct, frozen=True, eq=False):
    """A way from a node to the one that is being made."""

    source: "Node"
    #: ``None``: whichever port the node leaves by, except ``error``
    port: str | None
    #: the key under which its value arrives, where several edges do
    key: str


class Join(Struct, frozen=True, eq=False):
    """The edges that a node waits for, and how many of them must fire."""

    needs: Literal["any", "all", "first"] | int
    edges: tuple[Edge, ...]


def any_of(*edges: Edge) -> Join:
    """Run when at least one edge has fired and each has fired or been ruled out."""
    return Join("any", edges)


def all_of(*edges: Edge) -> Join:
    """Run when every edge has fired."""
    return Join("all", edges)


def first_of(*edges: Edge) -> Join:
    """Run as soon as one edge has fired."""
    return Join("first", edges)


def count_of(needed: int, *edges: Edge) -> Join:
    """Run as soon as so many edges have fired."""
    return Join(needed, edges)


class Node:
    """One node in one walk over its graph.

    Args:
        state: what is recorded of it.
        join: what it waits for; a node without one is ready at once.
        input_as_map: see a map even where a single edge arrives.
        given: the `input` of a node without edges.
        outputs: what expressions see as `nodes`; it is added to that.
        journal: notes every change.
        valve: holds the node back while the execution is paused.
    """

    def __init__(
        self,
        state: NodeState,
        join: Join | None,
        *,
        input_as_map: bool,
        given: Any,
        outputs: dict[str, dict[str, Any]],
        journal: Journal,
        valve: Valve,
    ) -> None:
        self.state = state
        self._input_as_map = input_as_map
        self._given = given
        self._outputs = outputs
        self._journal = journal
        self._valve = valve
        self._leaving: list[tuple[EdgeState, Node]] = []
        self._arriving: list[tuple[EdgeState, Node]] = []
        self._verdict: asyncio.Future[Ready | Dead] = asyncio.get_running_loop().create_future()
        self._is_skipping = False
        self._task: asyncio.Task[None] | None = None
        for edge in () if join is None else join.edges:
            drawn = PlanEdge(source=edge.source.id, target=self.id, port=edge.port, key=edge.key)
            arriving = EdgeState(drawn)
            self._arriving.append((arriving, edge.source))
            edge.source._leaving.append((arriving, self))
        self._decide()

    @property
    def id(self) -> str:
        return self.state.node.id

    def port(self, name: str | None = None, *, to: str | None = None) -> Edge:
        """Return the edge that leaves by a port, or without a name by whichever the node leaves by.

        Args:
            name: of the port.
            to: the key under which the value arrives where several do; else this node's id.
        """
        return Edge(self, name, to or self.id)

    def begin(self, work: Callable[[], Awaitable[Ports]]) -> "asyncio.Task[None]":
        """Run the node in a task of its own, which ends when the node has settled."""
        self._task = asyncio.create_task(self._run(work), name=self.id)
        return self._task

    async def _run(self, work: Callable[[], Awaitable[Ports]]) -> None:
        try:
            if isinstance(await self._verdict, Dead):
                return
            await self._while_paused()
            self._enter()
            self.complete(await work())
        except (StepFailed, ExpressionError) as error:
            self._fail(error.error if isinstance(error, StepFailed) else StepError(type=error.type, message=str(error)))
        except (Exception, asyncio.CancelledError) as ending:
            if not (self._is_skipping and is_cancelled_exception(ending)):
                raise
            self._skip(SKIPPED)
            self._tell_targets()

    def skip(self) -> None:
        """Skip the node, unless it has settled; one that runs is stopped first, unless it settles meanwhile."""
        if not self.state.is_settled and self._task is not None and not self._is_skipping:
            self._is_skipping = True
            self._task.cancel()

    def complete(self, ports: Ports) -> None:
        """Leave by `ports`, port → value."""
        state = self.state
        state.status, state.ports, state.reason = "completed", dict(ports), None
        state.attempt = max(state.attempt, 1)
        self._settled()
        self._leave([*ports])

    def close(self, reason: str) -> None:
        """Settle a node that has not: one that ran was canceled, one that never began is skipped."""
        if self.state.status in ("running", "waiting"):
            self.state.status, self.state.reason = "canceled", reason
            self._settled()
        elif self.state.status == "pending":
            self.state.status, self.state.reason = "skipped", reason
            self._settled()

    def _enter(self) -> None:
        self.state.status, self.state.input, self.state.started_at = "running", self._input(), workflow.now()
        self._journal.note(self.state)

    def _input(self) -> Any:
        if not self._arriving:
            return self._given
        if len(self._arriving) == 1 and not self._input_as_map:
            return _value(*self._arriving[0])
        return {edge.edge.key: _value(edge, source) for edge, source in self._arriving if edge.status == "fired"}

    def _fail(self, error: StepError) -> None:
        state = self.state
        state.status, state.error, state.reason, state.attempt = "failed", error, None, error.attempts
        seen = {"type": error.type, "message": error.message, "status": error.status, "attempts": error.attempts}
        if state.node.on_error == "fail":
            self._settled()
            raise ExecutionFailed(ExecutionError(type=error.type, message=error.message, node_id=self.id))
        continues = state.node.on_error == "continue"
        state.ports = {state.node.default_port: None, ERROR_PORT: seen} if continues else {ERROR_PORT: seen}
        self._settled()
        # One that continues leaves by its default port alone; its error is only readable.
        self._leave([state.node.default_port if continues else ERROR_PORT])

    def _skip(self, reason: str) -> None:
        self.state.status, self.state.reason = "skipped", reason
        self._settled()
        for edge, _ in self._leaving:
            edge.status, edge.reason = "ruledOut", f"{_named(edge)} ruled out: {self.id} was skipped"

    def _settled(self) -> None:
        self.state.closed_at = workflow.now()
        self._journal.note(self.state)

    def _leave(self, ports: list[str]) -> None:
        self._outputs[self.id] = self.state.ports
        taken = " and ".join(f"`{port}`" for port in ports)
        for edge, _ in self._leaving:
            wanted = edge.edge.port
            if wanted in ports or (wanted is None and ports != [ERROR_PORT]):
                edge.status = "fired"
            else:
                edge.status, edge.reason = "ruledOut", f"{_named(edge)} ruled out: port {taken} was taken"
        self._tell_targets()

    def _tell_targets(self) -> None:
        """Let the nodes behind this one decide whether they run; a skip travels on along dead paths."""
        # A work list, not recursion: dead paths may be a thousand nodes long.
        sources = [self]
        while sources:
            sources += [target for _, target in sources.pop(0)._leaving if isinstance(target._decide(), Dead)]

    def _decide(self) -> Ready | Dead | None:
        """Return what has just been decided about this node, if anything."""
        if self._verdict.done():
            return None
        verdict = decide(self.state.node, [edge for edge, _ in self._arriving])
        if verdict is not None:
            self._verdict.set_result(verdict)
        if isinstance(verdict, Dead):
            self._skip(verdict.reason)
        return verdict

    async def _while_paused(self) -> None:
        if not self._valve.is_open:
            await workflow.wait_condition(lambda: self._valve.is_open)


def _named(edge: EdgeState) -> str:
    return f"edge {edge.edge.source}→{edge.edge.target}"


def _value(edge: EdgeState, source: Node) -> Any:
    port = edge.edge.port if edge.edge.port is not None else source.state.port
    return source.state.ports.get(port) if port is not None else None
