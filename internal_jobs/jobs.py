"""A job: one internal chore, as it is asked for and as it is shown."""

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from internal_jobs.engines import Engine, OnExhausted
from plugins.host.retry import Duration, Retry

#: Priority classes, each a queue of its own with threads of its own.
Queue = Literal["critical", "default", "bulk"]
QUEUES: tuple[Queue, ...] = ("critical", "default", "bulk")

#: scheduled  not before `availableAt`
#: queued     waits for its tenant's turn and a free worker
#: running    an attempt is being made
#: promoting  its attempts are used up, or it is of the other engine: an execution is being started for it
#: promoted   goes on as the durable execution `promotedTo`
#: completed  done, `result` is there
#: failed     an attempt failed; another follows at `availableAt`
#: dead       failed for good; kept in the dead letters until someone decides
#: canceled   stopped because someone asked
#: expired    its ttl ran out before it could be done
Status = Literal[
    "scheduled", "queued", "running", "promoting", "promoted", "completed", "failed", "dead", "canceled", "expired"
]  # fmt: skip

#: The statuses a job leaves again; of jobs with one singleton key only one is in them.
OPEN: frozenset[Status] = frozenset({"scheduled", "queued", "running", "failed", "promoting", "promoted"})

#: Seconds for one attempt of a job that names no timeout.
DEFAULT_TIMEOUT = 30.0

#: Bytes of JSON that a job may carry in, and bring out.
MAX_PAYLOAD = 1024 * 1024
MAX_RESULT = 256 * 1024

Tag = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,63}$")]


class JobRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    #: a plugin's id, e.g. ``email.send``
    type: Annotated[str, Meta(min_length=1, max_length=200)]
    #: the plugin's config, literal: expressions in it are not evaluated
    payload: dict[str, Any] = field(default_factory=dict)
    #: slot → credential id
    credentials: dict[str, str] = field(default_factory=dict)
    queue: Queue = "default"
    #: run after this long, or at a moment; not both
    delay: Duration | None = None
    at: Annotated[datetime, Meta(tz=True)] | None = None
    #: give up when it could not be done for this long
    ttl: Duration | None = None
    #: overrides what the plugin's effect suggests
    max_attempts: Annotated[int, Meta(ge=1, le=1000)] | None = None
    #: the same and the back-off, as on a node; not together with `max_attempts`
    retry: Retry | None = None
    #: of one attempt
    timeout: Duration | None = None
    #: ``dramatiq``: cheap and quick; ``temporal``: a durable execution of one step. The type's own when not said
    lane: Engine | None = None
    #: when its attempts are used up: ``deadLetter``, or ``promote``: it goes on as a durable execution, with the same
    #: idempotency key, for days. The type's own when not said
    on_exhausted: OnExhausted | None = None
    #: one job with this key is active at a time
    singleton_key: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    #: ``oldest``: while one is open, another is not made. ``newest``: it takes the place of one that waits; one that
    #: runs is asked to stop, and it begins when that has ended
    singleton_wins: Literal["oldest", "newest"] = "oldest"
    #: begin when none with this singleton key was asked for during this long, the newest of them; what is asked for
    #: without a pause begins after ten times as long. One that runs already may end first
    debounce: Duration | None = None
    tags: Annotated[tuple[Tag, ...], Meta(max_length=20)] = ()


class JobError(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What the latest failed attempt failed with."""

    type: str
    message: str
    attempt: int
    #: the status that a remote server answered, where there was one
    status: int | None = None


class Job(Struct, frozen=True, kw_only=True, rename="camel"):
    id: str
    type: str
    queue: Queue
    status: Status
    payload: dict[str, Any]
    credentials: dict[str, str]
    tags: tuple[str, ...]
    #: attempts begun, on both engines; one that a crash interrupted is repeated under its number
    attempts: int
    max_attempts: int | None
    #: the back-off that was asked for
    retry: Retry | None
    #: what was asked for
    lane: Engine | None
    on_exhausted: OnExhausted | None
    #: the execution that it goes on as
    promoted_to: str | None
    result: Any
    error: JobError | None
    #: what the running plugin last reported
    progress: Any
    created_at: datetime
    #: the earliest moment of the next attempt
    available_at: datetime
    expires_at: datetime | None
    #: of the first attempt
    started_at: datetime | None
    closed_at: datetime | None
    #: who asked for it: the id of a key, or whose token it was, as on the audit trail; absent of what was made by a
    #: schedule, a workflow or another service's transaction
    actor: str | None = None


class JobPage(Struct, frozen=True, kw_only=True, rename="camel"):
    items: tuple[Job, ...]
    next_cursor: str | None = None


class Publication(Struct, frozen=True):
    """One message about one job. A job published again has a higher sequence, which voids the message before."""

    tenant_id: str
    job_id: str
    queue: Queue
    sequence: int
    #: whether it takes the express lane of its queue
    express: bool = False
