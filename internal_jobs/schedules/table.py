"""The tables of schedules and of their firings."""

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    text,
)

from plugins.storage.database import Instant, metadata
from plugins.storage.tenants import tenants
from plugins.vault.renewal import sealed_as

job_schedules = Table(
    "job_schedules",
    metadata,
    Column("tenant_id", String(40), ForeignKey(tenants.c.id), nullable=False),
    Column("id", String(40), nullable=False),
    # the request as it was made
    Column("spec_sealed", LargeBinary, nullable=False, info=sealed_as(lambda row: spec_place(row.id))),
    Column("job_type", String(200), nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("anchor", Instant, nullable=False),
    # the nominal time of the firing that is decided next, and when that is; null: none is
    Column("fires_at", Instant),
    Column("due_at", Instant),
    Column("created_at", Instant, nullable=False),
    PrimaryKeyConstraint("tenant_id", "id"),
    Index("ix_job_schedules_due", "due_at"),
)

schedule_firings = Table(
    "schedule_firings",
    metadata,
    Column("tenant_id", String(40), nullable=False),
    # of the schedule and its nominal time: who decides second finds it taken
    Column("id", String(40), nullable=False),
    Column("schedule_id", String(40), nullable=False),
    Column("scheduled_at", Instant, nullable=False),
    Column("fired_at", Instant, nullable=False),
    Column("status", String(20), nullable=False),
    Column("job_id", String(40)),
    # its job was open when it was last looked at
    Column("is_open", Boolean, nullable=False),
    Column("reason", String(300)),
    PrimaryKeyConstraint("tenant_id", "id"),
    ForeignKeyConstraint(
        ["tenant_id", "schedule_id"], ["job_schedules.tenant_id", "job_schedules.id"], ondelete="CASCADE"
    ),
    Index("ix_schedule_firings_schedule", "tenant_id", "schedule_id", "id"),
    Index("ix_schedule_firings_fired", "fired_at"),
)

_WAITING, _OPEN = text("status = 'waiting'"), text("is_open")
Index(
    "ix_schedule_firings_waiting",
    schedule_firings.c.tenant_id,
    schedule_firings.c.schedule_id,
    sqlite_where=_WAITING,
    postgresql_where=_WAITING,
)
Index(
    "ix_schedule_firings_open",
    schedule_firings.c.tenant_id,
    schedule_firings.c.schedule_id,
    sqlite_where=_OPEN,
    postgresql_where=_OPEN,
)


def spec_place(schedule_id: str) -> str:
    return f"job_schedule.spec:{schedule_id}"
