"""Checks of arguments: each returns the value or raises EvaluationError."""

from typing import Any

from user_workflows.expressions.errors import EvaluationError
from user_workflows.expressions.values import type_name


def mismatch(name: str, wanted: str, value: Any) -> EvaluationError:
    return EvaluationError(f"{name}() needs {wanted}, not {type_name(value)}")


def invalid(message: str) -> EvaluationError:
    return EvaluationError(message, reason="invalidArgument")


def as_text(value: Any, name: str) -> str:
    if type(value) is str:
        return value
    raise mismatch(name, "a string", value)


def as_int(value: Any, name: str) -> int:
    if type(value) is int:
        return value
    raise mismatch(name, "an int", value)


def as_number(value: Any, name: str) -> int | float:
    if type(value) is int or type(value) is float:
        return value
    raise mismatch(name, "a number", value)


def as_list(value: Any, name: str) -> list[Any]:
    if type(value) is list:
        return value
    raise mismatch(name, "a list", value)


def as_map(value: Any, name: str) -> dict[Any, Any]:
    if type(value) is dict:
        return value
    raise mismatch(name, "a map", value)


def as_texts(value: Any, name: str) -> list[str]:
    for item in as_list(value, name):
        if type(item) is not str:
            raise mismatch(name, "a list of strings", item)
    return value  # type: ignore[no-any-return]  # just checked


def within(value: Any, least: int, most: int, name: str) -> int:
    """Return an int from `least` to `most`."""
    if least <= as_int(value, name) <= most:
        return value  # type: ignore[no-any-return]  # just checked
    raise invalid(f"{name}() needs a number from {least} to {most} here")
