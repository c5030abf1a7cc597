"""The tables of the gate. Its truth is in them and in `executions.admission`, changed in one transaction."""

from sqlalchemy import Column, ForeignKey, ForeignKeyConstraint, Integer, PrimaryKeyConstraint, String, Table

from plugins.storage.database import Instant, metadata
from plugins.storage.tenants import tenants

#: One row for each tenant that has started anything. Whoever changes who is inside holds its lock.
tenant_gates = Table(
    "tenant_gates",
    metadata,
    Column("tenant_id", String(40), ForeignKey(tenants.c.id), primary_key=True),
    #: caps that the administrator has set; absent: those of the installation
    Column("concurrent_executions", Integer),
    Column("starts_per_minute", Integer),
    Column("payload_bytes", Integer),
    Column("monthly_executions", Integer),
    #: executions that have a slot
    Column("inside", Integer, nullable=False),
    #: executions that are in the queue
    Column("waiting", Integer, nullable=False),
    #: what is counted in `month_count`, e.g. ``2030-01``
    Column("month", String(7), nullable=False),
    Column("month_count", Integer, nullable=False),
)

#: Starts of the last minute that their executions tell no more, for they have been tried again since.
earlier_starts = Table(
    "earlier_starts",
    metadata,
    Column("tenant_id", String(40), ForeignKey(tenants.c.id), nullable=False),
    Column("admitted_at", Instant, nullable=False),
    Column("execution_id", String(40), nullable=False),
    Column("workflow_id", String(40), nullable=False),
    PrimaryKeyConstraint("tenant_id", "admitted_at", "execution_id"),
)

#: before the names of columns that hold what is set live, in place of what is drawn
LIVE = "live_"

#: One row for each workflow whose published version has `concurrency`, or that has caps of its own set live.
workflow_gates = Table(
    "workflow_gates",
    metadata,
    Column("tenant_id", String(40), nullable=False),
    Column("workflow_id", String(40), nullable=False),
    Column("concurrent_executions", Integer),
    Column("starts_per_minute", Integer),
    Column("payload_bytes", Integer),
    Column("monthly_executions", Integer),
    #: what becomes of a start over a cap
    Column("policy", String(16), nullable=False),
    Column(f"{LIVE}concurrent_executions", Integer),
    Column(f"{LIVE}starts_per_minute", Integer),
    Column(f"{LIVE}payload_bytes", Integer),
    Column(f"{LIVE}monthly_executions", Integer),
    Column(f"{LIVE}policy", String(16)),
    Column("month", String(7), nullable=False),
    Column("month_count", Integer, nullable=False),
    PrimaryKeyConstraint("tenant_id", "workflow_id"),
    ForeignKeyConstraint(["tenant_id", "workflow_id"], ["workflows.tenant_id", "workflows.id"]),
)
