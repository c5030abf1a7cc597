"""Functions of numbers.

Those in the namespace ``math`` keep cel-go's math extension to the letter: ``math.round`` takes doubles alone. The
plain ones take any number, since JSON does not tell ``5`` from ``5.0`` reliably, and round to an int.
"""

import math
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, Final

from user_workflows.expressions.budget import Meter
from user_workflows.expressions.errors import EvaluationError
from user_workflows.expressions.functions.arguments import as_int, as_list, as_number, invalid, mismatch, within
from user_workflows.expressions.functions.function import MANY, Function
from user_workflows.expressions.functions.order import greatest, least, numbers
from user_workflows.expressions.operators import int64

_WORD = 2**64
#: enough digits for every double with every number of places
_DECIMALS = Context(prec=60)


def _wrap(value: int) -> int:
    """Return the low 64 bits of `value` as an int64."""
    value %= _WORD
    return value - _WORD if value >= _WORD // 2 else value


def _as_double(value: Any, name: str) -> float:
    if type(value) is float:
        return value
    raise mismatch(name, "a double", value)


def _half_away(value: float) -> float:
    if not math.isfinite(value) or abs(value) >= 2**52:
        return value
    return math.copysign(math.floor(abs(value) + 0.5) if abs(value) != 0.49999999999999994 else 0.0, value)


def _on_double(name: str, compute: Callable[[float], float]) -> Function:
    def call(meter: Meter, value: Any) -> float:
        number = _as_double(value, name)
        return compute(number) if math.isfinite(number) else number

    return Function(call, 1, 1)


def _test(name: str, check: Callable[[float], bool]) -> Function:
    def call(meter: Meter, value: Any) -> bool:
        return check(_as_double(value, name))

    return Function(call, 1, 1)


def _signed(value: float, magnitude: float) -> float:
    return math.copysign(magnitude, value)


def _abs(meter: Meter, value: Any) -> Any:
    number = as_number(value, "abs")
    return int64(abs(number)) if type(number) is int else abs(number)


def _sign(meter: Meter, value: Any) -> Any:
    number = as_number(value, "sign")
    if number == 0 or math.isnan(number):
        return number
    return type(number)(1 if number > 0 else -1)


def _sqrt(meter: Meter, value: Any) -> float:
    number = float(as_number(value, "sqrt"))
    return math.sqrt(number) if number >= 0 else math.nan


def _pow(meter: Meter, value: Any, exponent: Any) -> Any:
    """Raise to a power: an int to a natural int gives an int, anything else a double."""
    base, power = as_number(value, "pow"), as_number(exponent, "pow")
    if type(base) is int and type(power) is int and power >= 0:
        if abs(base) > 1 and power > 63:
            raise EvaluationError("the result does not fit 64 bits", reason="overflow")
        return int64(base ** (power if abs(base) > 1 else power % 2 + 2 if power > 1 else power))
    try:
        return math.pow(base, power)
    except OverflowError:
        raise EvaluationError("the result is too large for a double", reason="overflow") from None
    except ValueError:
        raise invalid("pow() has no value for these numbers") from None


def _log(meter: Meter, value: Any, base: Any = None) -> float:
    number = as_number(value, "log")
    root = math.e if base is None else as_number(base, "log")
    if not (number > 0 and root > 0 and root != 1):
        raise invalid("log() needs numbers above zero")
    return math.log(number) if base is None else math.log10(number) if root == 10 else math.log(number, root)


def _to_int(number: float, name: str, rounded: Callable[[float], float]) -> int:
    if type(number) is int:
        return number
    if not math.isfinite(number):
        raise invalid(f"{name}() of NaN or infinity has no value")
    return int64(int(rounded(number)))


