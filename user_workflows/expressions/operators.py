"""The operators on values.

Two deviations from CEL: arithmetic between int and double gives a double, where CEL has no such operator; and
timestamps and durations aside, nothing else is converted.
"""

import math
import operator
from collections.abc import Callable
from typing import Any, Final

from user_workflows.expressions.budget import Meter, weight
from user_workflows.expressions.errors import EvaluationError
from user_workflows.expressions.times import Duration, Timestamp, duration_of, timestamp_of
from user_workflows.expressions.values import check_order, contains, equal, type_name

Binary = Callable[[Meter, Any, Any], Any]

_MIN, _MAX = -(2**63), 2**63 - 1


def int64(value: int) -> int:
    """Return `value`; raises EvaluationError when it does not fit 64 bits."""
    if _MIN <= value <= _MAX:
        return value
    raise EvaluationError("the result does not fit 64 bits", reason="overflow")


def _none(symbol: str, left: Any, right: Any) -> EvaluationError:
    hint = ""
    if symbol == "+" and str in (type(left), type(right)):
        hint = "; convert with string(…), or write the text around {{ … }}"
    return EvaluationError(f"no operator {symbol!r} between {type_name(left)} and {type_name(right)}{hint}")


def _are_numbers(left: Any, right: Any) -> bool:
    return type(left) in (int, float) and type(right) in (int, float)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise EvaluationError("the number is too large for a double", reason="overflow") from None


def add(meter: Meter, left: Any, right: Any) -> Any:
    kinds = (type(left), type(right))
    if kinds == (int, int):
        return int64(left + right)
    if _are_numbers(left, right):
        return _float(left) + _float(right)
    if kinds == (str, str):
        meter.allocate(64 + weight(left) + weight(right))
        return left + right
    if kinds == (list, list):
        meter.allocate_list(len(left) + len(right))
        return left + right
    if kinds == (Duration, Duration):
        return duration_of(left.nanoseconds + right.nanoseconds)
    if kinds in ((Timestamp, Duration), (Duration, Timestamp)):
        return timestamp_of(left.nanoseconds + right.nanoseconds)
    raise _none("+", left, right)


def subtract(meter: Meter, left: Any, right: Any) -> Any:
    kinds = (type(left), type(right))
    if kinds == (int, int):
        return int64(left - right)
    if _are_numbers(left, right):
        return _float(left) - _float(right)
    if kinds in ((Duration, Duration), (Timestamp, Timestamp)):
        return duration_of(left.nanoseconds - right.nanoseconds)
    if kinds == (Timestamp, Duration):
        return timestamp_of(left.nanoseconds - right.nanoseconds)
    raise _none("-", left, right)


def multiply(meter: Meter, left: Any, right: Any) -> Any:
    if type(left) is int and type(right) is int:
        return int64(left * right)
    if _are_numbers(left, right):
        return _float(left) * _float(right)
    raise _none("*", left, right)


def divide(meter: Meter, left: Any, right: Any) -> Any:
    """Divide: between ints towards zero, else as IEEE 754 does, division by 0.0 included."""
    if type(left) is int and type(right) is int:
        if right == 0:
            raise EvaluationError("division by zero", reason="divisionByZero")
        quotient = abs(left) // abs(right)
        return int64(quotient if (left < 0) == (right < 0) else -quotient)
    if not _are_numbers(left, right):
        raise _none("/", left, right)
    numerator, denominator = _float(left), _float(right)
    if denominator:
        return numerator / denominator
    if not numerator or math.isnan(numerator):
        return math.nan
    return math.copysign(math.inf, numerator) * math.copysign(1.0, denominator)


def remainder(meter: Meter, left: Any, right: Any) -> Any:
    """Return what ``/`` leaves, with the sign of `left`."""
    if type(left) is not int or type(right) is not int:
        raise _none("%", left, right)
    divide(meter, left, right)  # has no remainder where it has no quotient
    rest = abs(left) % abs(right)
    return -rest if left < 0 else rest


def negate(value: Any) -> Any:
    if type(value) is int:
        return int64(-value)
    if type(value) is float:
        return -value
    if type(value) is Duration:
        return duration_of(-value.nanoseconds)
    raise EvaluationError(f"no operator '-' for {type_name(value)}")


def _comparison(compare: Callable[[Any, Any], bool]) -> Binary:
    def compared(meter: Meter, left: Any, right: Any) -> bool:
        check_order(meter, left, right)
        if type(left) is not type(right):
            # An int and a double: compared as doubles, as CEL does.
            return compare(_float(left), _float(right))
        return compare(left, right)

    return compared


def _unequal(meter: Meter, left: Any, right: Any) -> bool:
    return not equal(meter, left, right)


def _is_in(meter: Meter, left: Any, right: Any) -> bool:
    return contains(meter, right, left)


OPERATORS: Final[dict[str, Binary]] = {
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
    "%": remainder,
    "==": equal,
    "!=": _unequal,
    "<": _comparison(operator.lt),
    "<=": _comparison(operator.le),
    ">": _comparison(operator.gt),
    ">=": _comparison(operator.ge),
    "in": _is_in,
}
