"""Errors of expressions, and their tree.

    ExpressionError
    ├── ExpressionSyntaxError   the source cannot be compiled
    │   ├── SourceTooLong
    │   ├── TooManyNodes
    │   ├── TooDeep
    │   ├── ChainTooLong
    │   └── TooManyExpressions
    ├── EvaluationError         this evaluation failed; ``&&`` and ``||`` may absorb it
    │   ├── Absent              a name, field, element or node output is not there
    │   └── PatternTooLong
    ├── BudgetExceeded          the evaluation asked for too much; nothing absorbs it
    │   ├── TooManySteps
    │   ├── TooMuchMemory
    │   └── OutputTooLarge
    └── TemplateError           every fault of one config value, each with its JSON Pointer

`type` is stable (``expression.reason``); the message is fit to show to the person who wrote the expression, and never
repeats data.
"""

from typing import ClassVar

#: characters
_MAX_MESSAGE = 300
#: faults of a template that its message repeats
_MAX_SHOWN = 20


class ExpressionError(Exception):
    """An expression could not be compiled or evaluated."""

    type: ClassVar[str] = "expression.error"

    def __init__(self, message: str, position: int | None = None) -> None:
        # A message may quote a name of the source; it stays readable however long that is.
        self.message = message if len(message) <= _MAX_MESSAGE else f"{message[: _MAX_MESSAGE - 1]}…"
        super().__init__(self.message)
        #: offset in characters from the start of the source; of the whole config string in a template
        self.position = position
        #: JSON Pointer of the config string within the template it belongs to
        self.pointer = ""

    def __str__(self) -> str:
        return self.message if self.position is None else f"{self.message} (at character {self.position + 1})"


class ExpressionSyntaxError(ExpressionError):
    """The source is not an expression."""

    type = "expression.syntax"


class SourceTooLong(ExpressionSyntaxError):
    """The source has more bytes than an expression may have."""

    type = "expression.sourceTooLong"


class TooManyNodes(ExpressionSyntaxError):
    """The source has more operators, names and literals than an expression may have."""

    type = "expression.tooManyNodes"


class TooDeep(ExpressionSyntaxError):
    """The source is nested more deeply than an expression may be."""

    type = "expression.tooDeep"


class ChainTooLong(ExpressionSyntaxError):
    """One chain of operators or selections is longer than it may be."""

    type = "expression.chainTooLong"


class TooManyExpressions(ExpressionSyntaxError):
    """One config value holds more expressions than it may."""

    type = "expression.tooManyExpressions"


class EvaluationError(ExpressionError):
    """The expression has no value for this input.

    Args:
        reason: what follows ``expression.`` in `type`, e.g. ``divisionByZero``.
    """

    def __init__(self, message: str, position: int | None = None, *, reason: str = "noSuchOverload") -> None:
        super().__init__(message, position)
        self.reason = reason

    @property
    def type(self) -> str:  # type: ignore[override]  # one class for the many ways an evaluation fails
        return f"expression.{self.reason}"


class Absent(EvaluationError):
    """Something the expression names is not there; ``has()``, ``?.`` and ``default()`` bear it."""

    def __init__(
        self, message: str, position: int | None = None, *, reason: str = "noSuchKey", node_id: str | None = None
    ) -> None:
        super().__init__(message, position, reason=reason)
        #: the node whose output is absent, where that is the cause
        self.node_id = node_id


class PatternTooLong(EvaluationError):
    """A regular expression is longer than it may be."""

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message, position, reason="patternTooLong")


class BudgetExceeded(ExpressionError):
    """The evaluation was stopped because it asked for too much."""


class TooManySteps(BudgetExceeded):
    """The evaluation takes more steps than it may."""

    type = "expression.tooManySteps"


class TooMuchMemory(BudgetExceeded):
    """The evaluation builds more data than it may."""

    type = "expression.tooMuchMemory"


class OutputTooLarge(BudgetExceeded):
    """The result is larger than it may be."""

    type = "expression.outputTooLarge"


class TemplateError(ExpressionError):
    """One or more expressions within a config value are wrong."""

    type = "expression.template"

    def __init__(self, faults: tuple[tuple[str, ExpressionError], ...]) -> None:
        shown = [f"{pointer or '(the value)'}: {error}" for pointer, error in faults[:_MAX_SHOWN]]
        if len(faults) > _MAX_SHOWN:
            shown.append(f"and {len(faults) - _MAX_SHOWN} more")
        super().__init__("")
        self.message = "; ".join(shown)
        #: JSON Pointer of each wrong string, and what is wrong with it
        self.faults = faults
