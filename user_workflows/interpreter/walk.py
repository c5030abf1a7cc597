"""Walks one graph to its end: what is ready begins, and what settles fires or rules out its edges.

A walk knows no engine: inline nodes are evaluated here, every other node is handed to a `Performer`. The same walk
carries an execution inside a workflow, the rounds of a loop's body, and the segment of an activity.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from itertools import takewhile
from typing import Any, Protocol

from temporalio.exceptions import is_cancelled_exception

from user_workflows.expressions import ExpressionError
from user_workflows.interpreter.control import EVALUATORS, Evaluate, Performed, Scope, Stop, evaluate
from user_workflows.interpreter.errors import ExecutionFailed, ExecutionStopped, StepFailed
from user_workflows.interpreter.messages import CarriedGraph, ExecutionError, LoopProgress, StepError, StepOutcome
from user_workflows.interpreter.node import NodeState
from user_workflows.interpreter.running import Running, Settled
from user_workflows.interpreter.state import GraphState
from user_workflows.interpreter.templates import Templates
from user_workflows.interpreter.valve import Valve


class Performer(Protocol):
    """Carries out what a walk cannot evaluate by itself."""

    async def perform(self, walk: "Walk", state: NodeState, scope: Scope) -> Performed:
        """Perform one node with what its expressions see.

        Raises:
            StepFailed, ExpressionError: the step failed.
        """
        ...


class SegmentPerformer(Protocol):
    """Carries out chains of nodes at once, for a walk that has segments."""

    async def perform_segment(self, walk: "Walk", chain: Sequence[str], given: Any) -> Sequence[StepOutcome]:
        """Perform a chain of nodes, the first with the input `given`, and return how each ended, as far as it came.

        Raises:
            StepFailed: nothing is known of how they ended; the first is what failed.
        """
        ...


class Loop:
    """A loop that is being walked: its progress as data, and the walks of its rounds."""

    def __init__(self, progress: LoopProgress) -> None:
        self.progress = progress
        self.rounds: dict[int, Walk] = {}
        self._is_held = False
        #: it goes on when the execution is resumed
        self.is_paused = False

    @property
    def is_at_rest(self) -> bool:
        return (
            self._is_held
            or self.is_paused
            or (bool(self.rounds) and all(inner.is_at_rest for inner in self.rounds.values()))
        )

    @property
    def has_ready(self) -> bool:
        return any(inner.has_ready for inner in self.rounds.values())

    @property
    def is_held(self) -> bool:
        return self._is_held or any(inner.is_held for inner in self.rounds.values())

    async def hold(self) -> None:
        """Wait for the end of this run of the execution: the next one goes on."""
        self._is_held = True
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._is_held = False


class Walk:
    """One walk over one graph.

    Args:
        graph: what is walked, and its state.
        templates: the compiled expressions of the plan that it belongs to.
        seen: what every expression sees besides `nodes` and `input`.
        given: the `input` of roots.
        performer: carries out the nodes that are not inline.
        clock: tells the time; inside a workflow, the workflow's.
        pause: called before the walk waits, when everything that could begin has begun.
        segments: carries out the graph's segments; without it their nodes are performed one by one.
        breathe: awaited before the round of a loop, a walk over so many nodes, begins.
        valve: while it is closed nothing begins; what runs may finish.
        evaluate: evaluates the nodes that are inline.
    """

    def __init__(
        self,
        graph: GraphState,
        *,
        templates: Templates,
        seen: Mapping[str, Any],
        given: Any,
        performer: Performer,
        clock: Callable[[], datetime],
        pause: Callable[[], None],
        segments: SegmentPerformer | None = None,
        breathe: Callable[[int], Awaitable[None]] | None = None,
        valve: Valve | None = None,
        evaluate: Evaluate = evaluate,
    ) -> None:
        self.graph = graph
        self.templates = templates
        self.seen = seen
        self._given = given
        self._performer = performer
        self._segments = segments
        chains = graph.plan.segments if segments is not None else ()
        #: what is left of a node's segment from that node on
        self._rest = {node_id: chain[at:] for chain in chains for at, node_id in enumerate(chain)}
        self._breathe = breathe
        self._clock = clock
        self._pause = pause
        self._valve = valve or Valve()
        self._evaluator = evaluate
        self._running = Running()
        #: nodes to be skipped as soon as they have stopped, and why
        self._skipping: dict[str, str] = {}
        #: loops that run
        self.loops: dict[str, Loop] = {}
        self._is_halted = False
        self._fault: BaseException | None = None

    async def run(self) -> None:
        """Walk until nothing is left to run.

        Raises:
            ExecutionFailed: a node failed, and its `onError` says ``fail``; or a `stop` node says so.
            ExecutionStopped: a `stop` node ended the execution.
        """
        with self._valve.heard_by(self._running.wake):
            self._go_on()
            self._advance()
            while self._is_unfinished and not self._is_halted:
                self._pause()
                self._settle(await self._running.next())
                for settled in self._running.ended():
                    self._settle(settled)
                self._advance()
        if self._fault is not None:
            raise self._fault

    @property
    def has_ready(self) -> bool:
        """Whether nodes, in loops too, would begin if the valve were open."""
        return self.graph.has_ready or any(loop.has_ready for loop in self.loops.values())

    @property
    def is_held(self) -> bool:
        """Whether a loop has stopped only for the end of this run of the execution."""
        return any(loop.is_held for loop in self.loops.values())

    @property
    def is_draining(self) -> bool:
        return self._valve.is_draining

    @property
    def is_at_rest(self) -> bool:
        """Whether everything that has begun waits, so that another run of the execution can go on with it."""
        return not self._running.has_ended and all(self._rests(node_id) for node_id in self._running)

    def halt(self, fault: BaseException | None = None) -> None:
        """End the walk where it is; with a fault, by raising it."""
        self._is_halted, self._fault = True, fault
        self._running.wake()

    def restore(self, carried: CarriedGraph) -> None:
        """Take up the state that an earlier run of the execution came to."""
        self.graph.restore(carried)
        self.loops.update({node.id: Loop(node.progress) for node in carried.nodes if node.progress is not None})

    def skip(self, node_id: str, reason: str) -> None:
        """Skip a node that has not settled: one that runs or waits is stopped first, unless it settles meanwhile."""
        state = self.graph.nodes.get(node_id)
        if state is None or state.is_settled or node_id in self._skipping:
            return
        self._skipping[node_id] = reason
        if any(state is begun for begun in self.graph.under_way):
            return
        head = self._running.head(node_id)
        if head is None:
            self.graph.skip(state, reason, self._clock())
            self._running.wake()
        else:
            self._running.cancel(head)

    def stop(self) -> None:
        """Cancel what still runs."""
        self._running.stop()

    async def close(self, reason: str) -> None:
        """Cancel what still runs, wait until it has stopped, and settle everything else."""
        self.stop()
        await self._running.stopped()
        self._keep_what_settled()
        self.graph.close(reason, self._clock())

    def inner(self, state: NodeState, number: int, seen: Mapping[str, Any], given: Any) -> "Walk":
        """Return a walk over the body of a loop: one item of it, or one round."""
        if state.node.body is None:
            raise ValueError(f"node {state.node.id} has no body")
        inner = Walk(
            GraphState(state.node.body, self.graph.journal, path=(*state.path, number), outer=self.graph.outputs),
            templates=self.templates,
            seen={**self.seen, **seen},
            given=given,
            performer=self._performer,
            clock=self._clock,
            pause=self._pause,
            segments=self._segments,
            breathe=self._breathe,
            valve=self._valve,
            evaluate=self._evaluator,
        )
        loop = self.loop(state)
        loop.rounds[number] = inner
        if (carried := loop.progress.under_way.pop(number, None)) is not None:
            inner.restore(carried)
        return inner

    def loop(self, state: NodeState) -> Loop:
        """Return the progress of a loop that runs."""
        return self.loops.setdefault(state.node.id, Loop(LoopProgress()))

    async def resumed(self, loop: Loop) -> None:
        """Return when the execution is not paused; until then the loop is at rest."""
        opened = asyncio.Event()
        with self._valve.heard_by(opened.set):
            while self._valve.is_paused:
                loop.is_paused = True
                try:
                    await opened.wait()
                finally:
                    loop.is_paused = False
                opened.clear()

    async def breathe(self, nodes: int) -> None:
        """Return when the round of a loop, a walk over so many nodes, may begin."""
        if self._breathe is not None:
            await self._breathe(nodes)

    def scope(self, given: Any) -> Scope:
        """Return what the expressions of a node with this input see."""
        return {**self.seen, "nodes": self.graph.outputs, "input": given}

    def _advance(self) -> None:
        """Begin everything that is ready, until nothing more can begin; while the valve is closed, nothing."""
        if not self._valve.is_open:
            return
        for state in self.graph.take_ready():
            self._begin(state)

    @property
    def _is_unfinished(self) -> bool:
        return bool(self._running) or self.graph.has_ready

    def _rests(self, node_id: str) -> bool:
        state = self.graph.nodes[node_id]
        if self._running.is_stopping(node_id):
            return False
        if (loop := self.loops.get(node_id)) is not None:
            return loop.is_at_rest
        return state.status == "waiting" or (self._running.chain(node_id) is not None and bool(state.kept))

    def _go_on(self) -> None:
        """Go on with what an earlier run of the execution began."""
        for state in self.graph.under_way:
            self._perform(state)
            if state.node.id in self._skipping:
                # Once it has got to where it was: what it has begun elsewhere, it then ends.
                asyncio.get_running_loop().call_soon(self._running.cancel, state.node.id)
        self.graph.under_way.clear()

    def _begin(self, state: NodeState) -> None:
        node = state.node
        given = self.graph.input_of(node, self._given)
        self.graph.begin(state, given, self._clock())
        if node.disabled:
            self.graph.complete(state, {node.default_port: given}, self._clock())
        elif node.plugin in EVALUATORS:
            self._evaluate(state, self.scope(given))
        else:
            self._perform(state)

    def _perform(self, state: NodeState) -> None:
        if self._segments is not None and (chain := self._rest.get(state.node.id)) is not None:
            self._begin_segment(self._segments, chain, state.input)
        else:
            self._running.begin(state.node.id, self._run(state, self.scope(state.input)))

    def _begin_segment(self, segments: SegmentPerformer, chain: Sequence[str], given: Any) -> None:
        """Begin a chain of nodes, up to the first that is to be skipped, or sees another input than what arrives."""
        head = chain[0]
        apart = {*self._skipping, *self.graph.edited} - {head}
        begun = [*takewhile(lambda node_id: node_id not in apart, chain)]
        self._running.begin_chain(begun, self._run_segment(segments, begun, given))

    def _evaluate(self, state: NodeState, scope: Scope) -> None:
        try:
            result = self._evaluator(state.node, self.templates, scope)
        except (StepFailed, ExpressionError) as error:
            self._fail(state, _step_error(error))
            return
        if not isinstance(result, Stop):
            self.graph.complete(state, result, self._clock())
            return
        self.graph.complete(state, {"output": result.output}, self._clock())
        if result.failed:
            raise ExecutionFailed(
                ExecutionError(type="execution.stopped", message=result.message, node_id=state.node.id)
            )
        raise ExecutionStopped(result.output)

    async def _run(self, state: NodeState, scope: Scope) -> None:
        node_id = state.node.id
        try:
            settled = Settled(node_id, await self._performer.perform(self, state, scope))
        except (StepFailed, ExpressionError) as error:
            settled = Settled(node_id, error=_step_error(error))
        except Exception as ending:
            settled = self._ended(node_id, ending)
        self._running.end(settled)

    async def _run_segment(self, segments: SegmentPerformer, chain: Sequence[str], given: Any) -> None:
        try:
            outcomes = await segments.perform_segment(self, chain, given)
            settled = Settled(chain[0], outcomes=outcomes)
        except StepFailed as failed:
            settled = Settled(chain[0], error=failed.error)
        except Exception as ending:
            settled = self._ended(chain[0], ending)
        self._running.end(settled)

    def _ended(self, node_id: str, ending: Exception) -> Settled:
        was_skipped = any(id in self._skipping for id in (self._running.chain(node_id) or (node_id,)))
        if was_skipped and is_cancelled_exception(ending):
            return Settled(node_id, is_skipped=True)
        return Settled(node_id, ending=ending)

    def _settle(self, settled: Settled | None) -> None:
        if settled is None:
            return
        chain = self._running.forget(settled.node_id)
        self.loops.pop(settled.node_id, None)
        if settled.ending is not None:
            # A fault of ours among them: it fails the workflow task, not the execution, which goes on when a mended
            # worker takes over.
            raise settled.ending
        state = self.graph.nodes[settled.node_id]
        for outcome in settled.outcomes:
            state = self.graph.apply(outcome, self._given)
            if state.status == "failed":
                _raise_if_fatal(state)
        if settled.outcomes:
            self._skip_unsettled(chain)
        if settled.error is not None:
            self._fail(state, settled.error)
        elif settled.performed is not None:
            done = settled.performed
            self.graph.complete(state, done.ports, self._clock(), attempt=done.attempt)
        elif settled.is_skipped:
            self._settle_skipped(chain)

    def _settle_skipped(self, chain: Sequence[str]) -> None:
        self._skip_unsettled(chain)
        head = self.graph.nodes[chain[0]]
        if self._segments is not None and not head.is_settled:
            # Nothing has acted: what comes before the skipped node is made again.
            self._begin_segment(self._segments, chain, head.input)

    def _skip_unsettled(self, chain: Sequence[str]) -> None:
        for node_id in chain:
            state = self.graph.nodes[node_id]
            if node_id in self._skipping and not state.is_settled:
                self.graph.skip(state, self._skipping[node_id], self._clock())

    def _fail(self, state: NodeState, error: StepError) -> None:
        self.graph.fail(state, error, self._clock())
        _raise_if_fatal(state)

    def _keep_what_settled(self) -> None:
        """Record the steps that settled while the walk was ending; nothing follows from them any more."""
        for settled in self._running.ended():
            if settled is None or settled.is_skipped:
                continue
            state = self.graph.nodes[settled.node_id]
            for outcome in settled.outcomes:
                self.graph.apply(outcome, self._given)
            if settled.outcomes:
                self._begin_what_was_broken_off(self._running.chain(settled.node_id) or ())
            if settled.performed is not None:
                done = settled.performed
                self.graph.complete(state, done.ports, self._clock(), attempt=done.attempt)
            elif settled.error is not None:
                self.graph.fail(state, settled.error, self._clock())

    def _begin_what_was_broken_off(self, chain: Sequence[str]) -> None:
        """Say of the step that a segment would have come to next that it had begun: it may have acted."""
        for node_id in chain:
            if self.graph.is_ready(node_id):
                state = self.graph.nodes[node_id]
                self.graph.begin(state, self.graph.input_of(state.node, self._given), self._clock())


def _raise_if_fatal(state: NodeState) -> None:
    if state.error is not None and state.node.on_error == "fail":
        error = state.error
        raise ExecutionFailed(ExecutionError(type=error.type, message=error.message, node_id=state.node.id))


def _step_error(error: StepFailed | ExpressionError) -> StepError:
    return error.error if isinstance(error, StepFailed) else StepError(type=error.type, message=str(error))
