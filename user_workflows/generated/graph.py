"""What a generated workflow walks: the graph of an execution, or of the body of a loop."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any

from temporalio import workflow
from temporalio.exceptions import is_cancelled_exception

from user_workflows.expressions import ExpressionError, Template
from user_workflows.generated.node import Join, Node, OnError
from user_workflows.interpreter.compensation import Undo
from user_workflows.interpreter.control import Ports, Scope, boolean
from user_workflows.interpreter.effort import Effort
from user_workflows.interpreter.errors import ExecutionFailed, ExecutionStopped, stop_if_cancelled, too_large_fails_step
from user_workflows.interpreter.figures import Figures
from user_workflows.interpreter.journal import Journal
from user_workflows.interpreter.limits import within_limit
from user_workflows.interpreter.messages import ExecutionError, StartExecution
from user_workflows.interpreter.node import NodeState
from user_workflows.interpreter.valve import Valve
from user_workflows.interpreter.waits import Signals
from user_workflows.plan.model import PlanNode


class Engine:
    """What all graphs of one execution share.

    Args:
        start: what the execution was started with.
        tell: called when something has changed that nothing else would tell of.
    """

    def __init__(self, start: StartExecution, tell: Callable[[], None]) -> None:
        self.start = start
        self.journal = Journal()
        self.valve = Valve()
        #: named signals, for the nodes that wait for them
        self.signals = Signals()
        #: what other parts of the system told nodes that wait for them
        self.told = Signals()
        self.effort = Effort(tell)
        self.tell = tell
        self.figures = Figures(None)


class Step:
    """What a node sees while it works.

    Args:
        state: of the node.
        graph: that it lies in.
        given: its `input`.
    """

    def __init__(self, state: NodeState, graph: "Graph", given: Any) -> None:
        self.state = state
        self.graph = graph
        self.input = given
        #: what its expressions see
        self.scope: Scope = graph.scope(self.input)

    def render(self, template: Template) -> Any:
        """Return a config value with its expressions evaluated.

        Raises:
            ExpressionError: one of them failed, and so does the node.
        """
        return template.render(self.scope)

    def holds(self, condition: Template, where: str) -> bool:
        """Return whether a condition holds.

        Args:
            condition: gives true or false.
            where: its place in the node's config, for the message.

        Raises:
            StepFailed: it gives something else.
            ExpressionError: it failed.
        """
        return boolean(self.render(condition), where)


#: of how many runs of the interpreter the one history of generated code may be as long: Temporal ends it a little later
RUNS_IN_ONE = 10

Work = Callable[[Step], Awaitable[Ports]]


class Graph:
    """One walk over one graph: every node is a task, begun when its join holds.

    Args:
        engine: of the execution.
        seen: what every expression sees besides `nodes` and `input`.
        given: the `input` of nodes without edges.
        path: item and round numbers of the loops around it.
        outer: the outputs that expressions see of the graphs around it.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        seen: Mapping[str, Any],
        given: Any,
        path: tuple[int, ...] = (),
        outer: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        self.engine = engine
        self.path = path
        self.nodes: dict[str, Node] = {}
        self._seen = seen
        self._given = given
        self._outputs = dict(outer or {})
        self._tasks: list[asyncio.Task[None]] = []
        self._undos: dict[str, Work] = {}

    def node(
        self,
        node_id: str,
        work: Work,
        join: Join | None = None,
        *,
        label: str = "",
        undo: Work | None = None,
        on_error: OnError = "fail",
        limit: float | None = None,
        default_port: str = "output",
        input_as_map: bool = False,
    ) -> Node:
        """Add a node: it waits for its join, does its `work`, and leaves by the ports that this returns.

        Args:
            node_id: as drawn.
            work: what it does.
            join: the edges that it waits for; without, it begins at once.
            label: as drawn, for people.
            undo: undoes it, when the execution fails after it has completed.
            on_error: ``fail`` ends the execution, ``continue`` leaves by the default port with null, ``port`` leaves
                by ``error``.
            limit: seconds for the whole of its work.
            default_port: by which it leaves when it fails and continues.
            input_as_map: see a map even where a single edge arrives.
        """
        drawn = PlanNode(
            id=node_id,
            plugin="",
            home="activity",
            label=label,
            default_port=default_port,
            join="any" if join is None else join.needs,
            on_error=on_error,
            limit=limit,
        )
        state = NodeState(drawn, self.path)
        node = self.nodes[node_id] = Node(
            state,
            join,
            input_as_map=input_as_map,
            given=self._given,
            outputs=self._outputs,
            journal=self.engine.journal,
            valve=self.engine.valve,
        )
        if undo is not None:
            self._undos[node_id] = undo
        self._tasks.append(node.begin(partial(self._work, state, work)))
        return node

    async def _work(self, state: NodeState, work: Work) -> Ports:
        most = RUNS_IN_ONE * self.engine.start.history_limit
        if workflow.info().get_current_history_length() > most:
            message = (
                f"its history has more than {most:,} events, and generated code has one alone; "
                "let the interpreter run this version, which goes on in further ones"
            )
            raise ExecutionFailed(ExecutionError(type="history.tooLong", message=message, node_id=state.node.id))
        with too_large_fails_step():
            return await within_limit(state, work(Step(state, self, state.input)), self.engine.figures)

    async def settled(self) -> None:
        """Wait until every node has settled; when the execution ends before, stop what runs.

        Raises:
            ExecutionFailed: a node failed, and its `on_error` is ``fail``; or a `stop` node says so.
            ExecutionStopped: a `stop` node ended the execution.
            asyncio.CancelledError: the execution was cancelled, or ran out of time.
        """
        try:
            await asyncio.gather(*self._tasks)
        except (Exception, asyncio.CancelledError) as ending:
            # A fault of ours fails the workflow task: the execution goes on when a mended worker takes over.
            if isinstance(ending, ExecutionFailed | ExecutionStopped) or is_cancelled_exception(ending):
                await self._stop()
                stop_if_cancelled()
            raise

    def render(self, result: Template) -> Any:
        """Return what the round of a loop comes to.

        Raises:
            ExecutionFailed: an expression failed, and with it the round.
        """
        try:
            return result.render(self.scope(self._given))
        except ExpressionError as error:
            raise ExecutionFailed(ExecutionError(type=error.type, message=f"result: {error}")) from error

    def scope(self, given: Any) -> Scope:
        """Return what the expressions of a node with this input see."""
        return {**self._seen, "nodes": self._outputs, "input": given}

    def inner(self, number: int, seen: Mapping[str, Any], given: Any) -> "Graph":
        """Return the graph of one item, or one round, of a loop in this one."""
        return Graph(
            self.engine,
            seen={**self._seen, **seen},
            given=given,
            path=(*self.path, number),
            outer=self._outputs,
        )

    def undos(self) -> Iterator[Undo]:
        """Yield the nodes that can be undone, each with what undoes it."""
        for node_id, undo in self._undos.items():
            yield self.nodes[node_id].state, partial(self._undo, self.nodes[node_id].state, undo)

    async def _undo(self, done: NodeState, undo: Work) -> None:
        label = f"undo {done.node.label or done.node.id}"
        node = PlanNode(id=f"{done.node.id}.compensate", plugin="", home="activity", label=label)
        await undo(Step(NodeState(node), self, done.input))

    def close(self, reason: str) -> None:
        """Settle what has not settled; nothing runs any more."""
        for node in self.nodes.values():
            node.close(reason)

    def wait(self, state: NodeState, reason: str) -> None:
        """Note that a node waits, and for what."""
        state.status, state.reason = "waiting", reason
        self.engine.journal.note(state)

    async def _stop(self) -> None:
        for task in self._tasks:
            # Asked once only: a second time would break off a loop that is stopping its rounds.
            if not task.cancelling():
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def results(*nodes: Node) -> dict[str, Any]:
    """Return what those of the nodes came to that completed, by their ids."""
    return {node.id: node.state.output for node in nodes if node.state.status == "completed"}
