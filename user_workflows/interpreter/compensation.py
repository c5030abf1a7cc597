"""Undoing: `compensate` actions of completed nodes, in reverse order of completion, before a failed execution closes.

What runs inside a loop is undone by the loop as a whole. Steps reused from another execution are that one's to undo.
"""

import asyncio
from collections.abc import Callable

from msgspec import structs

from user_workflows.expressions import ExpressionError
from user_workflows.interpreter.errors import StepFailed, too_large_fails_step
from user_workflows.interpreter.messages import Compensation, ExecutionError, StartExecution, StepError
from user_workflows.interpreter.node import NodeState
from user_workflows.interpreter.steps import run_step
from user_workflows.interpreter.walk import Walk
from user_workflows.plan.model import PlanNode


class Compensator:
    """Undoes what one execution has completed.

    Args:
        start: of the execution.
        walk: closed, so that nothing completes any more.
        on_call: called for each action.
        tell: called when something changed.
    """

    def __init__(
        self, start: StartExecution, walk: Walk, on_call: Callable[[], None], tell: Callable[[], None]
    ) -> None:
        self._start = start
        self._walk = walk
        self._on_call = on_call
        self._tell = tell

    async def undo(self, error: ExecutionError) -> ExecutionError:
        """Undo everything and return the execution's error, which says so where not everything was undone.

        Once begun it is not cancelled: half undone is worse than either end.
        """
        due = [(state, state.node.compensate) for state in self._walk.graph.nodes.values() if self._is_due(state)]
        # The journal numbers completions in the order in which they were known.
        due.sort(key=lambda pair: pair[0].seq, reverse=True)
        undoing = asyncio.create_task(self._undo_all([(state, undo) for state, undo in due if undo is not None]))
        while not undoing.done():
            try:
                await asyncio.shield(undoing)
            except asyncio.CancelledError:
                continue
        left = undoing.result()
        if not left:
            return error
        message = f"{error.message}; compensation was incomplete: {', '.join(left)} could not be undone"
        return structs.replace(error, message=message)

    @staticmethod
    def _is_due(state: NodeState) -> bool:
        # A completed step has a reason only where another execution made it.
        return state.status == "completed" and state.reason is None and state.node.compensate is not None

    async def _undo_all(self, due: list[tuple[NodeState, PlanNode]]) -> list[str]:
        """Undo one after the other, and return the nodes that could not be."""
        left = []
        for state, undo in due:
            self._note(state, Compensation(status="running"))
            try:
                self._on_call()
                config = self._walk.templates.at(undo).render(self._walk.scope(state.input))
                with too_large_fails_step():
                    await run_step(self._start, NodeState(undo), config)
            except StepFailed as failed:
                left.append(state.node.id)
                self._note(state, Compensation(status="failed", error=failed.error))
            except ExpressionError as fault:
                left.append(state.node.id)
                error = StepError(type=fault.type, message=str(fault))
                self._note(state, Compensation(status="failed", error=error))
            else:
                self._note(state, Compensation(status="completed"))
        return left

    def _note(self, state: NodeState, compensation: Compensation) -> None:
        state.compensation = compensation
        self._walk.graph.journal.note(state)
        self._tell()
