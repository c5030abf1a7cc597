"""Undoing: `compensate` actions of completed nodes, in reverse order of completion, before a failed execution closes.

What runs inside a loop is undone by the loop as a whole. Steps reused from another execution are that one's to undo.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from msgspec import structs

from user_workflows.expressions import ExpressionError
from user_workflows.interpreter.errors import StepFailed, too_large_fails_step
from user_workflows.interpreter.journal import Journal
from user_workflows.interpreter.messages import Compensation, ExecutionError, StepError
from user_workflows.interpreter.node import NodeState

#: a node, and what undoes it
Undo = tuple[NodeState, Callable[[], Awaitable[object]]]


class Compensator:
    """Undoes what one execution has completed.

    Args:
        journal: of the execution.
        tell: called when something changed.
        before_each: awaited before each action, with the nodes that could not be undone so far.
        left: nodes that an earlier run of the execution could not undo.
    """

    def __init__(
        self,
        journal: Journal,
        tell: Callable[[], None],
        *,
        before_each: Callable[[Sequence[str]], Awaitable[None]],
        left: Sequence[str] = (),
    ) -> None:
        self._journal = journal
        self._tell = tell
        self._before_each = before_each
        self._left = [*left]

    async def undo(self, error: ExecutionError, undos: Iterable[Undo]) -> ExecutionError:
        """Undo what has completed and return the execution's error, which says so where not everything was undone.

        Once begun it is not cancelled: half undone is worse than either end.

        Args:
            error: that the execution ends with.
            undos: of all nodes that can be undone; nothing completes any more.
        """
        due = [undo for undo in undos if self._is_due(undo[0])]
        # The journal numbers completions in the order in which they were known.
        due.sort(key=lambda pair: pair[0].seq, reverse=True)
        undoing = asyncio.create_task(self._undo_all(due))
        while not undoing.done():
            try:
                await asyncio.shield(undoing)
            except asyncio.CancelledError:
                continue
        undoing.result()
        if not self._left:
            return error
        message = f"{error.message}; compensation was incomplete: {', '.join(self._left)} could not be undone"
        return structs.replace(error, message=message)

    @staticmethod
    def _is_due(state: NodeState) -> bool:
        # A completed step has a reason only where another execution made it. An earlier run may have undone it.
        return state.status == "completed" and state.reason is None and state.compensation is None

    async def _undo_all(self, due: Iterable[Undo]) -> None:
        """Undo one after the other."""
        for state, undo in due:
            await self._before_each(self._left)
            self._note(state, Compensation(status="running"))
            try:
                with too_large_fails_step():
                    await undo()
            except StepFailed as failed:
                self._left.append(state.node.id)
                self._note(state, Compensation(status="failed", error=failed.error))
            except ExpressionError as fault:
                self._left.append(state.node.id)
                error = StepError(type=fault.type, message=str(fault))
                self._note(state, Compensation(status="failed", error=error))
            else:
                self._note(state, Compensation(status="completed"))

    def _note(self, state: NodeState, compensation: Compensation) -> None:
        state.compensation = compensation
        self._journal.note(state)
        self._tell()
