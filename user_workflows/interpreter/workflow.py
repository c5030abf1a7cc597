"""The one workflow type that interprets every plan.

Everything here is deterministic; recorded histories are replayed by ``tests/replay``.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, NoReturn

from msgspec import structs
from temporalio import workflow
from temporalio.common import VersioningBehavior

from user_workflows.interpreter.approvals import run_approval
from user_workflows.interpreter.batches import run_batches
from user_workflows.interpreter.calls import CALL, run_call
from user_workflows.interpreter.carrying import carry
from user_workflows.interpreter.compensation import Undo
from user_workflows.interpreter.control import Performed, Scope
from user_workflows.interpreter.details import details
from user_workflows.interpreter.effort import Effort
from user_workflows.interpreter.emit import Emitter
from user_workflows.interpreter.ending import Ending
from user_workflows.interpreter.errors import (
    ExecutionStopped,
    too_large_fails_step,
)
from user_workflows.interpreter.figures import Figures
from user_workflows.interpreter.handover import Handover
from user_workflows.interpreter.journal import Journal
from user_workflows.interpreter.limits import within_limit
from user_workflows.interpreter.loops import run_foreach, run_while
from user_workflows.interpreter.messages import (
    EXECUTION,
    Carried,
    Closing,
    Earlier,
    ExecutionStatus,
    Received,
    StartExecution,
    StepOutcome,
)
from user_workflows.interpreter.node import NodeState
from user_workflows.interpreter.seen import seen_everywhere
from user_workflows.interpreter.segments import run_segment
from user_workflows.interpreter.state import SKIPPED, GraphState
from user_workflows.interpreter.steps import run_step
from user_workflows.interpreter.templates import templates_of
from user_workflows.interpreter.valve import Valve
from user_workflows.interpreter.waits import Signals, run_wait, seconds_until
from user_workflows.interpreter.walk import Walk
from user_workflows.interpreter.writing import write
from user_workflows.plan.model import PlanNode

CHECKPOINT = "execution.checkpoint"
CANCEL = "execution.cancel"


@workflow.defn(name=EXECUTION, versioning_behavior=VersioningBehavior.PINNED)
class Interpreter:
    """One execution."""

    @workflow.init
    def __init__(self, start: StartExecution) -> None:
        earlier, carried = start.earlier, start.carried
        started_at = workflow.info().start_time if earlier is None else earlier.started_at
        self._start = start
        self._started_at = started_at
        self._deadline = _deadline(start)
        self._journal = Journal(0 if earlier is None else earlier.seq)
        self._signals = Signals(None if carried is None else carried.signals)
        #: what other parts of the system told nodes that wait for them, by what they wait for
        self._told = Signals(None if carried is None else carried.told)
        self._valve = Valve()
        if carried is not None and carried.is_paused:
            self._valve.close()
        self._figures = Figures(earlier)
        self._effort = Effort(self._tell)
        self._emitter = Emitter(start, self._journal, started_at)
        self._walk = Walk(
            GraphState(start.plan, self._journal),
            templates=templates_of(start.tenant_id, start.workflow_id, start.version),
            seen=seen_everywhere(start, started_at),
            given=start.trigger.payload,
            performer=self,
            clock=workflow.now,
            pause=self._tell,
            segments=self,
            breathe=self._effort.spend,
            valve=self._valve,
        )
        self._handover = Handover(
            start,
            self._walk,
            self._valve,
            self._journal,
            deadline=self._deadline,
            checkpoint=self._checkpoint,
            take_down=self._take_down,
        )
        self._ending = Ending(
            start,
            emitter=self._emitter,
            journal=self._journal,
            figures=self._figures,
            effort=self._effort,
            tell=self._tell,
            stop=self._stop,
            settle=self._walk.close,
            undos=self._undos,
            successor=self,
            closing=None if carried is None else carried.closing,
        )
        if carried is not None and carried.is_undone_when_canceled:
            self._ending.undo_when_canceled()
        # Before any signal: what it speaks of has to be there.
        if carried is not None:
            self._take_up(carried)
        elif start.seed is not None:
            self._walk.graph.plant(start.seed, start.trigger.payload, workflow.now())
        self._hear(start.received)

    @workflow.run
    async def run(self, start: StartExecution) -> Any:
        """Walk the plan to its end and return the execution's output."""
        return await self._ending.of(self._walk_on)

    @workflow.signal(name="signal")
    def on_signal(self, name: str, payload: Any = None) -> None:
        """Keep a named signal for the `wait` node that awaits it, now or later."""
        self._figures.count()
        self._signals.put(name, payload)

    @workflow.signal(name="tell")
    def on_tell(self, about: str, what: Any = None) -> None:
        """Keep what a node that waits for another part of the system is told, such as the end of a child."""
        self._figures.count()
        self._told.put(about, what)

    @workflow.signal(name="pause")
    def on_pause(self) -> None:
        """Let nothing new begin: what runs may finish, timers keep counting, signals are kept."""
        self._figures.count()
        if not self._valve.is_paused:
            self._valve.close()
            self._tell_change()

    @workflow.signal(name="resume")
    def on_resume(self) -> None:
        """Begin what has been held back."""
        self._figures.count()
        if self._valve.is_paused:
            self._valve.open()
            self._tell_change()

    @workflow.signal(name="skip")
    def on_skip(self, node_id: str) -> None:
        """Skip a top-level node that has not settled."""
        self._figures.count()
        if not self._ending.has_begun:
            self._walk.skip(node_id, SKIPPED)

    @workflow.signal(name="compensate")
    def on_compensate(self) -> None:
        """Undo what has completed, should the execution be canceled."""
        self._figures.count()
        self._ending.undo_when_canceled()

    @workflow.signal(name="park")
    def on_park(self) -> None:
        """Wait in a workflow that holds no build of the worker back, if everything that remains waits for long."""
        self._figures.count()
        self._handover.ask_to_park()

    def _tell_change(self) -> None:
        # The final record tells the end, and nothing may come after it.
        if not self._ending.has_begun:
            self._journal.tick()
            # Activities look there whether something new may begin.
            self._tell(at_once=True)

    def _tell(self, *, at_once: bool = False) -> None:
        workflow.set_current_details(self._details())
        self._emitter.flush(self._status, at_once=at_once)

    def _details(self) -> str:
        return details(self._walk.graph.nodes.values(), is_paused=self._valve.is_paused)

    @property
    def _status(self) -> ExecutionStatus:
        return "paused" if self._valve.is_paused else "running"

    async def _walk_on(self) -> Any:
        """Walk until the execution has its output, or this run of it hands over to the next."""
        if self._start.carried is not None and self._start.carried.is_cancel_requested:
            await self.cancel()
        output = await self._walk_in_time()
        if self._handover.carried is not None:
            self._handover.end_run(self._next_run(self._handover.carried), self._details())
        return output

    async def _walk_in_time(self) -> Any:
        task = self._figures.task
        watching = asyncio.create_task(self._handover.watch())
        watching.add_done_callback(self._watched)
        try:
            async with asyncio.timeout(seconds_until(self._deadline)) as clock:
                await self._walk.run()
        except ExecutionStopped as stopped:
            return stopped.output
        finally:
            watching.cancel()
            if self._deadline is not None:
                self._figures.count_timer(task, is_taken_back=not clock.expired())
        return self._walk.graph.result()

    async def _checkpoint(self) -> None:
        await write(CHECKPOINT, self._emitter.checkpoint(self._status), lambda: self._emitter.flush("running"))
        self._figures.count_local()

    @property
    def is_due(self) -> bool:
        return self._handover.is_long

    async def go_on(self, closing: Closing) -> NoReturn:
        await self._checkpoint()
        carried = structs.replace(self._take_down(), closing=closing)
        self._handover.end_run(self._next_run(carried), self._details())

    async def cancel(self) -> None:
        """Ask for the cancel that came to an earlier run of the execution, of this run."""
        await workflow.execute_local_activity(CANCEL, start_to_close_timeout=timedelta(seconds=30))
        self._figures.count_local()

    def _watched(self, watching: "asyncio.Task[None]") -> None:
        if not watching.cancelled() and (fault := watching.exception()) is not None:
            # A fault of ours: it has to fail the workflow task, which is made again by a mended worker.
            self._walk.halt(fault)

    def _take_up(self, carried: Carried) -> None:
        self._walk.graph.edited = carried.edited
        self._walk.restore(carried.graph)
        self._hear(carried.received)

    def _hear(self, letters: Sequence[Received]) -> None:
        handlers: dict[str, Callable[..., None]] = {
            "signal": self.on_signal,
            "tell": self.on_tell,
            "pause": self.on_pause,
            "resume": self.on_resume,
            "skip": self.on_skip,
            "compensate": self.on_compensate,
        }
        for received in letters:
            if (handler := handlers.get(received.name)) is not None:
                handler(*received.args)

    def _take_down(self) -> Carried:
        return Carried(
            graph=carry(self._walk),
            edited=dict(self._walk.graph.edited),
            signals=self._signals.kept(),
            told=self._told.kept(),
            is_paused=self._valve.is_paused,
            is_undone_when_canceled=self._ending.is_undone_when_canceled,
            deadline=self._deadline,
        )

    def _next_run(self, carried: Carried) -> StartExecution:
        earlier = Earlier(
            started_at=self._started_at,
            seq=self._journal.seq,
            history_events=self._figures.final_length(),
            billable_actions=self._figures.billable_actions + self._effort.rests,
        )
        return structs.replace(self._start, seed=None, earlier=earlier, carried=carried, received=())

    async def perform(self, walk: Walk, state: NodeState, scope: Scope) -> Performed:
        with too_large_fails_step():
            return await within_limit(state, self._perform(walk, state, scope), self._figures)

    async def _perform(self, walk: Walk, state: NodeState, scope: Scope) -> Performed:
        match state.node.plugin:
            case "foreach" if state.node.home == "batch":
                return await run_batches(self._start, walk, state, scope, on_call=self._figures.count)
            case "foreach":
                return await run_foreach(walk, state, scope)
            case "while":
                return await run_while(walk, state, scope)
        config = walk.templates.at(state.node).render(scope)
        if state.node.plugin == "wait":
            ports = await run_wait(walk.graph, state, config, self._signals, figures=self._figures, tell=self._tell)
            return Performed(ports)
        if state.node.plugin == "approval":
            # What is asked of the form stays as it was drawn.
            drawn = config | {key: state.node.config[key] for key in ("form",) if key in state.node.config}
            ports = await run_approval(
                self._start, walk.graph, state, drawn, self._told, figures=self._figures, tell=self._tell
            )
            return Performed(ports)
        return await self._call(walk, state, config)

    async def _call(self, walk: Walk, state: NodeState, config: Any) -> Performed:
        if state.node.plugin == CALL:
            # What goes on in a further run has been started.
            self._figures.count(int(not state.kept))
            return Performed(await run_call(self._start, walk.graph, state, config, told=self._told, tell=self._tell))
        result = await run_step(self._start, state, config, self._figures)
        return Performed({result.port: result.output}, result.attempt)

    async def perform_segment(self, walk: Walk, chain: Sequence[str], given: Any) -> Sequence[StepOutcome]:
        with too_large_fails_step():
            return await run_segment(self._start, walk, chain, given, figures=self._figures)

    def _stop(self) -> None:
        self._handover.call_off()
        self._walk.stop()

    def _undos(self) -> Iterator[Undo]:
        for state in self._walk.graph.nodes.values():
            if state.node.compensate is not None:
                yield state, partial(self._undo, state, state.node.compensate)

    async def _undo(self, state: NodeState, undo: PlanNode) -> None:
        config = self._walk.templates.at(undo).render(self._walk.scope(state.input))
        await run_step(self._start, NodeState(undo), config, self._figures)


def _deadline(start: StartExecution) -> str | None:
    """Return when the execution is out of time; the first run of it decides."""
    if start.carried is not None:
        return start.carried.deadline
    timeout = start.plan.timeout
    return None if timeout is None else (workflow.now() + timedelta(seconds=timeout)).isoformat()
