"""One execution of a generated workflow: from what started it to its last record.

It is recorded, paused, cancelled and signalled as one that the interpreter walks.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from msgspec import structs
from temporalio import workflow
from temporalio.exceptions import ApplicationError, is_cancelled_exception

from user_workflows.expressions import EVALUATOR_VERSION
from user_workflows.generated.graph import Engine, Graph
from user_workflows.interpreter.calls import start_error_workflow
from user_workflows.interpreter.compensation import Compensator
from user_workflows.interpreter.details import details
from user_workflows.interpreter.emit import Emitter
from user_workflows.interpreter.errors import ExecutionFailed, ExecutionStopped
from user_workflows.interpreter.journal import Journal
from user_workflows.interpreter.messages import ExecutionError, ExecutionStatus, StartExecution
from user_workflows.interpreter.workflow import CLOSE, CLOSE_REASONS, rfc3339
from user_workflows.interpreter.writing import too_large, write
from user_workflows.plan.model import Plan

#: what the closing workflow task adds to a history: its completion, the marker of `CLOSE`, the end
_CLOSING_EVENTS = 3


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
        self._is_closing = False
        #: statuses in which what has completed is undone
        self._undone_in: set[ExecutionStatus] = {"failed", "timedOut"}
        self._graph = Graph(
            self._engine,
            seen={
                "vars": plan.variables,
                "trigger": start.trigger.payload,
                "execution": {
                    "id": start.execution_id,
                    "workflowId": start.workflow_id,
                    "version": start.version,
                    "startedAt": rfc3339(started_at),
                },
            },
            given=start.trigger.payload,
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
        timeout = self._start.plan.timeout
        try:
            output = await self._walk_in_time(walk, timeout)
        except ExecutionFailed as failure:
            raise await self._failed(failure) from failure
        except TimeoutError:
            error = ExecutionError(type="execution.timeout", message=f"not done within {timeout:g} s")
            await self._close("timedOut", error=error)
            raise ApplicationError(error.message, type=error.type, non_retryable=True) from None
        except BaseException as error:
            if is_cancelled_exception(error):
                await self._close("canceled", error=ExecutionError(type="execution.canceled", message="canceled"))
            raise
        try:
            await self._close("completed", output=output)
        except ExecutionFailed as failure:
            raise await self._failed(failure) from failure
        return output

    async def _walk_in_time(self, walk: Callable[[Graph], Awaitable[Any]], timeout: float | None) -> Any:
        telling = asyncio.create_task(self._tell_changes())
        try:
            async with asyncio.timeout(timeout):
                return await walk(self._graph)
        except ExecutionStopped as stopped:
            return stopped.output
        finally:
            telling.cancel()

    async def _tell_changes(self) -> None:
        journal = self._engine.journal
        while True:
            told = journal.seq
            self._tell()
            # Asked when nothing else is left to do: whatever happened at once is told at once.
            await workflow.wait_condition(partial(_has_passed, journal, told))

    def _on_signal(self, name: str, payload: Any = None) -> None:
        self._engine.signals.put(name, payload)

    def _on_tell(self, about: str, what: Any = None) -> None:
        self._engine.told.put(about, what)

    def _on_pause(self) -> None:
        self._engine.valve.close()
        self._tell_change()

    def _on_resume(self) -> None:
        self._engine.valve.open()
        self._tell_change()

    def _on_skip(self, node_id: str) -> None:
        if not self._is_closing and (node := self._graph.nodes.get(node_id)) is not None:
            node.skip()

    def _on_compensate(self) -> None:
        self._undone_in.add("canceled")

    def _tell_change(self) -> None:
        # The final record tells the end, and nothing may come after it.
        if not self._is_closing:
            self._engine.journal.tick()
            self._tell()

    def _tell(self) -> None:
        is_open = self._engine.valve.is_open
        states = (node.state for node in self._graph.nodes.values())
        workflow.set_current_details(details(states, is_paused=not is_open))
        self._emitter.flush("running" if is_open else "paused")

    async def _close(self, status: ExecutionStatus, *, output: Any = None, error: ExecutionError | None = None) -> None:
        """Settle everything, and write the final record before the workflow closes.

        Raises:
            ExecutionFailed: the output is too large for anybody to be given it.
        """
        self._is_closing = True
        self._graph.close(CLOSE_REASONS[status])
        if error is not None and status in self._undone_in:
            # `call_plugin` counts itself.
            error = await Compensator(self._engine.journal, lambda: None, self._tell).undo(error, self._graph.undos())
        if error is not None and status != "canceled":
            self._engine.actions += int(self._start.plan.error_workflow is not None)
            error = await start_error_workflow(self._start, error)
        record = self._emitter.final(
            status,
            at=workflow.now(),
            output=output,
            error=error,
            history_events=workflow.info().get_current_history_length() + _CLOSING_EVENTS,
            billable_actions=self._engine.actions + self._engine.effort.rests + 1,
        )
        try:
            await write(CLOSE, record, lambda: self._emitter.flush("running"))
        except ApplicationError as refused:
            raise too_large("the output", refused) from refused

    async def _failed(self, failure: ExecutionFailed) -> ApplicationError:
        """Close as failed, and return what the workflow ends with."""
        await self._close("failed", error=failure.error)
        return ApplicationError(failure.error.message, type=failure.error.type, non_retryable=True)


def _has_passed(journal: Journal, seq: int) -> bool:
    return journal.seq > seq
