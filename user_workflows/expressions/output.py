"""Results as JSON: the boundary where an evaluation's values leave the language."""

import math
from typing import Any

from user_workflows.expressions.budget import MAX_OUTPUT, MAX_VALUE_DEPTH, Meter
from user_workflows.expressions.errors import EvaluationError, OutputTooLarge
from user_workflows.expressions.times import Duration, Timestamp
from user_workflows.expressions.values import Type, from_key, type_name

#: passed on as they are; strings too, but those are charged by their length
_PLAIN = frozenset((int, bool, type(None)))
#: steps to copy a list or map, and to write or read a timestamp or duration
_COPY = 4
TIME_TEXT = 10


def to_json(meter: Meter, value: Any, depth: int = 0) -> Any:  # noqa: PLR0911 - one a type
    """Return `value` in JSON's types: timestamps as RFC 3339, durations as ``90s``, keys as strings.

    Lists and maps are new ones: what the caller does with the result does not reach the input.

    Raises:
        OutputTooLarge: it would be more than 1 MiB of JSON, or nested too deeply.
        EvaluationError: NaN and infinity have no JSON; two keys are the same string.
    """
    kind = type(value)
    if kind is str:
        _charge(meter, 2 + (len(value) if value.isascii() else _encoded_length(value)))
        return value
    if kind is list:
        # Charged in place, here and below: a call for each of many small lists would double the time.
        meter.output -= 2 + 5 * len(value)
        meter.steps -= _COPY
        if meter.output < 0 or meter.steps < 0 or depth > MAX_VALUE_DEPTH:
            _refuse(meter, depth)
        return [item if type(item) in _PLAIN else to_json(meter, item, depth + 1) for item in value]
    if kind is dict:
        return _map(meter, value, depth)
    _charge(meter, 5)
    if kind in _PLAIN:
        return value
    if kind is float:
        if math.isfinite(value):
            return value
        raise EvaluationError("the result is NaN or infinite; JSON has no such number", reason="notANumber")
    if kind is Timestamp or kind is Duration:
        meter.work(TIME_TEXT)
        _charge(meter, 24)
        return str(value)
    if kind is Type:
        return value.name
    raise EvaluationError(f"a value of type {type_name(value)} has no JSON")


def _map(meter: Meter, value: dict[Any, Any], depth: int) -> dict[str, Any]:
    meter.output -= 2 + 5 * len(value)
    meter.steps -= _COPY
    if meter.output < 0 or meter.steps < 0 or depth > MAX_VALUE_DEPTH:
        _refuse(meter, depth)
    made: dict[str, Any] = {}
    size = 0
    for key, item in value.items():
        name = key if type(key) is str else _key(key)
        if name in made:
            raise EvaluationError("two keys of a map are the same in JSON", reason="duplicateKey")
        size += len(name) + 3
        made[name] = item if type(item) in _PLAIN else to_json(meter, item, depth + 1)
    _charge(meter, size)
    return made


def _encoded_length(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise EvaluationError("a string holds half a character", reason="invalidText") from None


def _key(key: Any) -> str:
    plain = from_key(key)
    return str(plain).lower() if type(plain) is bool else str(plain)


def _refuse(meter: Meter, depth: int) -> None:
    _charge(meter, 0)
    meter.work(0)
    if depth > MAX_VALUE_DEPTH:
        raise OutputTooLarge(f"the result is nested more than {MAX_VALUE_DEPTH} levels deep")


def _charge(meter: Meter, size: int) -> None:
    meter.output -= size
    if meter.output < 0:
        raise OutputTooLarge(f"the result is larger than {MAX_OUTPUT // 2**20} MiB")
