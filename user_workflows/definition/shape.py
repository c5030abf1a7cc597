"""Match a JSON value against a Struct type and name every mismatch, where msgspec's own decoding stops at the first.

Types are read with `msgspec.inspect`, so this follows whatever a plugin's author declares. Strings that hold an
expression stand for a value that is not known yet, and match anything.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeGuard

import msgspec
from msgspec import inspect

from plugins.sdk.credential import decode_secret
from plugins.sdk.duration import DURATION_PATTERN
from user_workflows.definition.json_types import fits, listed, name, name_of
from user_workflows.definition.model import IDENTIFIER_PATTERN

Path = tuple[str | int, ...]
Reason = Literal["unknownKey", "missing", "invalid", "expressionRequired"]

#: what a careful pattern ends with in Python, and nobody wants to read
_NO_NEWLINE = r"(?!\n)"

_PATTERNS = {
    DURATION_PATTERN: 'must be a duration: a number and ms, s, m, h or d, like "30s"',
    IDENTIFIER_PATTERN: "must start with a letter or _ and hold only letters, digits and _, 64 at most",
}


class Mismatch(NamedTuple):
    reason: Reason
    #: from the value that was matched
    path: Path
    #: continues "<the place> …"
    message: str
    #: for an unknown key: the keys there are
    known: tuple[str, ...] = ()


def match(value: Any, expected: Any, *, templates: bool = False) -> list[Mismatch]:
    """Return every way in which `value` differs from the type `expected`, in the order of the value.

    Args:
        value: JSON, as decoded.
        expected: a type that msgspec can decode.
        templates: whether strings with ``{{`` stand for values that are not known yet.
    """
    found = list(_match(value, type_info(expected), (), templates))
    if templates and has_template(value):
        return found
    # msgspec has the last word: it knows custom types, formats, and what a type checks once it is made.
    try:
        msgspec.convert(value, expected, dec_hook=decode_secret)
    except (msgspec.ValidationError, NotImplementedError, OverflowError) as error:
        if not found:
            message, _, place = str(error).partition(" - at `$")
            found.append(Mismatch("invalid", _path(place.rstrip("`")), f"does not fit: {message}"))
        return found
    return [mismatch for mismatch in found if mismatch.reason == "expressionRequired"]


def is_template(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and "{{" in value


def has_template(value: Any) -> bool:
    """Return whether any string within `value` holds an expression."""
    if isinstance(value, dict):
        return any(map(has_template, value.values()))
    if isinstance(value, list):
        return any(map(has_template, value))
    return is_template(value)


@lru_cache(maxsize=1024)
def type_info(expected: Any) -> inspect.Type:
    """Return what msgspec knows of a type, kept once it is asked."""
    return inspect.type_info(expected)


def _path(place: str) -> Path:
    parts = re.findall(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[(\d+)\]", place.partition("[...]")[0])
    return tuple(int(index) if index else name for name, index in parts)


def _match(value: Any, expected: inspect.Type, path: Path, templates: bool) -> Iterator[Mismatch]:
    hint = ""
    if type(expected) is inspect.Metadata:
        schema = expected.extra_json_schema or {}
        if schema.get("format") == "expression" and isinstance(value, str) and not is_template(value):
            yield Mismatch("expressionRequired", path, 'must be an expression between braces, like "{{ … }}"')
            return
        hint = f" ({schema['description']})" if schema.get("description") else ""
        expected = expected.type
    if type(expected) is inspect.AnyType or (templates and is_template(value)):
        return
    inside = _MATCHES.get(type(expected))
    if inside is not None:
        yield from inside(value, expected, path, templates)
    elif message := _scalar_fault(value, expected):
        yield Mismatch("invalid", path, message + hint)


def _match_union(value: Any, expected: inspect.UnionType, path: Path, templates: bool) -> Iterator[Mismatch]:
    fitting = [option for option in expected.types if fits(value, option)]
    if not fitting:
        names = " or ".join(dict.fromkeys(name(option) for option in expected.types))
        yield Mismatch("invalid", path, f"must be {names}, not {name_of(value)}")
        return
    attempts = []
    for option in fitting:
        found = list(_match(value, option, path, templates))
        if not found:
            return
        attempts.append(found)
    yield from min(attempts, key=len)


def _match_struct(value: Any, expected: inspect.StructType, path: Path, templates: bool) -> Iterator[Mismatch]:
    if not isinstance(value, dict):
        yield Mismatch("invalid", path, f"must be an object, not {name_of(value)}")
        return
    fields = {field.encode_name: field for field in expected.fields}
    for key, item in value.items():
        if key in fields:
            yield from _match(item, fields[key].type, (*path, key), templates)
        elif key == expected.tag_field:
            if item != expected.tag:
                yield Mismatch("invalid", (*path, key), f"must be {expected.tag!r}")
        elif expected.forbid_unknown_fields:
            known = (*fields, expected.tag_field) if expected.tag_field else tuple(fields)
            yield Mismatch("unknownKey", (*path, key), "is not a key here", known)
    for key, field in fields.items():
        if field.required and key not in value:
            yield Mismatch("missing", (*path, key), "is required")


def _match_dict(value: Any, expected: inspect.DictType, path: Path, templates: bool) -> Iterator[Mismatch]:
    if not isinstance(value, dict):
        yield Mismatch("invalid", path, f"must be an object, not {name_of(value)}")
        return
    for key, item in value.items():
        for fault in _match(key, expected.key_type, (*path, key), False):
            yield fault._replace(message=f"is not a usable name: it {fault.message}")
        yield from _match(item, expected.value_type, (*path, key), templates)
    yield from _match_length(value, expected, path, "entries")


def _match_list(
    value: Any,
    expected: inspect.ListType | inspect.VarTupleType | inspect.SetType | inspect.FrozenSetType,
    path: Path,
    templates: bool,
) -> Iterator[Mismatch]:
    if not isinstance(value, list):
        yield Mismatch("invalid", path, f"must be a list, not {name_of(value)}")
        return
    for index, item in enumerate(value):
        yield from _match(item, expected.item_type, (*path, index), templates)
    yield from _match_length(value, expected, path, "items")


def _match_length(value: Any, expected: Any, path: Path, unit: str) -> Iterator[Mismatch]:
    if expected.min_length is not None and len(value) < expected.min_length:
        yield Mismatch("invalid", path, f"must hold at least {expected.min_length} {unit}")
    if expected.max_length is not None and len(value) > expected.max_length:
        yield Mismatch("invalid", path, f"must hold at most {expected.max_length} {unit}")


#: how the types that hold others are matched
_MATCHES: Mapping[type[inspect.Type], Callable[..., Iterator[Mismatch]]] = {
    inspect.UnionType: _match_union,
    inspect.StructType: _match_struct,
    inspect.DictType: _match_dict,
    inspect.ListType: _match_list,
    inspect.VarTupleType: _match_list,
    inspect.SetType: _match_list,
    inspect.FrozenSetType: _match_list,
}


def _scalar_fault(value: Any, expected: inspect.Type) -> str | None:
    if not fits(value, expected):
        return f"must be {name(expected)}, not {name_of(value)}"
    match expected:
        case inspect.StrType():
            return _string_fault(value, expected)
        case inspect.LiteralType(values=values):
            return None if value in values else f"must be one of {listed(values)}"
        case inspect.IntType() | inspect.FloatType():
            return _number_fault(value, expected)
        case _:
            return None


def _string_fault(value: str, expected: inspect.StrType) -> str | None:
    least, most, pattern = expected.min_length, expected.max_length, expected.pattern
    if least is not None and len(value) < least:
        return f"must have at least {least} characters" if least > 1 else "must not be empty"
    if most is not None and len(value) > most:
        return f"must have at most {most} characters"
    if pattern is not None and not re.search(pattern, value):
        return _PATTERNS.get(pattern, f"must match the pattern {pattern.removesuffix(_NO_NEWLINE)}")
    return None


def _number_fault(value: float, expected: inspect.IntType | inspect.FloatType) -> str | None:
    if expected.ge is not None and value < expected.ge:
        return f"must be at least {expected.ge}"
    if expected.gt is not None and value <= expected.gt:
        return f"must be more than {expected.gt}"
    if expected.le is not None and value > expected.le:
        return f"must be at most {expected.le}"
    if expected.lt is not None and value >= expected.lt:
        return f"must be less than {expected.lt}"
    return None
