"""Functions of timestamps and durations. There is no ``now()``: the same input gives the same output.

Source: cel-spec doc/langdef.md (Date/time functions); the directives of ``format`` are strftime's.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from user_workflows.expressions.budget import Meter
from user_workflows.expressions.errors import EvaluationError
from user_workflows.expressions.functions import strings
from user_workflows.expressions.functions.arguments import as_text, invalid, mismatch
from user_workflows.expressions.functions.formatting import format_text
from user_workflows.expressions.functions.function import Function
from user_workflows.expressions.times import SECOND, Duration, Timestamp, find_zone, from_local

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
#: what finding a zone and converting to it weighs, in steps
_ZONE_WORK = 20
#: what looking in vain for one weighs
_NO_ZONE_WORK = 500


def _local(meter: Meter, value: Timestamp, zone: Any, name: str) -> datetime:
    meter.work(_ZONE_WORK)
    try:
        return value.local(None if zone is None else as_text(zone, name))
    except EvaluationError:
        meter.work(_NO_ZONE_WORK)
        raise


def _part(name: str, of_time: Callable[[datetime], int], of_duration: int | None = None) -> Function:
    def call(meter: Meter, value: Any, zone: Any = None) -> int:
        if type(value) is Timestamp:
            return of_time(_local(meter, value, zone, name))
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


_DIRECTIVES: Final[dict[str, Callable[[datetime, int], str]]] = {
    "Y": lambda moment, _: f"{moment.year:04d}",
    "y": lambda moment, _: f"{moment.year % 100:02d}",
    "m": lambda moment, _: f"{moment.month:02d}",
    "d": lambda moment, _: f"{moment.day:02d}",
    "e": lambda moment, _: str(moment.day),
    "j": lambda moment, _: f"{moment.timetuple().tm_yday:03d}",
    "H": lambda moment, _: f"{moment.hour:02d}",
    "I": lambda moment, _: f"{(moment.hour + 11) % 12 + 1:02d}",
    "M": lambda moment, _: f"{moment.minute:02d}",
    "S": lambda moment, _: f"{moment.second:02d}",
    "L": lambda _, rest: f"{rest // 1_000_000:03d}",
    "f": lambda _, rest: f"{rest // 1_000:06d}",
    "p": lambda moment, _: "AM" if moment.hour < 12 else "PM",
    "A": lambda moment, _: _DAYS[moment.weekday()],
    "a": lambda moment, _: _DAYS[moment.weekday()][:3],
    "B": lambda moment, _: _MONTHS[moment.month - 1],
    "b": lambda moment, _: _MONTHS[moment.month - 1][:3],
    "u": lambda moment, _: str(moment.isoweekday()),
    "V": lambda moment, _: f"{moment.isocalendar().week:02d}",
    "G": lambda moment, _: f"{moment.isocalendar().year:04d}",
    "F": lambda moment, _: f"{moment.year:04d}-{moment.month:02d}-{moment.day:02d}",
    "T": lambda moment, _: f"{moment.hour:02d}:{moment.minute:02d}:{moment.second:02d}",
    "z": lambda moment, _: _offset(moment),
    "Z": lambda moment, _: moment.tzname() or "",
    "s": lambda moment, _: str((moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)),
    "%": lambda _moment, _rest: "%",
}


def _offset(moment: datetime) -> str:
    seconds = int((moment.utcoffset() or timedelta()).total_seconds())
    return f"{'-' if seconds < 0 else '+'}{abs(seconds) // 3600:02d}:{abs(seconds) // 60 % 60:02d}"


def _format_time(meter: Meter, value: Timestamp, pattern: Any, zone: Any) -> str:
    moment = _local(meter, value, zone, "format")
    rest = value.nanoseconds % SECOND

    def replace(match: re.Match[str]) -> str:
        directive = _DIRECTIVES.get(match[1])
        if directive is None:
            raise invalid(f"format(): there is no directive %{match[1]}; there are {' '.join(_DIRECTIVES)}")
        meter.work(4)
        meter.allocate(40)
        return directive(moment, rest)

    return strings.made(meter, re.sub(r"%(.?)", replace, as_text(pattern, "format"), flags=re.DOTALL))


def _format(meter: Meter, value: Any, pattern: Any, zone: Any = None) -> str:
    """Format a timestamp by strftime's directives, or the values of a list by the clauses of a string."""
    if type(value) is Timestamp:
        return _format_time(meter, value, pattern, zone)
    if zone is not None:
        raise mismatch("format", "a timestamp", value)
    return format_text(meter, value, pattern)


