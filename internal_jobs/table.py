"""The table `jobs`: the outbox, the schedule, the record and the dead letters in one.

Ids, statuses, times, error codes and tags are in clear; what users wrote or got is in the columns ``*_sealed``.
The conditions below are SQL text because both databases must recognise them, letter by letter, as those of a
partial index.
"""

from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    TextClause,
    UniqueConstraint,
    text,
)

from plugins.storage.database import Instant, metadata
from plugins.storage.tenants import tenants

#: the statuses in which a job may still be stopped without asking anybody
WAITS = ("scheduled", "queued", "failed", "promoting")

#: in the backlog: its time has come, no message speaks of it yet
BACKLOG = text("status = 'queued' AND published_at IS NULL")
#: in the window: a message is on its way to a worker
WINDOW = text("status = 'queued' AND published_at IS NOT NULL")
#: its time may come: at first, or again after a failure
RIPENING = text("status IN ('scheduled', 'failed')")
#: under a worker's lease
LEASED = text("status = 'running'")
#: a message or a lease speaks of it: whoever has its ticket may end it
PUBLISHED = text("(status = 'running' OR (status = 'queued' AND published_at IS NOT NULL))")
#: not running, and able to expire
PERISHABLE = text(
    "status IN ('scheduled', 'queued', 'failed', 'promoting', 'promoted') AND expires_at IS NOT NULL"
    " AND NOT cancel_requested"
)
#: one job at a time may hold a singleton key
HOLDS_KEY = text(
    "singleton_key IS NOT NULL AND status IN ('scheduled', 'queued', 'running', 'failed', 'promoting', 'promoted')"
)
#: gave its singleton key to a newer job, which begins when it has ended
YIELDS_KEY = text("yielded_key IS NOT NULL AND status IN ('running', 'promoted')")
#: an execution is to be started for it, or the one that it became is to be stopped
HANDED_OVER = text("(status = 'promoting' OR (status = 'promoted' AND cancel_requested))")
#: goes on, or went on, as an execution
PROMOTED = text("promoted_to IS NOT NULL")
#: was put back by a replay of dead letters
REPLAYED = text("replay_id IS NOT NULL")
#: nobody has to decide anything about it any more
SETTLED = text("status IN ('completed', 'canceled', 'expired')")


def _where(condition: TextClause) -> dict[str, Any]:
    return {"sqlite_where": condition, "postgresql_where": condition}


jobs = Table(
    "jobs",
    metadata,
    Column("tenant_id", String(40), ForeignKey(tenants.c.id), nullable=False),
    Column("id", String(40), nullable=False),
    Column("type", String(200), nullable=False),
    Column("queue", String(20), nullable=False),
    # digest of the host that the job calls, for limits
    Column("destination", String(64)),
    Column("status", String(20), nullable=False),
    Column("payload_sealed", LargeBinary, nullable=False),
    Column("credentials", JSON, nullable=False),
    Column("tags", JSON, nullable=False),
    # who asked the API for it, as the audit trail calls them
    Column("actor", String(300)),
    # SHA-256 of the client's key: fixed in length, and silent about what it was made of
    Column("idempotency_key", String(64)),
    Column("singleton_key", String(64)),
    Column("yielded_key", String(64)),
    # when the first of those was asked for that this one stands for
    Column("debounced_since", Instant),
    Column("traceparent", String(55)),
    Column("max_attempts", Integer),
    Column("retry", JSON(none_as_null=True)),
    # what the job itself says; NULL: as its type is set
    Column("lane", String(16)),
    Column("on_exhausted", String(16)),
    # the execution that it goes on as, and since when
    Column("promoted_to", String(40)),
    Column("promoted_at", Instant),
    # seconds
    Column("timeout", Float, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("available_at", Instant, nullable=False),
    Column("expires_at", Instant),
    # counts publications; a message and a lease of an older one are void
    Column("sequence", Integer, nullable=False, server_default=text("0")),
    Column("published_at", Instant),
    # published to the queue's express lane
    Column("express", Boolean, nullable=False, server_default=text("false")),
    # the latest replay of dead letters that put it back
    Column("replay_id", String(40)),
    # rises with each explicit redo: a new effect, under a new idempotency key
    Column("generation", Integer, nullable=False, server_default=text("1")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # attempts in a row that ended with their worker
    Column("redeliveries", Integer, nullable=False, server_default=text("0")),
    Column("lease_until", Instant),
    Column("cancel_requested", Boolean, nullable=False, server_default=text("false")),
    Column("started_at", Instant),
    Column("closed_at", Instant),
    Column("progress_sealed", LargeBinary),
    Column("result_sealed", LargeBinary),
    Column("error_type", String(200)),
    Column("error_sealed", LargeBinary),
    PrimaryKeyConstraint("tenant_id", "id"),
    UniqueConstraint("tenant_id", "idempotency_key"),
)

Index("uq_jobs_singleton", jobs.c.tenant_id, jobs.c.singleton_key, unique=True, **_where(HOLDS_KEY))
Index("ix_jobs_replayed", jobs.c.tenant_id, jobs.c.replay_id, **_where(REPLAYED))
Index("ix_jobs_yields", jobs.c.tenant_id, jobs.c.yielded_key, **_where(YIELDS_KEY))
Index("ix_jobs_backlog", jobs.c.queue, jobs.c.tenant_id, jobs.c.available_at, jobs.c.id, **_where(BACKLOG))
Index("ix_jobs_window", jobs.c.queue, jobs.c.tenant_id, jobs.c.published_at, **_where(WINDOW))
Index("ix_jobs_ripening", jobs.c.available_at, **_where(RIPENING))
Index("ix_jobs_leased", jobs.c.lease_until, **_where(LEASED))
Index("ix_jobs_perishable", jobs.c.expires_at, **_where(PERISHABLE))
Index("ix_jobs_settled", jobs.c.closed_at, **_where(SETTLED))
Index("ix_jobs_handed_over", jobs.c.available_at, **_where(HANDED_OVER))
Index("ix_jobs_promoted", jobs.c.promoted_to, **_where(PROMOTED))
# lists: a tenant's newest first, whole or of one status
Index("ix_jobs_status", jobs.c.tenant_id, jobs.c.status, jobs.c.id)
