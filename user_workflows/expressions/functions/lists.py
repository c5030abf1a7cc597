"""Functions of lists, and those that lists share with strings and maps. Source: cel-go's lists extension."""

import math
from typing import Any, Final

from user_workflows.expressions.budget import MAX_VALUE_DEPTH, Meter
from user_workflows.expressions.functions import strings
from user_workflows.expressions.functions.arguments import as_int, as_list, invalid, mismatch, within
from user_workflows.expressions.functions.function import MANY, Function
from user_workflows.expressions.functions.order import greatest, least, numbers, order_by
from user_workflows.expressions.operators import add, divide
from user_workflows.expressions.times import Duration
from user_workflows.expressions.values import equal


def _size(meter: Meter, value: Any) -> int:
    if type(value) in (str, list, dict):
        return len(value)
    raise mismatch("size", "a string, list or map", value)


def _contains(meter: Meter, value: Any, item: Any) -> bool:
    if type(value) is str:
        return strings.includes(meter, value, item)
    return _index_of(meter, value, item) >= 0


def _index_of(meter: Meter, value: Any, item: Any, start: Any = 0) -> int:
    if type(value) is str:
        return strings.find(meter, value, item, start)
    if type(value) is not list:
        raise mismatch("indexOf", "a string or list", value)
    begin = within(start, 0, len(value), "indexOf")
    meter.work(len(value))
    return next((place for place in range(begin, len(value)) if equal(meter, value[place], item)), -1)


def _last_index_of(meter: Meter, value: Any, item: Any, start: Any = None) -> int:
    if type(value) is str:
        return strings.find_last(meter, value, item, start)
    if type(value) is not list:
        raise mismatch("lastIndexOf", "a string or list", value)
    begin = len(value) - 1 if start is None else within(start, 0, len(value) - 1, "lastIndexOf")
    meter.work(len(value))
    return next((place for place in range(begin, -1, -1) if equal(meter, value[place], item)), -1)


def _reverse(meter: Meter, value: Any) -> Any:
    if type(value) is str:
        return strings.backwards(meter, value)
    meter.allocate_list(len(as_list(value, "reverse")))
    return value[::-1]


def _slice(meter: Meter, value: Any, start: Any, end: Any = None) -> list[Any]:
    as_list(value, "slice")
    begin = within(start, 0, len(value), "slice")
    stop = len(value) if end is None else within(end, begin, len(value), "slice")
    meter.allocate_list(stop - begin)
    return list(value[begin:stop])


def _take(meter: Meter, value: Any, count: Any) -> list[Any]:
    """Return the first `count` elements, or all if there are fewer."""
    as_list(value, "take")
    return _slice(meter, value, 0, max(0, min(as_int(count, "take"), len(value))))


def _skip(meter: Meter, value: Any, count: Any) -> list[Any]:
    as_list(value, "skip")
    return _slice(meter, value, max(0, min(as_int(count, "skip"), len(value))))


def _first(meter: Meter, value: Any) -> Any:
    """Return the first element, or null of an empty list."""
    return value[0] if as_list(value, "first") else None


def _last(meter: Meter, value: Any) -> Any:
    return value[-1] if as_list(value, "last") else None


def _flatten(meter: Meter, value: Any, depth: Any = 1) -> list[Any]:
    if as_int(depth, "flatten") < 0:
        raise invalid("flatten() needs a depth from 0 on")
    flat: list[Any] = []
    _flatten_into(meter, as_list(value, "flatten"), min(depth, MAX_VALUE_DEPTH), flat)
    meter.allocate_list(len(flat))
    return flat


def _flatten_into(meter: Meter, items: list[Any], depth: int, flat: list[Any]) -> None:
    meter.work(len(items))
    for item in items:
        if depth and type(item) is list:
            _flatten_into(meter, item, depth - 1, flat)
        else:
            flat.append(item)


def _sort(meter: Meter, value: Any) -> list[Any]:
    return order_by(meter, as_list(value, "sort"), value)


def _distinct(meter: Meter, value: Any) -> list[Any]:
    """Return each element once, where it came first."""
    found: list[Any] = []
    texts: set[str] = set()
    for item in as_list(value, "distinct"):
        if type(item) is str:
            meter.work(1 + (len(item) >> 8))
            if item not in texts:
                texts.add(item)
                found.append(item)
            continue
        meter.work(len(found))
        if not any(equal(meter, item, other) for other in found):
            found.append(item)
    meter.allocate_list(3 * len(found))
    return found


def _sum(meter: Meter, value: Any) -> Any:
    """Add up numbers, or durations; the sum of none is 0."""
    items = as_list(value, "sum")
    meter.work(2 * len(items))
    total: Any = Duration(0) if items and type(items[0]) is Duration else 0
    for item in items:
        if type(item) not in (int, float, Duration):
            raise mismatch("sum", "a list of numbers", item)
        total = add(meter, total, item)
    return total


def _avg(meter: Meter, value: Any) -> float:
    meter.work(len(as_list(value, "avg")))
    items = numbers(value, "avg")
    if not items:
        raise invalid("avg() of an empty list has no value")
    return float(divide(meter, math.fsum(items), len(items)))


