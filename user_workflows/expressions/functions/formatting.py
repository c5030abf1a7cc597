"""``"%s: %.2f".format([name, price])``. Source: cel-go's strings extension, Format."""

import math
import re
from typing import Any

from user_workflows.expressions.budget import CONTAINER, MAX_VALUE_DEPTH, Meter, weight
from user_workflows.expressions.errors import EvaluationError, OutputTooLarge
from user_workflows.expressions.functions.arguments import as_list, as_text, invalid
from user_workflows.expressions.text import double_text
from user_workflows.expressions.times import Duration, Timestamp
from user_workflows.expressions.values import Type, from_key, type_name

_CLAUSE = re.compile(r"%(?:%|(?:\.([0-9]{1,4}))?([a-zA-Z]))|%")
_MAX_PRECISION = 100


def format_text(meter: Meter, text: Any, values: Any) -> str:
    """Return `text` with its clauses ``%s %d %f %e %b %o %x %X`` replaced by `values` in turn."""
    as_list(values, "format")
    left = iter(values)
    meter.work(len(as_text(text, "format")) >> 4)

    def replace(match: re.Match[str]) -> str:
        meter.work(2)
        if match[0] == "%%":
            return "%"
        precision, clause = match.groups()
        if clause is None:
            raise invalid("format(): a clause is %s, %d, %f, %e, %b, %o, %x or %X; write %% for a percent sign")
        if precision and (clause not in "fe" or int(precision) > _MAX_PRECISION):
            raise invalid(f"format(): a precision is for %f and %e, and at most {_MAX_PRECISION}")
        try:
            value = next(left)
        except StopIteration:
            raise invalid("format(): there are more clauses than values") from None
        replaced = _clause(meter, clause, int(precision) if precision else 6, value)
        meter.allocate_text(replaced)
        return replaced

    meter.allocate(CONTAINER + weight(text))
    return _CLAUSE.sub(replace, text)


def _clause(meter: Meter, clause: str, precision: int, value: Any) -> str:  # noqa: PLR0911 - one line a clause
    kind = type(value)
    match clause:
        case "s":
            pieces: list[str] = []
            _show(meter, value, pieces, 0)
            return "".join(pieces)
        case "d" if kind is int:
            return str(value)
        case "d" if kind is float and not math.isfinite(value):
            return double_text(value)
        case "f" | "e" if kind in (int, float):
            return f"{float(value):.{precision}{clause}}" if math.isfinite(value) else double_text(float(value))
        case "b" if kind in (int, bool):
            return f"{int(value):b}"
        case "o" if kind is int:
            return f"{value:o}"
        case "x" | "X" if kind is int:
            return format(int(value), clause)
        case "x" | "X" if kind is str:
            meter.work(len(value) >> 4)
            digits: str = value.encode("utf-8", "surrogatepass").hex()
            return digits.upper() if clause == "X" else digits
    if clause not in "sdfeboxX":
        raise invalid(f"format(): there is no clause %{clause}")
    raise EvaluationError(f"format(): %{clause} does not take {type_name(value)}")


def _show(meter: Meter, value: Any, pieces: list[str], depth: int) -> None:
    """Append what ``%s`` writes for `value`; the keys of a map come sorted by their text."""
    if depth > MAX_VALUE_DEPTH:
        raise OutputTooLarge(f"the value is nested more than {MAX_VALUE_DEPTH} levels deep")
    meter.work(1)
    kind = type(value)
    if kind is list:
        pieces.append("[")
        for number, item in enumerate(value):
            if number:
                pieces.append(", ")
            _show(meter, item, pieces, depth + 1)
        pieces.append("]")
    elif kind is dict:
        pieces.append("{")
        meter.work(len(value) * 4)
        named = sorted(((_scalar(from_key(key)), item) for key, item in value.items()), key=lambda entry: entry[0])
        for number, (name, item) in enumerate(named):
            pieces.append(f"{', ' if number else ''}{name}: ")
            meter.allocate_text(name)
            _show(meter, item, pieces, depth + 1)
        pieces.append("}")
    else:
        shown = _scalar(value)
        meter.allocate_text(shown)
        pieces.append(shown)


def _scalar(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]  # just checked
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is float:
        return double_text(value)
    if kind in (int, Timestamp, Duration):
        return str(value)
    if kind is Type:
        return str(value.name)
    raise EvaluationError(f"format(): %s does not take {type_name(value)}")
