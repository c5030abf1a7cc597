"""Conversions between types. Source: cel-spec doc/langdef.md (Type conversions)."""

import math
import re
from typing import Any, Final

from user_workflows.expressions.budget import Meter
from user_workflows.expressions.errors import EvaluationError
from user_workflows.expressions.functions.arguments import invalid, mismatch
from user_workflows.expressions.functions.function import Function
from user_workflows.expressions.operators import int64
from user_workflows.expressions.output import TIME_TEXT
from user_workflows.expressions.text import double_text
from user_workflows.expressions.times import (
    SECOND,
    Duration,
    Timestamp,
    parse_duration,
    parse_timestamp,
    timestamp_of,
)
from user_workflows.expressions.values import TYPES, Type

_INT = re.compile(r"[+-]?[0-9]{1,64}")
_DOUBLE = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SPECIAL = re.compile(r"[+-]?(?:inf|infinity|nan)", re.IGNORECASE)
_BOOLS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


def _int(meter: Meter, value: Any) -> int:
    kind = type(value)
    if kind is int:
        return int64(value)
    if kind is float:
        if -(2.0**63) < value < 2.0**63:
            return int(value)
        raise EvaluationError("the double does not fit 64 bits", reason="overflow")
    if kind is str:
        if _INT.fullmatch(value):
            return int64(int(value))
        raise invalid("int(): the string is no whole number")
    if kind is Timestamp:
        return value.nanoseconds // SECOND  # type: ignore[no-any-return]  # a Timestamp's
    raise mismatch("int", "a number, string or timestamp", value)


def _double(meter: Meter, value: Any) -> float:
    kind = type(value)
    if kind is float:
        return value  # type: ignore[no-any-return]  # just checked
    if kind is int:
        return float(int64(value))
    if kind is str:
        if len(value) <= 400 and _DOUBLE.fullmatch(value):
            number = float(value)
            if math.isinf(number):
                raise invalid("double(): the number is too large")
            return number
        if _SPECIAL.fullmatch(value):
            return float(value)
        raise invalid("double(): the string is no number")
    raise mismatch("double", "a number or string", value)


def _string(meter: Meter, value: Any) -> str:
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]  # just checked
    if kind is bool:
        return "true" if value else "false"
    if kind is float:
        return double_text(value)
    if kind in (int, Timestamp, Duration):
        meter.work(1 if kind is int else TIME_TEXT)
        text = str(value)
        meter.allocate_text(text)
        return text
    raise mismatch("string", "a number, bool, timestamp or duration (json.encode() takes the others)", value)


def _bool(meter: Meter, value: Any) -> bool:
    if type(value) is bool:
        return value
    if type(value) is str:
        if value in _BOOLS:
            return _BOOLS[value]
        raise invalid("bool(): write true or false")
    raise mismatch("bool", "a bool or string", value)


def _duration(meter: Meter, value: Any) -> Duration:
    if type(value) is Duration:
        return value
    if type(value) is str:
        meter.work(TIME_TEXT)
        return parse_duration(value)
    raise mismatch("duration", "a string", value)


def _timestamp(meter: Meter, value: Any) -> Timestamp:
    if type(value) is Timestamp:
        return value
    if type(value) is str:
        meter.work(TIME_TEXT)
        return parse_timestamp(value)
    if type(value) is int:
        return timestamp_of(value * SECOND)
    raise mismatch("timestamp", "a string, or the seconds since 1970", value)


def _check_duration(value: Any) -> object:
    return _duration(Meter(), value)


def _check_timestamp(value: Any) -> object:
    return _timestamp(Meter(), value)


def _type(meter: Meter, value: Any) -> Type:
    found = TYPES.get(type(value))
    if found is None:
        raise mismatch("type", "one of JSON's types", value)
    return found


def _dyn(meter: Meter, value: Any) -> Any:
    return value


FUNCTIONS: Final = {
    "int": Function(_int, 1, 1),
    "double": Function(_double, 1, 1),
    "string": Function(_string, 1, 1),
    "bool": Function(_bool, 1, 1),
    "duration": Function(_duration, 1, 1, ((0, _check_duration),)),
    "timestamp": Function(_timestamp, 1, 1, ((0, _check_timestamp),)),
    "type": Function(_type, 1, 1),
    "dyn": Function(_dyn, 1, 1),
}
