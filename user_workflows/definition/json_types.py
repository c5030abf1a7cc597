"""JSON's types, their names in messages, and which of them a declared type is written as."""

from collections.abc import Iterable
from typing import Any

from msgspec import inspect

_KINDS: tuple[tuple[str, tuple[type[inspect.Type], ...]], ...] = (
    ("null", (inspect.NoneType,)),
    ("true or false", (inspect.BoolType,)),
    ("a whole number", (inspect.IntType,)),
    ("a number", (inspect.FloatType,)),
    ("a string", (inspect.StrType, inspect.DateTimeType, inspect.DateType, inspect.TimeType, inspect.UUIDType)),
    ("an object", (inspect.StructType, inspect.DictType, inspect.DataclassType, inspect.TypedDictType)),
    ("a list", (inspect.ListType, inspect.VarTupleType, inspect.TupleType, inspect.SetType, inspect.FrozenSetType)),
)


def fits(value: Any, expected: inspect.Type) -> bool:
    """Return whether a value is of the JSON type that `expected` is written as; true where that is not known."""
    match expected:
        case inspect.Metadata(type=inner):
            return fits(value, inner)
        case inspect.UnionType(types=types):
            return any(fits(value, option) for option in types)
        case inspect.LiteralType(values=values):
            return any(name_of(value) == name_of(option) for option in values)
    written = _kind(expected)
    if written == "a whole number":
        return isinstance(value, int) and not isinstance(value, bool)
    return written is None or written == _kind_of(value)


def name(expected: inspect.Type) -> str:
    """Return how a message calls the values of a type, e.g. ``a string or a list``."""
    match expected:
        case inspect.Metadata(type=inner):
            return name(inner)
        case inspect.UnionType(types=types):
            return " or ".join(dict.fromkeys(name(option) for option in types))
        case inspect.LiteralType(values=values):
            return f"one of {listed(values)}"
    return _kind(expected) or "a value of another kind"


def name_of(value: Any) -> str:
    """Return how a message calls a JSON value, e.g. ``a list``; the two booleans by their names."""
    return str(value).lower() if isinstance(value, bool) else _kind_of(value)


def listed(values: Iterable[Any]) -> str:
    return ", ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in values)


def _kind(expected: inspect.Type) -> str | None:
    return next((kind for kind, types in _KINDS if isinstance(expected, types)), None)


def _kind_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"
