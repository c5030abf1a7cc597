"""What the config of each type of trigger may hold."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError
from msgspec import Meta, Struct

from plugins.host.retry import Duration
from plugins.signing import HeaderName
from plugins.storage.database import now


class Config(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """What the user sets on a trigger. Literal: there is nothing yet that an expression could read."""


class ManualConfig(Config, frozen=True, kw_only=True):
    pass


class CronConfig(Config, frozen=True, kw_only=True):
    #: five fields: minute, hour, day of month, month, day of week
    cron: str
    #: an IANA name, e.g. ``America/New_York``
    timezone: str = "UTC"
    #: what happens to a firing while the execution of the one before still runs
    overlap: Literal["skip", "allow"] = "skip"
    #: how late a firing may still start an execution, after an outage
    catch_up: Duration = "10m"
    #: added to what expressions see as ``trigger``
    payload: dict[str, Any] = {}


class WebhookConfig(Config, frozen=True, kw_only=True):
    #: the id of a ``signing`` credential; required, but by a check of its own with a message of its own
    secret: str | None = None
    scheme: Literal["standard", "stripe", "github", "slack", "shopify", "hmac"] = "standard"
    methods: Annotated[tuple[Literal["GET", "POST", "PUT", "PATCH", "DELETE"], ...], Meta(min_length=1)] = ("POST",)
    #: answer at once with the execution's id, or with what a `respond` node gives
    respond: Literal["now", "workflow"] = "now"
    #: ``hmac`` only, as `plugins.signing.Hmac` reads them
    header: HeaderName = "X-Signature"
    algorithm: Literal["sha256", "sha1", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: Annotated[str, Meta(max_length=32)] = ""
    timestamp_header: HeaderName | None = None
    id_header: HeaderName | None = None


#: the keys of `WebhookConfig` that belong to ``hmac``
HMAC_OPTIONS = frozenset({"header", "algorithm", "encoding", "prefix", "timestampHeader", "idHeader"})


class EventConfig(Config, frozen=True, kw_only=True):
    #: the CloudEvent's ``type``
    event_type: Annotated[str, Meta(min_length=1)]
    source: str | None = None
    #: an expression over ``trigger``
    filter: Annotated[str, Meta(extra_json_schema={"format": "expression"})] | None = None


CONFIGS: Mapping[str, type[Config]] = {
    "manual": ManualConfig,
    "cron": CronConfig,
    "webhook": WebhookConfig,
    "event": EventConfig,
}


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


def crontab(config: CronConfig) -> list[str]:
    """Return what fires at the times of a valid cron trigger, for an engine that takes each field as a condition.

    In crontab(5), and here, a day fits when it is one of the days of the month *or* of the week, where both are given.
    """
    minute, hour, day, month, weekday = config.cron.upper().split()
    if day.startswith("*") or weekday.startswith("*"):
        return [f"{minute} {hour} {day} {month} {weekday}"]
    return [f"{minute} {hour} {day} {month} *", f"{minute} {hour} * {month} {weekday}"]


def next_firing(config: CronConfig) -> datetime | None:
    """Return when a valid cron trigger fires next, in UTC."""
    moment = next(CronSim(config.cron, now().astimezone(ZoneInfo(config.timezone))), None)
    return None if moment is None else moment.astimezone(UTC)


def _without_names(field: str) -> str:
    text = field.upper()
    for name in ("WED", "JUL"):
        text = text.replace(name, "")
    return text