def _min(meter: Meter, *values: Any) -> Any:
    return least(meter, _spread(values, "min"), "min")


def _max(meter: Meter, *values: Any) -> Any:
    return greatest(meter, _spread(values, "max"), "max")


def _spread(values: tuple[Any, ...], name: str) -> list[Any]:
    """Return the arguments, or the elements of the one argument."""
    return as_list(values[0], name) if len(values) == 1 else list(values)


def _concat(meter: Meter, value: Any, *others: Any) -> list[Any]:
    joined = [*as_list(value, "concat")]
    for other in others:
        meter.work(1)
        meter.allocate_list(len(as_list(other, "concat")))
        joined += other
    meter.allocate_list(len(value))
    return joined


def _append(meter: Meter, value: Any, item: Any) -> list[Any]:
    meter.allocate_list(len(as_list(value, "append")) + 1)
    return [*value, item]


def _compact(meter: Meter, value: Any) -> list[Any]:
    """Return the elements that are not null."""
    meter.work(len(as_list(value, "compact")) >> 3)
    meter.allocate_list(len(value))
    return [item for item in value if item is not None]


def _chunk(meter: Meter, value: Any, size: Any) -> list[list[Any]]:
    """Return the elements in lists of `size`, the last possibly shorter."""
    size = within(size, 1, 2**63 - 1, "chunk")
    pieces = -(-len(as_list(value, "chunk")) // size)
    meter.work(pieces)
    meter.allocate_list(len(value) + 5 * pieces)
    return [value[start : start + size] for start in range(0, len(value), size)]


def _zip(meter: Meter, value: Any, other: Any) -> list[list[Any]]:
    """Return pairs of the elements at the same places, as many as the shorter list has."""
    length = min(len(as_list(value, "zip")), len(as_list(other, "zip")))
    meter.work(length)
    meter.allocate_list(7 * length)
    return [list(pair) for pair in zip(value, other)]  # noqa: B905 - the shorter one decides


def _range(meter: Meter, first: Any, stop: Any = None, step: Any = 1) -> list[int]:
    """Return the ints from 0, or `first`, up to but without the last argument."""
    begin, end = (0, first) if stop is None else (first, stop)
    as_int(begin, "range"), as_int(end, "range")
    if as_int(step, "range") == 0:
        raise invalid("range() needs a step other than 0")
    span = end - begin if step > 0 else begin - end
    length = max(0, -(-span // abs(step)))
    meter.work(length >> 2)
    meter.allocate_list(3 * length)
    return list(range(begin, end, step))


def _overlap(meter: Meter, value: Any, other: Any, *, name: str) -> tuple[int, int]:
    """Return how many of the elements of `other` are in `value`, and how many there are."""
    found = 0
    for item in as_list(other, name):
        meter.work(2)
        found += _index_of(meter, as_list(value, name), item) >= 0
    return found, len(other)


def _set_contains(meter: Meter, value: Any, other: Any) -> bool:
    found, length = _overlap(meter, value, other, name="sets.contains")
    return found == length


def _set_intersects(meter: Meter, value: Any, other: Any) -> bool:
    return _overlap(meter, value, other, name="sets.intersects")[0] > 0


def _set_equivalent(meter: Meter, value: Any, other: Any) -> bool:
    return _set_contains(meter, value, other) and _set_contains(meter, other, value)


METHODS: Final = {
    "size": Function(_size, 0, 0),
    "contains": Function(_contains, 1, 1),
    "indexOf": Function(_index_of, 1, 2),
    "lastIndexOf": Function(_last_index_of, 1, 2),
    "reverse": Function(_reverse, 0, 0),
    "slice": Function(_slice, 1, 2),
    "take": Function(_take, 1, 1),
    "skip": Function(_skip, 1, 1),
    "first": Function(_first, 0, 0),
    "last": Function(_last, 0, 0),
    "flatten": Function(_flatten, 0, 1),
    "sort": Function(_sort, 0, 0),
    "distinct": Function(_distinct, 0, 0),
    "sum": Function(_sum, 0, 0),
    "avg": Function(_avg, 0, 0),
    "min": Function(_min, 0, 0),
    "max": Function(_max, 0, 0),
    "concat": Function(_concat, 1, MANY),
    "append": Function(_append, 1, 1),
    "compact": Function(_compact, 0, 0),
    "chunk": Function(_chunk, 1, 1),
    "zip": Function(_zip, 1, 1),
}
FUNCTIONS: Final = {
    "size": Function(_size, 1, 1),
    "min": Function(_min, 1, MANY),
    "max": Function(_max, 1, MANY),
    "sum": Function(_sum, 1, 1),
    "avg": Function(_avg, 1, 1),
    "range": Function(_range, 1, 3),
    "lists.range": Function(_range, 1, 3),
    "sets.contains": Function(_set_contains, 2, 2),
    "sets.intersects": Function(_set_intersects, 2, 2),
    "sets.equivalent": Function(_set_equivalent, 2, 2),
}
