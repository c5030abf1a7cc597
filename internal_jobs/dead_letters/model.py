"""Dead letters: which are meant, and how they are replayed."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from internal_jobs.jobs import Tag

#: running    puts dead letters back, at its rate
#: completed  none is left that it is about
#: stopped    someone asked, or too many failed again (`reason`)
ReplayStatus = Literal["running", "completed", "stopped"]


class DeadLetterFilter(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What is said narrows down; nothing said means all."""

    ids: Annotated[tuple[Annotated[str, Meta(max_length=40)], ...], Meta(max_length=1000)] = ()
    type: Annotated[str, Meta(max_length=200)] | None = None
    tag: Tag | None = None
    #: an error's type, ``http.503``, or the class of it, ``http``
    error_type: Annotated[str, Meta(max_length=200)] | None = None
    #: of the moment they died
    closed_after: Annotated[datetime, Meta(tz=True)] | None = None
    closed_before: Annotated[datetime, Meta(tz=True)] | None = None


class ReplayRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    filter: DeadLetterFilter = DeadLetterFilter()
    rate_per_second: Annotated[float, Meta(gt=0, le=1000)] = 10.0
    #: stop when more than this share of the latest ones failed again
    max_error_rate: Annotated[float, Meta(ge=0, le=1)] = 0.5


class Replay(Struct, frozen=True, kw_only=True, rename="camel"):
    id: str
    status: ReplayStatus
    #: why it stopped: ``asked`` or ``errorRate``
    reason: str | None
    filter: DeadLetterFilter
    rate_per_second: float
    max_error_rate: float
    #: put back so far, and what has become of them: completed, failed again, still under way
    replayed: int
    completed: int
    failed: int
    open: int
    created_at: datetime
    closed_at: datetime | None
