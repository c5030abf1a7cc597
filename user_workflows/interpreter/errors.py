"""How one step, or a whole execution, ends early inside the interpreter.

InterpreterError
├── StepFailed         one node failed; what happens next is its `onError`
├── ExecutionFailed    the execution, or the round of a loop, ends as failed
└── ExecutionStopped   a `stop` node ended the execution as completed
"""

from typing import Any

from user_workflows.interpreter.messages import ExecutionError, StepError


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
