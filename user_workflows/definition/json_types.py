"""JSON's types, their names in messages, and which of them a declared type is written as."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import inspect

_TEXTS = (inspect.StrType, inspect.DateTimeType, inspect.DateType, inspect.TimeType, inspect.UUIDType)
_OBJECTS = (inspect.StructType, inspect.DictType, inspect.DataclassType, inspect.TypedDictType)
_LISTS = (inspect.ListType, inspect.VarTupleType, inspect.TupleType, inspect.SetType, inspect.FrozenSetType)

_KINDS: Mapping[type[inspect.Type], str] = {
    inspect.NoneType: "null",
    inspect.BoolType: "true or false",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    **dict.fromkeys(_TEXTS, "a string"),
    **dict.fromkeys(_OBJECTS, "an object"),
    **dict.fromkeys(_LISTS, "a list"),
}


def fits(value: Any, expected: inspect.Type) -> bool:
    """Return whether a value is of the JSON type that `expected` is written as; true where that is not known."""
    written = _kind(expected)
    if written == "a whole number":
        return isinstance(value, int) and not isinstance(value, bool)
    if written is not None:
        return written == _kind_of(value)
    match expected:
        case inspect.Metadata(type=inner):
            return fits(value, inner)
        case inspect.UnionType(types=types):
            return any(fits(value, option) for option in types)
        case inspect.LiteralType(values=values):
            return any(name_of(value) == name_of(option) for option in values)
    return True


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
    return _KINDS.get(type(expected))


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
