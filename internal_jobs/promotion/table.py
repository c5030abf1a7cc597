"""The table `job_attempts`: the failed attempts of jobs, on both engines. What ends well is in the job's own row."""

from sqlalchemy import Column, ForeignKeyConstraint, Integer, LargeBinary, PrimaryKeyConstraint, String, Table

from plugins.storage.database import Instant, metadata

job_attempts = Table(
    "job_attempts",
    metadata,
    Column("tenant_id", String(40), nullable=False),
    Column("job_id", String(40), nullable=False),
    # of the effect: rises with each explicit redo, on either engine
    Column("generation", Integer, nullable=False),
    Column("lane", String(16), nullable=False),
    # counts from 1 on each engine
    Column("attempt", Integer, nullable=False),
    Column("execution_id", String(40)),
    Column("error_type", String(200), nullable=False),
    Column("error_sealed", LargeBinary, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("closed_at", Instant, nullable=False),
    # when the next attempt follows; NULL: none does by this policy
    Column("retry_at", Instant),
    PrimaryKeyConstraint("tenant_id", "job_id", "generation", "lane", "attempt"),
    ForeignKeyConstraint(["tenant_id", "job_id"], ["jobs.tenant_id", "jobs.id"], ondelete="CASCADE"),
)
