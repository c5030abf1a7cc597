"""Functions of timestamps and durations. There is no ``now()``: the same input gives the same output.

Source: cel-spec doc/langdef.md (Date/time functions); the directives of ``format`` are strftime's.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from user_workflows.expressions.budget import Meter
from user_workflows.expressions.functions.arguments import mismatch
from user_workflows.expressions.functions.formatting import format_text
from user_workflows.expressions.functions.function import Function
from user_workflows.expressions.functions.time_text import format_time, local_time, parse_time
from user_workflows.expressions.times import SECOND, Duration, Timestamp


def _part(name: str, of_time: Callable[[datetime], int], of_duration: int | None = None) -> Function:
    def call(meter: Meter, value: Any, zone: Any = None) -> int:
        if type(value) is Timestamp:
            return of_time(local_time(meter, value, zone, name))
        if type(value) is Duration and of_duration and zone is None:
            whole = abs(value.nanoseconds) // of_duration
            return -whole if value.nanoseconds < 0 else whole
        raise mismatch(name, "a timestamp or duration" if of_duration else "a timestamp", value)

    return Function(call, 0, 1)


def _milliseconds(meter: Meter, value: Any, zone: Any = None) -> int:
    """Return the milliseconds within the second, of a duration too."""
    if type(value) not in (Timestamp, Duration):
        raise mismatch("getMilliseconds", "a timestamp or duration", value)
    if type(value) is Duration and value.nanoseconds < 0:
        return -(-value.nanoseconds % SECOND // 1_000_000)
    return int(value.nanoseconds % SECOND // 1_000_000)


def _format(meter: Meter, value: Any, pattern: Any, zone: Any = None) -> str:
    """Format a timestamp by strftime's directives, or the values of a list by the clauses of a string."""
    if type(value) is Timestamp:
        return format_time(meter, value, pattern, zone)
    if zone is not None:
        raise mismatch("format", "a timestamp", value)
    return format_text(meter, value, pattern)


METHODS: Final = {
    "getFullYear": _part("getFullYear", lambda moment: moment.year),
    "getMonth": _part("getMonth", lambda moment: moment.month - 1),
    "getDate": _part("getDate", lambda moment: moment.day),
    "getDayOfMonth": _part("getDayOfMonth", lambda moment: moment.day - 1),
    "getDayOfWeek": _part("getDayOfWeek", lambda moment: moment.isoweekday() % 7),
    "getDayOfYear": _part("getDayOfYear", lambda moment: moment.timetuple().tm_yday - 1),
    "getHours": _part("getHours", lambda moment: moment.hour, 3_600 * SECOND),
    "getMinutes": _part("getMinutes", lambda moment: moment.minute, 60 * SECOND),
    "getSeconds": _part("getSeconds", lambda moment: moment.second, SECOND),
    "getMilliseconds": Function(_milliseconds, 0, 1),
    "format": Function(_format, 1, 2),
}
FUNCTIONS: Final = {"timestamp.parse": Function(parse_time, 2, 3)}
