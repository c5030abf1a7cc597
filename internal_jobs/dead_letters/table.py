"""The table `job_replays`, and which dead letters a filter means."""

from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    func,
    or_,
    text,
)

from internal_jobs.dead_letters.model import DeadLetterFilter
from internal_jobs.store import has_tag
from internal_jobs.table import jobs
from plugins.storage.database import Database, Instant, metadata
from plugins.storage.tenants import tenants

RUNNING = text("status = 'running'")

job_replays = Table(
    "job_replays",
    metadata,
    Column("tenant_id", String(40), ForeignKey(tenants.c.id), nullable=False),
    Column("id", String(40), nullable=False),
    Column("status", String(20), nullable=False),
    Column("reason", String(20)),
    Column("filter", JSON, nullable=False),
    Column("rate", Float, nullable=False),
    Column("max_error_rate", Float, nullable=False),
    Column("replayed", Integer, nullable=False, server_default=text("0")),
    # the earliest moment of the next one
    Column("next_at", Instant, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("closed_at", Instant),
    PrimaryKeyConstraint("tenant_id", "id"),
)
Index("ix_job_replays_running", job_replays.c.next_at, sqlite_where=RUNNING, postgresql_where=RUNNING)


def meant(database: Database, tenant_id: str, wanted: DeadLetterFilter) -> list[ColumnElement[Any]]:
    """Return the conditions of a tenant's dead letters that a filter means."""
    conditions: list[ColumnElement[Any]] = [jobs.c.tenant_id == tenant_id, jobs.c.status == "dead"]
    if wanted.ids:
        conditions.append(jobs.c.id.in_(wanted.ids))
    if wanted.type is not None:
        conditions.append(jobs.c.type == wanted.type)
    if wanted.tag is not None:
        conditions.append(has_tag(database, wanted.tag))
    if wanted.error_type is not None:
        family = f"{wanted.error_type}."
        of_family = func.substr(jobs.c.error_type, 1, len(family)) == family
        conditions.append(or_(jobs.c.error_type == wanted.error_type, of_family))
    if wanted.closed_after is not None:
        conditions.append(jobs.c.closed_at >= wanted.closed_after)
    if wanted.closed_before is not None:
        conditions.append(jobs.c.closed_at < wanted.closed_before)
    return conditions
