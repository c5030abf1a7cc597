"""The kinds of values that a declared type is written as: what expressions may find in the output of a plugin."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from msgspec import inspect

from user_workflows.definition.json_types import fits
from user_workflows.expressions.kinds import (
    BOOL,
    INT,
    NULL,
    NUMBER,
    STRING,
    Kinds,
    either,
    kinds_of,
    list_of,
    map_of,
    open_map,
)

#: a type may hold itself
_MAX_DEPTH = 8

_TEXTS = (
    inspect.StrType,
    inspect.BytesType,
    inspect.DateTimeType,
    inspect.DateType,
    inspect.TimeType,
    inspect.TimeDeltaType,
    inspect.UUIDType,
)
_LISTS = (inspect.ListType, inspect.VarTupleType, inspect.SetType, inspect.FrozenSetType)

#: values of each kind, for a declared type to say which it takes
_SAMPLES: Final[Mapping[str, tuple[Any, ...]]] = {
    "null": (None,),
    "bool": (True, False),
    "int": (1,),
    "double": (1.5, 1),  # a double without a fraction is taken for an int
    "string": ("",),
    "timestamp": ("",),
    "duration": ("",),
    "type": ("",),
    "list": ([],),
    "map": ({},),
}


@lru_cache(maxsize=1024)
def declared(output: Any) -> Kinds:
    """Return the kinds of the values of a type that msgspec encodes, as they are in JSON."""
    return None if output is Any else _kinds(inspect.type_info(output), 0)


def takes(expected: inspect.Type, kinds: Kinds) -> bool:
    """Return whether a value of one of `kinds` may fit a declared type."""
    if kinds is None:
        return True
    return any(fits(sample, expected) for kind in kinds for sample in _SAMPLES[kind.name])


def _kinds(kind: inspect.Type, depth: int) -> Kinds:  # noqa: PLR0911 - one a type
    if depth > _MAX_DEPTH:
        return None
    if isinstance(kind, _TEXTS):
        return STRING
    if isinstance(kind, _LISTS):
        return list_of(_kinds(kind.item_type, depth + 1))
    match kind:
        case inspect.Metadata(type=inner):
            return _kinds(inner, depth)
        case inspect.NoneType():
            return NULL
        case inspect.BoolType():
            return BOOL
        case inspect.IntType():
            return INT
        case inspect.FloatType():
            return NUMBER
        case inspect.LiteralType(values=values):
            return either(kinds_of(value) for value in values)
        case inspect.UnionType(types=types):
            return either(_kinds(option, depth + 1) for option in types)
        case inspect.DictType(value_type=value):
            return open_map(_kinds(value, depth + 1))
        case inspect.StructType(array_like=False, tag_field=None, fields=fields) | inspect.TypedDictType(fields=fields):
            return map_of({field.encode_name: _kinds(field.type, depth + 1) for field in fields})
    return None
