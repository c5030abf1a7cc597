"""Sorting and the least and greatest of many."""

from typing import Any

from user_workflows.expressions.budget import Meter
from user_workflows.expressions.errors import EvaluationError
from user_workflows.expressions.values import check_order, type_name


def order_by(meter: Meter, keys: list[Any], items: list[Any]) -> list[Any]:
    """Return `items` in the order of their `keys`, equal ones as they came; raises EvaluationError."""
    meter.allocate_list(3 * len(keys))
    meter.work(len(keys) * max(1, len(keys).bit_length() // 2))
    for key in keys:
        # One type, or all numbers: then every pair has an order.
        check_order(meter, keys[0], key)
        if type(key) is str:
            meter.work(len(keys).bit_length() * (len(key) >> 8))
    return [items[place] for place in sorted(range(len(keys)), key=keys.__getitem__)]


def least(meter: Meter, values: list[Any], name: str) -> Any:
    return _extreme(meter, values, name, greatest=False)


def greatest(meter: Meter, values: list[Any], name: str) -> Any:
    return _extreme(meter, values, name, greatest=True)


def _extreme(meter: Meter, values: list[Any], name: str, *, greatest: bool) -> Any:
    if not values:
        raise EvaluationError(f"{name}() of an empty list has no value", reason="invalidArgument")
    meter.work(2 * len(values))
    found = values[0]
    check_order(meter, found, found)
    for value in values[1:]:
        check_order(meter, found, value)
        if (value > found) if greatest else (value < found):
            found = value
    return found


def numbers(value: Any, name: str) -> list[Any]:
    """Return `value`, a list of numbers; raises EvaluationError."""
    if type(value) is not list:
        raise EvaluationError(f"{name}() needs a list, not {type_name(value)}")
    for item in value:
        if type(item) not in (int, float):
            raise EvaluationError(f"{name}() needs numbers, not {type_name(item)}")
    return value
