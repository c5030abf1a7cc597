"""A schedule: a job that is made again and again, as it is asked for and as it is shown.

Its words are those of a workflow's cron trigger, as far as both have the same thing.
"""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from internal_jobs.jobs import JobRequest
from plugins.host.retry import Duration

#: skip     while the job of an earlier firing is open, a firing makes none
#: allow    jobs may run beside one another
#: queue    a firing waits until the job before it is closed
#: replace  the job before it is cancelled, and the firing waits until it has stopped
Overlap = Literal["skip", "allow", "queue", "replace"]

#: waiting   for the job of an earlier firing
#: started   made a job
#: skipped   made none, because of an earlier one
#: replaced  made none, because a later firing came while it waited
#: missed    made none, because no scheduler was there in time
FiringStatus = Literal["waiting", "started", "skipped", "replaced", "missed"]


class ScheduleRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    #: what each firing makes; its time is the schedule's to say
    job: JobRequest
    #: five fields: minute, hour, day of month, month, day of week; this or `every`
    cron: Annotated[str, Meta(max_length=200)] | None = None
    #: from one firing to the next, counted from `startAt`, or else from when the schedule was made
    every: Duration | None = None
    start_at: Annotated[datetime, Meta(tz=True)] | None = None
    #: an IANA name, e.g. ``America/New_York``; for `cron`
    timezone: Annotated[str, Meta(max_length=100)] = "UTC"
    #: a firing comes up to this much later, each by an amount of its own
    jitter: Duration = "0s"
    overlap: Overlap = "skip"
    #: how late a firing may still make its job, after an outage
    catch_up: Duration = "10m"
    #: of several firings that are late, make only the latest up, or all of them
    missed: Literal["latest", "all"] = "latest"
    paused: bool = False


class Firing(Struct, frozen=True, kw_only=True, rename="camel"):
    id: str
    #: the nominal time, without jitter
    scheduled_at: datetime
    status: FiringStatus
    #: when it was decided
    fired_at: datetime
    job_id: str | None = None
    reason: str | None = None


class Schedule(Struct, frozen=True, kw_only=True, rename="camel"):
    id: str
    name: str
    job: JobRequest
    cron: str | None
    every: str | None
    start_at: datetime
    timezone: str
    jitter: str
    overlap: Overlap
    catch_up: str
    missed: Literal["latest", "all"]
    paused: bool
    #: null while it is paused
    next_fire_at: datetime | None
    last_firing: Firing | None
    created_at: datetime


class SchedulePage(Struct, frozen=True, kw_only=True):
    items: tuple[Schedule, ...]
    next_cursor: str | None = None


class FiringPage(Struct, frozen=True, kw_only=True):
    items: tuple[Firing, ...]
    next_cursor: str | None = None
