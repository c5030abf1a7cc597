"""Values: JSON's types as Python has them, and timestamps, durations and types.

Maps are dicts. Python takes ``True`` for ``1`` as a key and CEL does not, so keys that are booleans are kept as
`BoolKey`; data that came from JSON has none.
"""

from typing import Any, Final

from msgspec import Struct

from user_workflows.expressions.budget import MAX_VALUE_DEPTH, Meter
from user_workflows.expressions.errors import EvaluationError, OutputTooLarge
from user_workflows.expressions.times import Duration, Timestamp


class Type(Struct, frozen=True):
    """What ``type(x)`` gives and ``int``, ``string`` … name."""

    name: str


class BoolKey(Struct, frozen=True):
    value: bool


_TRUE: Final = BoolKey(True)
_FALSE: Final = BoolKey(False)

TYPES: Final[dict[type, Type]] = {
    type(None): Type("null_type"),
    bool: Type("bool"),
    int: Type("int"),
    float: Type("double"),
    str: Type("string"),
    list: Type("list"),
    dict: Type("map"),
    Timestamp: Type("google.protobuf.Timestamp"),
    Duration: Type("google.protobuf.Duration"),
    Type: Type("type"),
}
TYPES_BY_NAME: Final = {found.name: found for found in TYPES.values()}

_NUMBERS: Final = frozenset((int, float))
_ORDERED: Final = frozenset((int, float, str, bool, Timestamp, Duration))


def type_name(value: Any) -> str:
    """Return the name of the type of `value`, for messages."""
    found = TYPES.get(type(value))
    return found.name if found else "unknown"


def as_key(value: Any) -> Any:
    """Return `value` as a dict's key; for what can be no key, one that no dict has."""
    kind = type(value)
    if kind is str or kind is int or kind is float:
        return value
    if kind is bool:
        return _TRUE if value else _FALSE
    return None


def from_key(key: Any) -> Any:
    """Return the value that a dict's key stands for."""
    return key.value if type(key) is BoolKey else key


def equal(meter: Meter, left: Any, right: Any, depth: int = 0) -> bool:  # noqa: PLR0911 - the plain cases first
    """Compare by value across types, as CEL does: numbers by amount, nothing else across types."""
    kind = type(left)
    if kind is not type(right):
        return kind in _NUMBERS and type(right) in _NUMBERS and _same_number(left, right)
    if kind is list:
        if len(left) != len(right):
            return False
        _enter(meter, len(left), depth)
        for one, other in zip(left, right, strict=True):  # noqa: SIM110 - a generator would double the time
            if not equal(meter, one, other, depth + 1):
                return False
        return True
    if kind is dict:
        if len(left) != len(right):
            return False
        _enter(meter, len(left), depth)
        for key, value in left.items():
            if key not in right or not equal(meter, value, right[key], depth + 1):
                return False
        return True
    if kind is str and len(left) > 256:
        meter.work(len(left) >> 8)
    return bool(left == right)


def _same_number(left: float, right: float) -> bool:
    """Compare an int and a double as doubles, as CEL does."""
    try:
        return float(left) == float(right)
    except OverflowError:
        return False


def _enter(meter: Meter, length: int, depth: int) -> None:
    meter.work(2 + length)
    if depth > MAX_VALUE_DEPTH:
        raise OutputTooLarge(f"the value is nested more than {MAX_VALUE_DEPTH} levels deep")


def check_order(meter: Meter, left: Any, right: Any) -> None:
    """Raise EvaluationError when the types of `left` and `right` have no order between them."""
    kind = type(left)
    if kind is type(right):
        if kind is str:
            meter.work(min(len(left), len(right)) >> 8)
        if kind in _ORDERED:
            return
    elif kind in _NUMBERS and type(right) in _NUMBERS:
        return
    raise EvaluationError(f"{type_name(left)} and {type_name(right)} have no order")


def contains(meter: Meter, container: Any, item: Any) -> bool:
    """Return whether `item` is an element of a list or a key of a map: the operator ``in``."""
    if type(container) is dict:
        return as_key(item) in container
    if type(container) is not list:
        raise EvaluationError(f"'in' needs a list or a map on its right, not {type_name(container)}")
    if type(item) is str:
        # Only a string equals a string, in Python as in CEL.
        meter.work((len(container) >> 4) + len(container) * (len(item) >> 8))
        return item in container
    meter.work(len(container))
    return any(equal(meter, item, element) for element in container)
