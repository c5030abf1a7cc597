"""Values made of types: what stands for the output of a plugin that is not called.

The same type gives the same value. An example or a default that the author of the type gave comes first.
"""

from functools import lru_cache
from typing import Any

from msgspec import Struct, inspect

#: a type may hold itself
_MAX_DEPTH = 8

_TEXTS: tuple[tuple[type[inspect.Type], str], ...] = (
    (inspect.DateTimeType, "2026-01-01T00:00:00Z"),
    (inspect.DateType, "2026-01-01"),
    (inspect.TimeType, "00:00:00"),
    (inspect.TimeDeltaType, "PT0S"),
    (inspect.UUIDType, "00000000-0000-0000-0000-000000000000"),
    (inspect.DecimalType, "0"),
    (inspect.BytesType, ""),
)


class Sample(Struct, frozen=True):
    """A value of a type, as it is in JSON."""

    value: Any
    #: the fields of which the type says nothing, written like ``body`` or ``rows.0.data``; they are null
    unknown: tuple[str, ...]


@lru_cache(maxsize=1024)
def sample(declared: Any) -> Sample:
    """Make a value of a type that msgspec encodes."""
    maker = _Maker()
    value = maker.make(inspect.type_info(declared), (), 0)
    return Sample(value, tuple(maker.unknown))


class _Maker:
    def __init__(self) -> None:
        self.unknown: list[str] = []

    def make(self, kind: inspect.Type, path: tuple[str, ...], depth: int) -> Any:  # noqa: PLR0911, PLR0912 - one case a type
        if depth > _MAX_DEPTH:
            return self._nothing(path)
        match kind:
            case inspect.Metadata(type=inner, extra_json_schema=schema):
                examples = (schema or {}).get("examples")
                return examples[0] if examples else self.make(inner, path, depth)
            case inspect.NoneType():
                return None
            case inspect.BoolType():
                return True
            case inspect.IntType() | inspect.FloatType():
                return _number(kind)
            case inspect.StrType():
                return _text(kind, path)
            case inspect.LiteralType(values=values):
                return values[0]
            case inspect.EnumType(cls=cls):
                return next(iter(cls)).value
            case inspect.UnionType(types=types):
                return self.make(_first(types), path, depth + 1)
            case inspect.DictType():
                return {}
            case inspect.StructType() if not kind.array_like:
                return self._struct(kind, path, depth)
            case inspect.TypedDictType(fields=fields):
                return {each.encode_name: self.make(each.type, (*path, each.encode_name), depth + 1) for each in fields}
            case inspect.ListType() | inspect.VarTupleType() | inspect.SetType() | inspect.FrozenSetType():
                item = self.make(kind.item_type, (*path, "0"), depth + 1)
                return [item] * max(1, kind.min_length or 0)
            case inspect.TupleType(item_types=types):
                return [self.make(each, (*path, str(index)), depth + 1) for index, each in enumerate(types)]
        for each, text in _TEXTS:
            if isinstance(kind, each):
                return text
        return self._nothing(path)

    def _struct(self, kind: inspect.StructType, path: tuple[str, ...], depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {} if kind.tag_field is None else {kind.tag_field: kind.tag}
        for field in kind.fields:
            made[field.encode_name] = self.make(field.type, (*path, field.encode_name), depth + 1)
        return made

    def _nothing(self, path: tuple[str, ...]) -> Any:
        self.unknown.append(".".join(path))
        return None


def _first(types: tuple[inspect.Type, ...]) -> inspect.Type:
    return next((each for each in types if not isinstance(each, inspect.NoneType)), types[0])


def _number(kind: inspect.IntType | inspect.FloatType) -> Any:
    """Return zero, or the number nearest to it that the type allows."""
    whole = isinstance(kind, inspect.IntType)
    step: Any = kind.multiple_of or 1
    number: Any = 0
    for limit, over in ((kind.ge, 0), (kind.gt, step)):
        if limit is not None:
            number = max(number, limit + over)
    for limit, under in ((kind.le, 0), (kind.lt, step)):
        if limit is not None:
            number = min(number, limit - under)
    if kind.multiple_of:
        number = -(-number // step) * step
    return int(number) if whole else float(number)


def _text(kind: inspect.StrType, path: tuple[str, ...]) -> str:
    text = path[-1] if path else "text"
    if kind.min_length is not None and len(text) < kind.min_length:
        text = text.ljust(kind.min_length, "x")
    return text[: kind.max_length] if kind.max_length is not None else text
