"""What of an outcome is compared, and how."""

from typing import Any

from tests.user_workflows.reference.model import ERROR, Execution

#: how a step ended: its status, its input, what it left by, and what it left with
Ended = tuple[str, Any, str | None, Any]


def plain(value: Any) -> Any:
    """Return a value with every error in it replaced: what an error says is not the model's concern."""
    match value:
        case {"type": _, "message": _}:
            return ERROR
        case dict():
            return {key: plain(inner) for key, inner in value.items()}
        case list():
            return [plain(inner) for inner in value]
        case _:
            return value


def expected(execution: Execution) -> dict[tuple[str, tuple[int, ...]], Ended]:
    """Return how the model says that every step ends."""
    return {
        key: (step.status, step.input, *next(iter(step.ports.items()), (None, None)))
        for key, step in execution.steps.items()
    }
