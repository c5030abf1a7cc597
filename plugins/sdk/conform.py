"""Decode untrusted JSON into a Struct, and name everything that is wrong with it."""

import difflib
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import Struct

from plugins.sdk.credential import decode_secret

S = TypeVar("S", bound=Struct)

# Asked for each call of a plugin; msgspec finds them anew each time.
_fields_of = lru_cache(maxsize=1_024)(msgspec.structs.fields)

_MESSAGE = re.compile(r"(?P<detail>.*?)(?: - at (?P<key>`key` in )?`\$(?P<path>.*)`)?", re.DOTALL)
_PATH = re.compile(r"\.([^.\[]+)|\[(\d+)\]|\[\.\.\.\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_ENUM = re.compile(r"Invalid (enum )?value .*", re.DOTALL)


class Flaw(Struct, frozen=True):
    """One thing wrong with a value. It never repeats the value itself, which may be a secret."""

    #: JSON Pointer (RFC 6901) into the value; empty for the value as a whole
    pointer: str
    detail: str


class Nonconforming(ValueError):
    """A value does not have the form that its type requires; `flaws` has everything that is wrong."""

    def __init__(self, flaws: tuple[Flaw, ...]) -> None:
        super().__init__("; ".join(f"{flaw.pointer}: {flaw.detail}" if flaw.pointer else flaw.detail for flaw in flaws))
        self.flaws = flaws


def conform(expected: type[S], value: Any) -> S:
    """Return `value`, made of JSON builtins, as the Struct `expected`. Unknown keys are refused even if it allows them.

    Raises:
        Nonconforming: with a flaw for each field that is wrong, missing or unknown.
    """
    try:
        conforming = msgspec.convert(value, expected, dec_hook=decode_secret)
    except msgspec.ValidationError as error:
        found = tuple(_flaws(expected, value)) if isinstance(value, Mapping) else ()
        raise Nonconforming(found or (_flaw(error),)) from None
    if unknown := tuple(_unknown_keys(expected, value)):
        raise Nonconforming(unknown)
    return conforming


def token(part: str | int) -> str:
    """Return one reference token of a JSON Pointer, with its slash."""
    return "/" + str(part).replace("~", "~0").replace("/", "~1")


def _flaws(expected: type[Struct], value: Mapping[Any, Any]) -> Iterator[Flaw]:
    yield from _unknown_keys(expected, value)
    for field in _fields_of(expected):
        name = field.encode_name
        if name not in value:
            if field.required:
                yield Flaw(token(name), "is required")
            continue
        try:
            msgspec.convert(value[name], field.type, dec_hook=decode_secret)
        except msgspec.ValidationError as error:
            yield from _within(field.type, value[name], name, error)


def _unknown_keys(expected: type[Struct], value: Mapping[Any, Any]) -> Iterator[Flaw]:
    if value.keys() <= (names := _names_of(expected)):
        return
    known = [field.encode_name for field in _fields_of(expected)]
    for name in sorted(value.keys() - names, key=str):
        yield Flaw(token(name), _unknown(str(name), known))


@lru_cache(maxsize=1_024)
def _names_of(expected: type[Struct]) -> frozenset[str | None]:
    return frozenset({expected.__struct_config__.tag_field, *(field.encode_name for field in _fields_of(expected))})


def _within(type_: Any, value: Any, name: str | int, error: msgspec.ValidationError) -> Iterator[Flaw]:
    for flaw in tuple(_inner(type_, value)) or (_flaw(error, type_),):
        yield Flaw(token(name) + flaw.pointer, flaw.detail)


def _inner(type_: Any, value: Any) -> Iterator[Flaw]:
    """Look for the flaws of a Struct, or of a list of them, one by one."""
    if _is_struct(type_) and isinstance(value, Mapping):
        yield from _flaws(type_, value)
    elif isinstance(value, list) and _is_struct(item := _item_type(type_)):
        for index, each in enumerate(value):
            try:
                msgspec.convert(each, item, dec_hook=decode_secret)
            except msgspec.ValidationError as error:
                yield from _within(item, each, index, error)


def _item_type(type_: Any) -> Any:
    if get_origin(type_) is Annotated:
        return _item_type(get_args(type_)[0])
    return get_args(type_)[0] if get_origin(type_) in (list, tuple) else None


def _flaw(error: msgspec.ValidationError, type_: Any = None) -> Flaw:
    """Turn a message of msgspec into a flaw."""
    match = _MESSAGE.fullmatch(str(error))
    if match is None:
        return Flaw("", "is not of the required form")
    detail, path = match["detail"], match["path"] or ""
    pointer = "".join(token(part[0] or part[1]) for part in _PATH.findall(path) if any(part))
    if unknown := _UNKNOWN.fullmatch(detail):
        return Flaw(pointer + token(unknown[1]), _unknown(unknown[1], []))
    if missing := _MISSING.fullmatch(detail):
        return Flaw(pointer + token(missing[1]), "is required")
    if _ENUM.fullmatch(detail):
        return Flaw(pointer, _choice(type_))
    if match["key"]:
        return Flaw(pointer, f"a key of it: {detail[0].lower()}{detail[1:]}")
    return Flaw(pointer, detail[:1].lower() + detail[1:])


def _unknown(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"unknown key {name!r}" + (f"; did you mean {close[0]!r}?" if close else "")


def _choice(type_: Any) -> str:
    if get_origin(type_) is not Literal:
        return "is not one of the values allowed here"
    return "must be one of " + ", ".join(repr(choice) for choice in get_args(type_))


def _is_struct(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, Struct)
