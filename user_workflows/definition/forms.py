"""Forms of approvals: a JSON Schema (2020-12) that a person's data must fit. The only home of `jsonschema`."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import jsonschema
import msgspec
import re2
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend

#: bytes of JSON that a form, and what is filled in, may take
MAX_FORM, MAX_DATA = 32_768, 65_536

#: faults that one answer names
MOST_NAMED = 20

#: a form stands by itself: what points elsewhere could go round in circles, or out of the machine
_POINTING = ("$ref", "$dynamicRef", "$recursiveRef")

Path = tuple[str | int, ...]


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    # RE2: the drawer of a form must not be able to stop the server of everybody with a slow expression.
    if isinstance(instance, str) and not re2.search(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


_Validator: Any = extend(jsonschema.Draft202012Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]


def form_faults(form: Any) -> Iterator[tuple[Path, str]]:
    """Yield a path within a form and what is wrong there."""
    if not isinstance(form, dict):
        return
    if len(msgspec.json.encode(form)) > MAX_FORM:
        yield (), f"must take no more than {MAX_FORM:,} bytes"
        return
    try:
        _Validator.check_schema(form)
    except SchemaError as error:
        yield tuple(error.absolute_path), f"is not JSON Schema: {error.message[:300]}"
        return
    yield from _unusable(form, ())


def data_faults(form: Mapping[str, Any], data: Any) -> list[tuple[Path, str]]:
    """Return paths within `data` and what is wrong there; nothing where it fits."""
    if len(msgspec.json.encode(data)) > MAX_DATA:
        return [((), f"must take no more than {MAX_DATA:,} bytes")]
    errors = _Validator(form).iter_errors(data)
    return [(tuple(error.absolute_path), error.message[:300]) for error in islice(errors, MOST_NAMED)]


def _unusable(schema: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Yield the keywords that a form may not have, wherever they are."""
    if isinstance(schema, list):
        for index, value in enumerate(schema):
            yield from _unusable(value, (*path, index))
    if not isinstance(schema, dict):
        return
    for key, value in schema.items():
        if key in _POINTING and isinstance(value, str):
            yield (*path, key), "must not be used: write the schema out where it is needed"
        elif key == "patternProperties" and isinstance(value, dict) and path[-1:] != ("properties",):
            yield (*path, key), "must not be used: name the properties"
        elif key == "pattern" and isinstance(value, str) and not _is_regex(value):
            yield (*path, key), "is not a regular expression that RE2 can read"
        elif key not in ("const", "enum", "default", "examples"):
            yield from _unusable(value, (*path, key))


def _is_regex(text: str) -> bool:
    try:
        re2.compile(text)
    except re2.error:
        return False
    return True