def _round(meter: Meter, value: Any, digits: Any = None) -> Any:
    """Round half away from zero: to an int, or to a double with so many digits after the point."""
    number = as_number(value, "round")
    if digits is None:
        return _to_int(number, "round", _half_away)
    places = within(digits, 0, 15, "round")
    if type(number) is int or not math.isfinite(number) or abs(number) >= 2**52:
        return number
    # By its shortest decimal text, so that 1.005 rounds to 1.01: as it is read, not as it is stored.
    return float(Decimal(repr(number)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP, _DECIMALS))


def _ceil(meter: Meter, value: Any) -> int:
    return _to_int(as_number(value, "ceil"), "ceil", math.ceil)


def _floor(meter: Meter, value: Any) -> int:
    return _to_int(as_number(value, "floor"), "floor", math.floor)


def _trunc(meter: Meter, value: Any) -> int:
    return _to_int(as_number(value, "trunc"), "trunc", math.trunc)


def _extreme_of(values: tuple[Any, ...], name: str) -> list[Any]:
    return numbers(as_list(values[0], name) if len(values) == 1 and type(values[0]) is list else list(values), name)


def _greatest(meter: Meter, *values: Any) -> Any:
    return greatest(meter, _extreme_of(values, "math.greatest"), "math.greatest")


def _least(meter: Meter, *values: Any) -> Any:
    return least(meter, _extreme_of(values, "math.least"), "math.least")


def _bits(name: str, compute: Callable[[int, int], int]) -> Function:
    def call(meter: Meter, left: Any, right: Any) -> int:
        return _wrap(compute(as_int(left, name), as_int(right, name)))

    return Function(call, 2, 2)


def _bit_not(meter: Meter, value: Any) -> int:
    return _wrap(~as_int(value, "math.bitNot"))


def _shift_left(value: int, places: int) -> int:
    return value << _places(places) if places < 64 else 0


def _shift_right(value: int, places: int) -> int:
    """Shift the bits, the sign's among them, as cel-spec's math extension says."""
    return value % _WORD >> _places(places) if places < 64 else 0


def _places(places: int) -> int:
    if places < 0:
        raise invalid("a shift needs a number from 0 on")
    return places


METHODS: Final[dict[str, Function]] = {}
FUNCTIONS: Final = {
    "abs": Function(_abs, 1, 1),
    "ceil": Function(_ceil, 1, 1),
    "floor": Function(_floor, 1, 1),
    "round": Function(_round, 1, 2),
    "trunc": Function(_trunc, 1, 1),
    "sign": Function(_sign, 1, 1),
    "sqrt": Function(_sqrt, 1, 1),
    "pow": Function(_pow, 2, 2),
    "log": Function(_log, 1, 2),
    "math.abs": Function(_abs, 1, 1),
    "math.ceil": _on_double("math.ceil", lambda value: _signed(value, abs(math.ceil(value)))),
    "math.floor": _on_double("math.floor", lambda value: _signed(value, abs(math.floor(value)))),
    "math.trunc": _on_double("math.trunc", lambda value: _signed(value, abs(math.trunc(value)))),
    "math.round": _on_double("math.round", _half_away),
    "math.sign": Function(_sign, 1, 1),
    "math.sqrt": Function(_sqrt, 1, 1),
    "math.pow": Function(_pow, 2, 2),
    "math.log": Function(_log, 1, 2),
    "math.greatest": Function(_greatest, 1, MANY),
    "math.least": Function(_least, 1, MANY),
    "math.isNaN": _test("math.isNaN", math.isnan),
    "math.isInf": _test("math.isInf", math.isinf),
    "math.isFinite": _test("math.isFinite", math.isfinite),
    "math.bitAnd": _bits("math.bitAnd", lambda left, right: left & right),
    "math.bitOr": _bits("math.bitOr", lambda left, right: left | right),
    "math.bitXor": _bits("math.bitXor", lambda left, right: left ^ right),
    "math.bitNot": Function(_bit_not, 1, 1),
    "math.bitShiftLeft": _bits("math.bitShiftLeft", _shift_left),
    "math.bitShiftRight": _bits("math.bitShiftRight", _shift_right),
}
