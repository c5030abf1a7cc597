"""When a schedule fires. Everything here follows from its arguments, so that all schedulers come to the same."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from msgspec import Struct
from ulid import ULID

from internal_jobs.cron import cron_fault, cron_firings, is_timezone, timezones
from internal_jobs.errors import InvalidSchedule
from internal_jobs.schedules.model import ScheduleRequest
from plugins.sdk.duration import parse_duration

#: However short `catchUp` is, a firing may be so late: schedulers look once a second, and a deployment takes a while.
GRACE = timedelta(seconds=10)
#: Firings that are made up for at most after an outage, and the longest outage that they may lie back.
MOST_MADE_UP = 1_000
LONGEST_CATCH_UP = timedelta(days=30)
#: Firings that one transaction decides about.
BATCH = 100

_SHORTEST, _LONGEST = timedelta(seconds=1), timedelta(days=366)


class Timing(Struct, frozen=True, kw_only=True):
    """The parsed times of one schedule."""

    schedule_id: str
    #: the zero of `every`
    anchor: datetime
    cron: str | None
    every: timedelta
    timezone: str
    jitter: timedelta
    catch_up: timedelta
    #: make up for all that are late, or for the latest alone
    makes_up_all: bool

    def firings(self, after: datetime) -> Iterator[datetime]:
        """Yield the nominal times after a moment."""
        if self.cron is not None:
            yield from cron_firings(self.cron, self.timezone, after)
            return
        rounds = max((after - self.anchor) // self.every + 1, 0)
        while True:
            yield self.anchor + rounds * self.every
            rounds += 1

    def due(self, nominal: datetime) -> datetime:
        """Return when a firing happens: its nominal time, and its own part of the jitter."""
        digest = sha256(f"{self.schedule_id}\0{nominal.isoformat()}".encode()).digest()
        return nominal + self.jitter * (int.from_bytes(digest[:6]) / 2**48)


class Outlook(Struct, frozen=True, kw_only=True):
    """What is to be decided about one schedule now."""

    #: nominal times that fire
    firing: tuple[datetime, ...]
    #: the first of those that are too late
    missed: datetime | None
    #: the nominal time that comes next; ``None``: none ever
    following: datetime | None


def look(timing: Timing, nominal: datetime, present: datetime) -> Outlook:
    """Return what a schedule whose firing of `nominal` is undecided has come to at `present`."""
    horizon = present - max(timing.catch_up, GRACE) - timing.jitter
    if timing.cron is None:
        horizon = max(horizon, present - MOST_MADE_UP * timing.every)
    first = nominal
    coming: datetime | None = nominal
    times = timing.firings(nominal)
    if timing.due(nominal) < horizon:
        times = timing.firings(horizon - timing.jitter - timedelta(microseconds=1))
        coming = next((time for time in times if time > nominal and timing.due(time) >= horizon), None)
    missed = first if coming != first else None
    late: list[datetime] = []
    while coming is not None and timing.due(coming) <= present:
        if timing.makes_up_all and len(late) == BATCH:
            break
        late.append(coming)
        coming = next(times, None)
    if not timing.makes_up_all and len(late) > 1:
        missed = missed or late[0]
        late = late[-1:]
    return Outlook(firing=tuple(late), missed=missed, following=coming)


def firing_id(schedule_id: str, nominal: datetime) -> str:
    """Return the id of a firing, which sorts by time: the same from whoever decides about it."""
    digest = sha256(f"firing\0{schedule_id}\0{nominal.isoformat()}".encode()).digest()
    return f"fir_{str(ULID(int(nominal.timestamp() * 1000).to_bytes(6) + digest[:10])).lower()}"


def timing_of(schedule_id: str, anchor: datetime, spec: ScheduleRequest) -> Timing:
    """Return the times of a schedule.

    Raises:
        InvalidSchedule: they cannot be kept.
    """
    if (spec.cron is None) == (spec.every is None):
        raise InvalidSchedule("/cron", "or /every says when it fires: give one of them")
    if spec.cron is not None and (fault := cron_fault(spec.cron)):
        raise InvalidSchedule("/cron", fault)
    if spec.cron is not None and spec.start_at is not None:
        raise InvalidSchedule("/startAt", "belongs to /every; a cron expression says by itself when it fires")
    if not is_timezone(spec.timezone):
        near = next((name for name in timezones() if name.lower() == spec.timezone.lower()), "America/New_York")
        raise InvalidSchedule("/timezone", f"is not in the IANA database; a name looks like {near!r}")
    every = _LONGEST if spec.every is None else _span("/every", spec.every, _SHORTEST, _LONGEST)
    jitter = _span("/jitter", spec.jitter, timedelta(), timedelta(days=1))
    if jitter >= every:
        raise InvalidSchedule("/jitter", f"must be shorter than /every ({spec.every})")
    return Timing(
        schedule_id=schedule_id,
        anchor=(spec.start_at or anchor).astimezone(UTC),
        cron=spec.cron,
        every=every,
        timezone=spec.timezone,
        jitter=jitter,
        catch_up=_span("/catchUp", spec.catch_up, timedelta(), LONGEST_CATCH_UP),
        makes_up_all=spec.missed == "all",
    )


def _span(pointer: str, text: str, least: timedelta, most: timedelta) -> timedelta:
    span = timedelta(seconds=min(parse_duration(text), most.total_seconds() + 1))
    if not least <= span <= most:
        raise InvalidSchedule(pointer, f"must be from {least.total_seconds():g}s to {most.days}d")
    return span