_READERS: Final = {
    "Y": r"(?P<Y>[0-9]{4})", "y": r"(?P<y>[0-9]{2})", "m": r"(?P<m>[0-9]{1,2})", "d": r"(?P<d>[0-9]{1,2})",
    "e": r"(?P<d>[0-9]{1,2})", "H": r"(?P<H>[0-9]{1,2})", "I": r"(?P<I>[0-9]{1,2})", "M": r"(?P<M>[0-9]{1,2})",
    "S": r"(?P<S>[0-9]{1,2})", "f": r"(?P<f>[0-9]{1,9})", "L": r"(?P<f>[0-9]{3})", "p": r"(?P<p>[AaPp][Mm])",
    "b": r"(?P<b>[A-Za-z]{3,9})", "B": r"(?P<b>[A-Za-z]{3,9})", "a": r"[A-Za-z]{3}", "A": r"[A-Za-z]{6,9}",
    "z": r"(?P<z>Z|[+-][0-9]{2}:?[0-9]{2})", "F": r"(?P<Y>[0-9]{4})-(?P<m>[0-9]{2})-(?P<d>[0-9]{2})",
    "T": r"(?P<H>[0-9]{2}):(?P<M>[0-9]{2}):(?P<S>[0-9]{2})", "%": "%",
}  # fmt: skip
_MONTH_NUMBERS: Final = {name[:3].lower(): number for number, name in enumerate(_MONTHS, 1)}


def _parse(meter: Meter, text: Any, pattern: Any, zone: Any = None) -> Timestamp:
    """Read a timestamp by strptime's directives; without ``%z`` the time is in `zone`, UTC by default."""
    as_text(text, "timestamp.parse"), as_text(pattern, "timestamp.parse")
    meter.work(150)
    if len(pattern) > 100 or len(text) > 200:
        raise invalid("timestamp.parse(): the text or its pattern is too long")
    form = ""
    for literal, directive in re.findall(r"([^%]*)(%.?)?", pattern, re.DOTALL):
        form += re.escape(literal)
        if directive:
            reader = _READERS.get(directive[1:])
            if reader is None:
                raise invalid(f"timestamp.parse(): there is no directive {directive}; there are {' '.join(_READERS)}")
            form += reader
    try:
        match = re.fullmatch(form, text)
    except re.error:
        raise invalid("timestamp.parse(): the pattern names one field twice") from None
    if match is None:
        raise invalid("timestamp.parse(): the text does not have the form of the pattern")
    fields = match.groupdict()
    try:
        moment = _assemble(fields)
    except ValueError:
        raise invalid("timestamp.parse(): the text names a date or time that does not exist") from None
    offset = fields.get("z")
    if offset:
        place = find_zone("UTC" if offset == "Z" else offset if ":" in offset else f"{offset[:3]}:{offset[3:]}")
    else:
        place = find_zone("UTC" if zone is None else as_text(zone, "timestamp.parse"))
    try:
        return from_local(moment.replace(tzinfo=place).astimezone(UTC))
    except OverflowError:
        raise EvaluationError("the timestamp falls outside the years 1 to 9999", reason="overflow") from None


def _assemble(fields: dict[str, Any]) -> datetime:
    year = int(fields["Y"]) if fields.get("Y") else 2000 + int(fields["y"]) if fields.get("y") else 1970
    month = _MONTH_NUMBERS.get(fields["b"][:3].lower(), 0) if fields.get("b") else int(fields.get("m") or 1)
    hour = int(fields.get("H") or 0)
    if fields.get("I"):
        hour = int(fields["I"]) % 12 + (12 if (fields.get("p") or "am").lower() == "pm" else 0)
    return datetime(
        year,
        month,
        int(fields.get("d") or 1),
        hour,
        int(fields.get("M") or 0),
        int(fields.get("S") or 0),
        int((fields.get("f") or "0").ljust(6, "0")[:6]),
    )


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
FUNCTIONS: Final = {"timestamp.parse": Function(_parse, 2, 3)}
