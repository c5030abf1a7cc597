"""What the config of each type of trigger may hold."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from internal_jobs.cron import cron_firings
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
    return next(cron_firings(config.cron, config.timezone, now()), None)
