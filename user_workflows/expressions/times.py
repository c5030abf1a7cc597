"""Timestamps and durations: nanoseconds in 64 bits' worth of range, as in CEL.

Source: cel-spec doc/langdef.md (Timestamp, Duration); RFC 3339; Go's duration strings.
"""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from msgspec import Struct

from user_workflows.expressions.errors import EvaluationError

SECOND = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = -62_135_596_800 * SECOND
_LAST = 253_402_300_800 * SECOND - 1
_LONGEST = 2**63 - 1

_TIMESTAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h|d)", re.ASCII)
_UNITS = {
    "ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000,
    "s": SECOND, "m": 60 * SECOND, "h": 3_600 * SECOND, "d": 86_400 * SECOND,
}  # fmt: skip
_OFFSET = re.compile(r"([+-]?)(\d\d):(\d\d)", re.ASCII)
_ZONE = re.compile(r"(?!posix/|right/|localtime$|posixrules$)[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*", re.ASCII)


class Timestamp(Struct, frozen=True, order=True):
    #: since 1970-01-01T00:00:00Z
    nanoseconds: int

    def __str__(self) -> str:
        seconds, rest = divmod(self.nanoseconds, SECOND)
        moment = _EPOCH + timedelta(seconds=seconds)
        return f"{moment.isoformat()[:19]}{_fraction(rest)}Z"

    def local(self, zone: str | None) -> datetime:
        """Return the date and time of day, without fractions of a second, in `zone` (UTC by default)."""
        moment = _EPOCH + timedelta(seconds=self.nanoseconds // SECOND)
        if zone is None:
            return moment
        try:
            return moment.astimezone(find_zone(zone))
        except OverflowError:
            raise EvaluationError("the time falls outside the years 1 to 9999", reason="overflow") from None


class Duration(Struct, frozen=True, order=True):
    nanoseconds: int

    def __str__(self) -> str:
        seconds, rest = divmod(abs(self.nanoseconds), SECOND)
        return f"{'-' if self.nanoseconds < 0 else ''}{seconds}{_fraction(rest)}s"


def _fraction(nanoseconds: int) -> str:
    return f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""


def timestamp_of(nanoseconds: int) -> Timestamp:
    """Return the timestamp; raises EvaluationError outside the years 1 to 9999."""
    if not _FIRST <= nanoseconds <= _LAST:
        raise EvaluationError("the timestamp falls outside the years 1 to 9999", reason="overflow")
    return Timestamp(nanoseconds)


def duration_of(nanoseconds: int) -> Duration:
    """Return the duration; raises EvaluationError beyond about 292 years."""
    if abs(nanoseconds) > _LONGEST:
        raise EvaluationError("the duration is longer than 292 years", reason="overflow")
    return Duration(nanoseconds)


def parse_timestamp(text: str) -> Timestamp:
    """Return the timestamp written in RFC 3339, e.g. ``2026-05-01T09:00:00Z``; raises EvaluationError."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise EvaluationError(
            "the string is no timestamp; write RFC 3339, like 2026-05-01T09:00:00Z", reason="invalidArgument"
        )
    *fields, fraction, zone = match.groups()
    try:
        moment = datetime(*(int(field) for field in fields), tzinfo=UTC)  # type: ignore[arg-type, misc]  # six ints
    except ValueError:
        raise EvaluationError("the string names a date or time that does not exist", reason="invalidArgument") from None
    offset = 0 if zone == "Z" else int(_fixed_offset(zone).total_seconds())
    return timestamp_of((_seconds(moment) - offset) * SECOND + int((fraction or "").ljust(9, "0")))


def from_local(moment: datetime) -> Timestamp:
    """Return the timestamp of an aware date and time."""
    return timestamp_of(_seconds(moment) * SECOND + moment.microsecond * 1_000)


def _seconds(moment: datetime) -> int:
    return (moment.replace(microsecond=0) - _EPOCH) // timedelta(seconds=1)


def parse_duration(text: str) -> Duration:
    """Return the duration written as in ``1h30m``, ``-2.5s``, ``7d``; raises EvaluationError."""
    body = text[1:] if text[:1] in ("-", "+") else text
    total, position = 0, 0
    while len(text) <= 100 and (match := _PART.match(body, position)):
        whole, _, fraction = match[1].partition(".")
        unit = _UNITS[match[2]]
        total += int(whole or 0) * unit + int(fraction or 0) * unit // 10 ** len(fraction)
        position = match.end()
    if body != "0" and (not position or position < len(body)):
        raise EvaluationError(
            "the string is no duration; write numbers with ns, us, ms, s, m, h or d, like 1h30m",
            reason="invalidArgument",
        )
    return duration_of(-total if text.startswith("-") else total)


def find_zone(name: str) -> tzinfo:
    """Return the zone of an IANA name or a fixed offset like ``+02:00``; raises EvaluationError."""
    if name in ("UTC", "Z", ""):
        return UTC
    if _OFFSET.fullmatch(name):
        return timezone(_fixed_offset(name))
    try:
        if len(name) <= 64 and _ZONE.fullmatch(name):
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass
    raise EvaluationError(
        "there is no such time zone; write one like Europe/Berlin or +02:00", reason="invalidArgument"
    )


def _fixed_offset(text: str) -> timedelta:
    match = _OFFSET.fullmatch(text)
    if match is None or int(match[2]) > 23 or int(match[3]) > 59:
        raise EvaluationError("the offset from UTC is no time of day", reason="invalidArgument")
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return -offset if match[1] == "-" else offset
