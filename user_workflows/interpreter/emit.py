"""How the interpreter tells what happened, at no cost in history events (design §9).

Records leave through a function that the worker lends to the workflow. They may be lost (a worker dies) or repeated (a
replay): each carries a rising `seq`, and after a replay the next one tells everything again.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from msgspec import UNSET
from temporalio import workflow

from user_workflows.interpreter.journal import Journal
from user_workflows.interpreter.messages import ExecutionError, ExecutionRecord, ExecutionStatus, StartExecution
from user_workflows.interpreter.node import NodeState

#: the name under which the worker lends the function that takes an `ExecutionRecord`, and whether somebody waits for it
EMIT = "gateway_emit_record"


class Emitter:
    """Emits what changed since the last time; during a replay it only remembers that it must tell all."""

    def __init__(self, start: StartExecution, journal: Journal, started_at: datetime) -> None:
        self._start = start
        self._journal = journal
        self._started_at = started_at
        self._must_tell_all = False

    def flush(self, status: ExecutionStatus, *, at_once: bool = False) -> None:
        changed = self._journal.take_changed()
        if workflow.unsafe.is_replaying():
            self._must_tell_all = True
            return
        if self._must_tell_all:
            self._must_tell_all = False
            changed = self._journal.all()
        emit: Callable[[ExecutionRecord, bool], None] = workflow.extern_functions()[EMIT]
        emit(self._record(status, changed), at_once or any(map(_answers, changed)))

    def checkpoint(self, status: ExecutionStatus) -> ExecutionRecord:
        """Return the record of every step that was not told of yet, before another run goes on."""
        return self._record(status, self._untold())

    def final(
        self,
        status: ExecutionStatus,
        *,
        at: datetime,
        output: Any,
        error: ExecutionError | None,
        history_events: int,
        billable_actions: int,
    ) -> ExecutionRecord:
        """Return the record that closes the execution: the figures, and every step that was not told of yet.

        Whoever writes it has what was told before, and writes it no later.
        """
        record = self._record(status, self._untold())
        return ExecutionRecord(
            tenant_id=record.tenant_id,
            execution_id=record.execution_id,
            seq=record.seq + 1,
            status=status,
            started_at=record.started_at,
            steps=record.steps,
            closed_at=at,
            output=output,
            error=error,
            history_events=history_events,
            billable_actions=billable_actions,
            awaited_by=self._start.trigger.awaited_by or UNSET,
        )

    def _untold(self) -> Sequence[NodeState]:
        return self._journal.all() if self._must_tell_all else self._journal.changed()

    def _record(self, status: ExecutionStatus, states: Sequence[NodeState]) -> ExecutionRecord:
        return ExecutionRecord(
            tenant_id=self._start.tenant_id,
            execution_id=self._start.execution_id,
            seq=self._journal.seq,
            status=status,
            started_at=self._started_at,
            steps=tuple(state.record() for state in states),
        )


def _answers(state: NodeState) -> bool:
    """Return whether a caller may wait for what a node came to."""
    return state.node.plugin == "respond" and state.status == "completed"
