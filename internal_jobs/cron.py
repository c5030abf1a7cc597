"""Cron expressions, for chores and for users' workflows alike: five fields, read as crontab(5) reads them.

At a change of the clocks they follow Debian's cron: what falls into a skipped hour fires right after it, what falls
into a repeated hour fires once; an expression with a star for its hour or minute goes by the time that passes.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from plugins.storage.database import now


def cron_fault(cron: str) -> str | None:
    """Return what is wrong with a cron expression, to be read after its key; ``None``: nothing."""
    fields = cron.split()
    if len(fields) != 5:
        return (
            f"must have five fields (minute, hour, day of month, month, day of week), like "
            f'"0 9 * * MON-FRI", not {len(fields)}'
        )
    # The libraries that read such strings disagree on what these mean; a schedule must not.
    for sign in "L#W?":
        if any(sign in _without_names(field) for field in fields):
            return f'must not use "{sign}"'
    try:
        next(CronSim(cron, now()))
    except CronSimError as error:
        return f"is not a cron expression: {str(error).lower()}"
    except StopIteration:
        return "never fires: no such date comes"
    return None


def cron_firings(cron: str, timezone: str, after: datetime) -> Iterator[datetime]:
    """Yield when a valid expression fires after a moment, in UTC, each once."""
    for moment in CronSim(cron, after.astimezone(ZoneInfo(timezone))):
        # In a repeated hour the wall clock alone does not tell whether its time is over.
        if (firing := moment.astimezone(UTC)) > after:
            yield firing


def is_timezone(name: str) -> bool:
    """Return whether `name` is in the IANA database of this machine."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


@cache
def timezones() -> list[str]:
    """Return every IANA name there is, for suggestions."""
    return sorted(available_timezones())


def _without_names(field: str) -> str:
    text = field.upper()
    for name in ("WED", "JUL"):
        text = text.replace(name, "")
    return text
