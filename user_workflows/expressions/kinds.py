"""What is known of a value before there is one: its kind, the fields of a map, the elements of a list.

`None` stands for what only a run can tell, everywhere: of it nothing is claimed.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

KindName = Literal["null", "bool", "int", "double", "string", "list", "map", "timestamp", "duration", "type"]

#: alternatives; ``None``: anything
Kinds: TypeAlias = "tuple[Kind, ...] | None"

#: beyond so many alternatives, levels, and entries looked at, a value counts as not known
_MAX_ALTERNATIVES = 8
_MAX_DEPTH = 8
_MAX_ENTRIES = 200


class Kind(Struct, frozen=True, eq=False):
    name: KindName
    #: of a list
    element: Kinds = None
    #: of a map: what is known of its fields
    fields: Mapping[str, Kinds] = {}
    #: of a map: whether it may have other fields, and what these are
    is_open: bool = True
    others: Kinds = None


NULL: Final = (Kind("null"),)
BOOL: Final = (Kind("bool"),)
INT: Final = (Kind("int"),)
DOUBLE: Final = (Kind("double"),)
NUMBER: Final = (*INT, *DOUBLE)
STRING: Final = (Kind("string"),)
TYPE: Final = (Kind("type"),)
#: a map of which nothing is known
MAP: Final = (Kind("map"),)

_ARTICLES: Final[Mapping[KindName, str]] = {
    "null": "null",
    "bool": "true or false",
    "int": "a whole number",
    "double": "a number",
    "string": "a string",
    "list": "a list",
    "map": "a map",
    "timestamp": "a timestamp",
    "duration": "a duration",
    "type": "a type",
}


def list_of(element: Kinds) -> Kinds:
    return (Kind("list", element=element),)


def map_of(fields: Mapping[str, Kinds]) -> Kinds:
    """Return the kind of a map with these fields and no others."""
    return (Kind("map", fields=fields, is_open=False),)


def open_map(others: Kinds) -> Kinds:
    """Return the kind of a map with any fields, each of the kind `others`."""
    return (Kind("map", others=others),)


def either(options: Iterable[Kinds]) -> Kinds:
    """Return the kind of a value that is one of `options`."""
    found: list[Kind] = []
    for kinds in options:
        if kinds is None:
            return None
        for kind in kinds:
            if not _holds(found, kind):
                found.append(kind)
        if len(found) > _MAX_ALTERNATIVES:
            return None
    return tuple(found) or None


def _holds(found: list[Kind], kind: Kind) -> bool:
    is_plain = kind.name not in ("list", "map")
    for known in found:  # noqa: SIM110 - a generator would double the time
        if known is kind or (is_plain and known.name == kind.name):
            return True
    return False


def kinds_of(value: Any, depth: int = 0) -> Kinds:  # noqa: PLR0911 - one a type
    """Return the kind of a JSON value that is known."""
    match value:
        case None:
            return NULL
        case bool():
            return BOOL
        case int():
            return INT
        case float():
            return DOUBLE
        case str():
            return STRING
        case list() if depth < _MAX_DEPTH and len(value) <= _MAX_ENTRIES:
            return list_of(either(kinds_of(item, depth + 1) for item in value))
        case list():
            return list_of(None)
        case dict() if depth < _MAX_DEPTH and len(value) <= _MAX_ENTRIES:
            return map_of({key: kinds_of(item, depth + 1) for key, item in value.items()})
        case dict():
            return MAP
    return None


def as_json(kinds: Kinds) -> Kinds:
    """Return the kind of a value after it has left the language: times and types are strings there."""
    return _Leaving().of(kinds)


class _Leaving:
    """Looks at so many kinds and no more: a value may hold another many times over, at each of many levels."""

    def __init__(self) -> None:
        self._left = _MAX_ENTRIES

    def of(self, kinds: Kinds, depth: int = 0) -> Kinds:
        self._left -= 1
        if kinds is None or self._left < 0 or depth > _MAX_DEPTH:
            return None
        return either(self._one(kind, depth + 1) for kind in kinds)

    def _one(self, kind: Kind, depth: int) -> Kinds:
        match kind.name:
            case "timestamp" | "duration" | "type":
                return STRING
            case "list":
                return list_of(self.of(kind.element, depth))
            case "map":
                fields = {name: self.of(field, depth) for name, field in kind.fields.items()}
                return (Kind("map", fields=fields, is_open=kind.is_open, others=self.of(kind.others, depth)),)
        return (kind,)


def describe(kinds: Kinds) -> str:
    """Return how a message calls a value of these kinds, e.g. ``a string or null``."""
    if kinds is None:
        return "a value"
    names = dict.fromkeys(kind.name for kind in kinds)
    if "double" in names:
        names.pop("int", None)
    return " or ".join(_ARTICLES[name] for name in names)
