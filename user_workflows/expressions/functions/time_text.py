"""Timestamps to and from text by the directives of strftime and strptime.

The names of days and months are English whatever the system's locale.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import re2

from user_workflows.expressions.budget import Meter
from user_workflows.expressions.errors import EvaluationError
from user_workflows.expressions.functions.arguments import as_text, invalid
from user_workflows.expressions.functions.strings import made
from user_workflows.expressions.times import SECOND, Timestamp, find_zone, from_local

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_MONTH_NUMBERS: Final = {name[:3].lower(): number for number, name in enumerate(_MONTHS, 1)}
#: what finding a zone and converting to it weighs, in steps
_ZONE_WORK = 20
#: what looking in vain for one weighs
_NO_ZONE_WORK = 500
#: what reading a time weighs, and compiling a pattern for it
_READ_WORK = 120
_PATTERN_WORK = 300
#: characters
_MAX_PATTERN = 100
_MAX_TEXT = 200

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
    "s": lambda moment, _: str(from_local(moment).nanoseconds // SECOND),
    "%": lambda _moment, _rest: "%",
}


def _offset(moment: datetime) -> str:
    seconds = int((moment.utcoffset() or timedelta()).total_seconds())
    return f"{'-' if seconds < 0 else '+'}{abs(seconds) // 3600:02d}:{abs(seconds) // 60 % 60:02d}"


def local_time(meter: Meter, value: Timestamp, zone: Any, name: str) -> datetime:
    """Return the date and time of day in `zone`, UTC where it is null."""
    meter.work(_ZONE_WORK)
    try:
        return value.local(None if zone is None else as_text(zone, name))
    except EvaluationError:
        meter.work(_NO_ZONE_WORK)
        raise


def format_time(meter: Meter, value: Timestamp, pattern: Any, zone: Any) -> str:
    """Return `value` as `pattern` says, e.g. ``%Y-%m-%d %H:%M``."""
    moment = local_time(meter, value, zone, "format")
    rest = value.nanoseconds % SECOND

    def replace(match: re.Match[str]) -> str:
        directive = _DIRECTIVES.get(match[1])
        if directive is None:
            raise invalid(f"format(): there is no directive %{match[1]}; there are {' '.join(_DIRECTIVES)}")
        meter.work(4)
        meter.allocate(40)
        return directive(moment, rest)

    return made(meter, re.sub(r"%(.?)", replace, as_text(pattern, "format"), flags=re.DOTALL))


_READERS: Final = {
    "Y": r"(?P<Y>[0-9]{4})", "y": r"(?P<y>[0-9]{2})", "m": r"(?P<m>[0-9]{1,2})", "d": r"(?P<d>[0-9]{1,2})",
    "e": r"(?P<d>[0-9]{1,2})", "H": r"(?P<H>[0-9]{1,2})", "I": r"(?P<I>[0-9]{1,2})", "M": r"(?P<M>[0-9]{1,2})",
    "S": r"(?P<S>[0-9]{1,2})", "f": r"(?P<f>[0-9]{1,9})", "L": r"(?P<f>[0-9]{3})", "p": r"(?P<p>[AaPp][Mm])",
    "b": r"(?P<b>[A-Za-z]{3,9})", "B": r"(?P<b>[A-Za-z]{3,9})", "a": r"[A-Za-z]{3}", "A": r"[A-Za-z]{6,9}",
    "z": r"(?P<z>Z|[+-][0-9]{2}:?[0-9]{2})", "F": r"(?P<Y>[0-9]{4})-(?P<m>[0-9]{2})-(?P<d>[0-9]{2})",
    "T": r"(?P<H>[0-9]{2}):(?P<M>[0-9]{2}):(?P<S>[0-9]{2})", "%": "%",
}  # fmt: skip


def parse_time(meter: Meter, text: Any, pattern: Any, zone: Any = None) -> Timestamp:
    """Read a timestamp as `pattern` says; without ``%z`` in it the time is in `zone`, UTC by default."""
    as_text(text, "timestamp.parse"), as_text(pattern, "timestamp.parse")
    meter.work(_READ_WORK)
    if len(pattern) > _MAX_PATTERN or len(text) > _MAX_TEXT:
        raise invalid("timestamp.parse(): the text or its pattern is too long")
    try:
        match = _reader(meter, pattern).fullmatch(text)
    except UnicodeEncodeError:
        match = None
    if match is None:
        raise invalid("timestamp.parse(): the text does not have the form of the pattern")
    fields = match.groupdict()
    offset = fields.get("z")
    if offset:
        zone = "UTC" if offset == "Z" else offset if ":" in offset else f"{offset[:3]}:{offset[3:]}"
    try:
        place = find_zone("UTC" if zone is None else as_text(zone, "timestamp.parse"))
    except EvaluationError:
        meter.work(_NO_ZONE_WORK)
        raise
    try:
        return from_local(_assemble(fields).replace(tzinfo=place).astimezone(UTC))
    except ValueError:
        raise invalid("timestamp.parse(): the text names a date or time that does not exist") from None
    except OverflowError:
        raise EvaluationError("the timestamp falls outside the years 1 to 9999", reason="overflow") from None


def _reader(meter: Meter, pattern: str) -> Any:
    """Return the regular expression that reads what `pattern` writes; RE2's, as the pattern is the user's."""
    key = (f"%{pattern}", True)
    if key in meter.patterns:
        return meter.patterns[key]
    meter.work(_PATTERN_WORK)
    form = ""
    for literal, directive in re.findall(r"([^%]*)(%.?)?", pattern, re.DOTALL):
        form += re2.escape(literal)
        if directive:
            if directive[1:] not in _READERS:
                raise invalid(f"timestamp.parse(): there is no directive {directive}; there are {' '.join(_READERS)}")
            form += _READERS[directive[1:]]
    fields = re.findall(r"\(\?P<(.)>", form)
    if len(set(fields)) < len(fields):
        raise invalid("timestamp.parse(): the pattern names one field twice")
    options = re2.Options()
    options.log_errors = False
    try:
        meter.patterns[key] = re2.compile(form, options)
    except (re2.error, UnicodeEncodeError):
        raise invalid("timestamp.parse(): the pattern cannot be read") from None
    return meter.patterns[key]


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
