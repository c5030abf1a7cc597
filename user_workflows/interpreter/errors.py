"""How one step, or a whole execution, ends early inside the interpreter.

InterpreterError
├── StepFailed         one node failed; what happens next is its `onError`
├── ExecutionFailed    the execution, or the round of a loop, ends as failed
└── ExecutionStopped   a `stop` node ended the execution as completed
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeGuard

from temporalio.exceptions import ApplicationError

from user_workflows.interpreter.messages import ExecutionError, StepError

#: the type of the error that a payload fails with which is too large to travel
PAYLOAD_TOO_LARGE = "payload.tooLarge"


class InterpreterError(Exception):
    """Something the interpreter ends on."""


class StepFailed(InterpreterError):
    """A step failed for good."""

    def __init__(self, error: StepError) -> None:
        super().__init__(error.message)
        self.error = error


class ExecutionFailed(InterpreterError):
    """The execution fails."""

    def __init__(self, error: ExecutionError) -> None:
        super().__init__(error.message)
        self.error = error


class ExecutionStopped(InterpreterError):
    """The execution ends here, with this output."""

    def __init__(self, output: Any) -> None:
        super().__init__("stopped")
        self.output = output


def is_too_large(error: BaseException | None) -> TypeGuard[ApplicationError]:
    """Return whether an error says that a payload is too large to travel."""
    return isinstance(error, ApplicationError) and error.type == PAYLOAD_TOO_LARGE


@contextmanager
def too_large_fails_step() -> Iterator[None]:
    """Make a payload that is too large, for a call or as its result, the failure of the step.

    Raises:
        StepFailed: instead of what would end the whole execution without a record.
    """
    try:
        yield
    except ApplicationError as error:
        if not is_too_large(error):
            raise
        raise StepFailed(StepError(type=PAYLOAD_TOO_LARGE, message=error.message)) from error


def is_cancelled() -> bool:
    """Return whether the running task was asked to stop, whatever an activity has made of that."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def stop_if_cancelled() -> None:
    """Let a cancellation through that came while an activity was ending by itself, and which that end swallowed.

    Raises:
        asyncio.CancelledError: the running task was asked to stop.
    """
    if is_cancelled():
        raise asyncio.CancelledError
