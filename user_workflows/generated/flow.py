"""One execution of a generated workflow: from what started it to its last record.

It is recorded, paused, cancelled and signalled as one that the interpreter walks.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from msgspec import structs
from temporalio import workflow

from user_workflows.expressions import EVALUATOR_VERSION
from user_workflows.generated.graph import Engine, Graph
from user_workflows.interpreter.details import details
from user_workflows.interpreter.emit import Emitter
from user_workflows.interpreter.ending import Ending
from user_workflows.interpreter.errors import ExecutionStopped
from user_workflows.interpreter.journal import Journal
from user_workflows.interpreter.messages import StartExecution
from user_workflows.interpreter.seen import seen_everywhere
from user_workflows.plan.model import Plan


class Flow:
    """One execution.

    Args:
        start: what it was started with; its plan is not read.
        variables: what expressions see as `vars`.
        timeout: seconds for the whole execution; ``None``: no limit.
        error_workflow: the workflow that is started when this execution fails.
    """

    def __init__(
        self,
        start: StartExecution,
        *,
        variables: Mapping[str, Any],
        timeout: float | None = None,
        error_workflow: str | None = None,
    ) -> None:
        plan = Plan(
            evaluator=EVALUATOR_VERSION,
            nodes=(),
            edges=(),
            variables=dict(variables),
            timeout=timeout,
            error_workflow=error_workflow,
        )
        started_at = workflow.info().start_time
        self._start = structs.replace(start, plan=plan)
        self._engine = Engine(self._start, self._tell)
        self._emitter = Emitter(start, self._engine.journal, started_at)
        self._graph = Graph(
            self._engine,
            seen=seen_everywhere(self._start, started_at),
            given=start.trigger.payload,
        )
        self._ending = Ending(
            self._start,
            emitter=self._emitter,
            journal=self._engine.journal,
            figures=self._engine.figures,
            effort=self._engine.effort,
            tell=self._tell,
            stop=lambda: None,
            settle=self._settle,
            undos=self._graph.undos,
        )
        workflow.set_signal_handler("signal", self._on_signal)
        workflow.set_signal_handler("tell", self._on_tell)
        workflow.set_signal_handler("pause", self._on_pause)
        workflow.set_signal_handler("resume", self._on_resume)
        workflow.set_signal_handler("skip", self._on_skip)
        workflow.set_signal_handler("compensate", self._on_compensate)

    async def run(self, walk: Callable[[Graph], Awaitable[Any]]) -> Any:
        """Walk the graph to its end and return the execution's output.

        Raises:
            ApplicationError: the execution failed, or ran out of time.
        """
        return await self._ending.of(partial(self._walk_in_time, walk))

    async def _walk_in_time(self, walk: Callable[[Graph], Awaitable[Any]]) -> Any:
        task = self._engine.figures.task
        telling = asyncio.create_task(self._tell_changes())
        try:
            async with asyncio.timeout(self._start.plan.timeout) as clock:
                return await walk(self._graph)
        except ExecutionStopped as stopped:
            return stopped.output
        finally:
            telling.cancel()
            if self._start.plan.timeout is not None:
                self._engine.figures.count_timer(task, is_taken_back=not clock.expired())

    async def _tell_changes(self) -> None:
        journal = self._engine.journal
        while True:
            told = journal.seq
            self._tell()
            # Asked when nothing else is left to do: whatever happened at once is told at once.
            await workflow.wait_condition(partial(_has_passed, journal, told))

    def _on_signal(self, name: str, payload: Any = None) -> None:
        self._engine.figures.count()
        self._engine.signals.put(name, payload)

    def _on_tell(self, about: str, what: Any = None) -> None:
        self._engine.figures.count()
        self._engine.told.put(about, what)

    def _on_pause(self) -> None:
        self._engine.figures.count()
        self._engine.valve.close()
        self._tell_change()

    def _on_resume(self) -> None:
        self._engine.figures.count()
        self._engine.valve.open()
        self._tell_change()

    def _on_skip(self, node_id: str) -> None:
        self._engine.figures.count()
        if not self._ending.has_begun and (node := self._graph.nodes.get(node_id)) is not None:
            node.skip()

    def _on_compensate(self) -> None:
        self._engine.figures.count()
        self._ending.undo_when_canceled()

    def _tell_change(self) -> None:
        # The final record tells the end, and nothing may come after it.
        if not self._ending.has_begun:
            self._engine.journal.tick()
            self._tell()

    def _tell(self) -> None:
        is_open = self._engine.valve.is_open
        states = (node.state for node in self._graph.nodes.values())
        workflow.set_current_details(details(states, is_paused=not is_open))
        self._emitter.flush("running" if is_open else "paused")

    async def _settle(self, reason: str) -> None:
        self._graph.close(reason)


def _has_passed(journal: Journal, seq: int) -> bool:
    return journal.seq > seq
