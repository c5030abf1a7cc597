"""How an execution ends, whatever walks its graph: what runs is stopped, what is to be undone is, and that is told."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, NoReturn, Protocol

from temporalio import workflow
from temporalio.exceptions import ApplicationError, is_cancelled_exception

from user_workflows.interpreter.calls import start_error_workflow
from user_workflows.interpreter.compensation import Compensator, Undo
from user_workflows.interpreter.effort import Effort
from user_workflows.interpreter.emit import Emitter
from user_workflows.interpreter.errors import ExecutionFailed
from user_workflows.interpreter.figures import Figures
from user_workflows.interpreter.journal import Journal
from user_workflows.interpreter.messages import Closing, ExecutionError, ExecutionStatus, StartExecution
from user_workflows.interpreter.writing import too_large, write

CLOSE = "execution.close"

#: histories that are older than this undo everything in one run
HANDED_OVER = "compensation-is-handed-over"

#: why what has not settled never will, by how the execution ends
REASONS: dict[ExecutionStatus, str] = {
    "completed": "the execution was stopped before this node was reached",
    "failed": "the execution failed before this node was reached",
    "canceled": "the execution was canceled",
    "timedOut": "the execution ran out of time",
}


class Successor(Protocol):
    """The next run of an execution, which may go on with what is still to be undone."""

    @property
    def is_due(self) -> bool:
        """Whether this run is long enough."""
        ...

    async def go_on(self, closing: Closing) -> NoReturn:
        """End this run for the next.

        Raises:
            ExecutionFailed: what is to be handed over is too large to travel.
        """
        ...

    async def cancel(self) -> None:
        """Ask for the cancel of this run, as the one before it was asked."""
        ...


class Ending:
    """The end of one execution.

    Args:
        start: of the execution.
        emitter: makes the final record.
        journal: numbers what changes.
        figures: count what the execution cost.
        effort: of its walk.
        tell: tells of what changed.
        stop: lets nothing begin any more.
        settle: ends what runs, and gives what has not settled a reason.
        undos: what undoes its nodes.
        successor: what goes on when there is too much to undo for this run; ``None``: nothing does.
        closing: how an earlier run of the execution had begun to end it.
    """

    def __init__(
        self,
        start: StartExecution,
        *,
        emitter: Emitter,
        journal: Journal,
        figures: Figures,
        effort: Effort,
        tell: Callable[[], None],
        stop: Callable[[], None],
        settle: Callable[[str], Awaitable[None]],
        undos: Callable[[], Iterable[Undo]],
        successor: Successor | None = None,
        closing: Closing | None = None,
    ) -> None:
        self._start = start
        self._emitter = emitter
        self._journal = journal
        self._figures = figures
        self._effort = effort
        self._tell = tell
        self._stop = stop
        self._settle = settle
        self._undos = undos
        self._successor = successor
        self._closing = closing
        self._is_cancelled = False
        self.has_begun = closing is not None
        #: statuses in which what has completed is undone
        self._undone_in: set[ExecutionStatus] = {"failed", "timedOut"}

    @property
    def is_undone_when_canceled(self) -> bool:
        return "canceled" in self._undone_in

    def undo_when_canceled(self) -> None:
        """Undo what has completed, should the execution be canceled."""
        self._undone_in.add("canceled")

    async def of(self, walk: Callable[[], Awaitable[Any]]) -> Any:
        """Walk to the end, and return the execution's output when its last record is written.

        Raises:
            ApplicationError: the execution failed, or ran out of time.
        """
        if self._closing is not None:
            return await self._go_on(self._closing)
        try:
            output = await walk()
        except ExecutionFailed as failure:
            raise await self._failed(failure) from failure
        except TimeoutError:
            error = ExecutionError(type="execution.timeout", message=f"not done within {self._start.plan.timeout:g} s")
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

    async def _go_on(self, closing: Closing) -> NoReturn:
        """End as an earlier run of the execution had begun to."""
        error = closing.error
        await self._close(closing.status, error=error, left=closing.left)
        if closing.status != "canceled":
            raise ApplicationError(error.message, type=error.type, non_retryable=True)
        if not self._is_cancelled and self._successor is not None:
            # Only a run that was asked to may end as canceled.
            await self._successor.cancel()
            await workflow.wait_condition(lambda: False)
        raise asyncio.CancelledError

    async def _failed(self, failure: ExecutionFailed) -> ApplicationError:
        """Close as failed, and return what the workflow ends with."""
        await self._close("failed", error=failure.error)
        return ApplicationError(failure.error.message, type=failure.error.type, non_retryable=True)

    async def _close(
        self,
        status: ExecutionStatus,
        *,
        output: Any = None,
        error: ExecutionError | None = None,
        left: Sequence[str] = (),
    ) -> None:
        """Stop what still runs, undo what is to be undone, and write the final record before the workflow closes.

        Once begun it is not cancelled: half undone is worse than either end, and no end may be without its record.

        Raises:
            ExecutionFailed: the output is too large for anybody to be given it.
        """
        self.has_begun = True
        self._stop()
        closing = asyncio.create_task(self._close_undisturbed(status, output, error, left))
        while not closing.done():
            try:
                await asyncio.shield(closing)
            except asyncio.CancelledError:
                if closing.cancelled():
                    raise
                self._is_cancelled = True
        closing.result()

    async def _close_undisturbed(
        self, status: ExecutionStatus, output: Any, error: ExecutionError | None, left: Sequence[str]
    ) -> None:
        await self._settle(REASONS[status])
        if error is not None and status in self._undone_in:
            before_each = partial(self._hand_over_if_long, status, error)
            compensator = Compensator(self._journal, self._tell, before_each=before_each, left=left)
            error = await compensator.undo(error, self._undos())
        if error is not None and status != "canceled":
            self._figures.count(int(self._start.plan.error_workflow is not None))
            error = await start_error_workflow(self._start, error)
        # The one that writes this record.
        self._figures.count_local()
        record = self._emitter.final(
            status,
            at=workflow.now(),
            output=output,
            error=error,
            history_events=self._figures.final_length(),
            billable_actions=self._figures.billable_actions + self._effort.rests,
        )
        try:
            await write(CLOSE, record, lambda: self._emitter.flush("running"))
        except ApplicationError as refused:
            raise too_large("the output", refused) from refused

    async def _hand_over_if_long(self, status: ExecutionStatus, error: ExecutionError, left: Sequence[str]) -> None:
        """Let the next run undo the rest, when this one has become long."""
        if self._successor is None or not self._successor.is_due or not workflow.patched(HANDED_OVER):
            return
        # What `patched` leaves: a marker, and its search attribute.
        self._figures.count_marker()
        self._figures.count_marker()
        try:
            await self._successor.go_on(Closing(status=status, error=error, left=tuple(left)))
        except ExecutionFailed:
            # Its state is too large to travel: this run has to do.
            self._successor = None
