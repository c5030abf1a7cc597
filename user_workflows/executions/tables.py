"""Tables of executions and their steps (design §9)."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    text,
)

from plugins.storage.database import Instant, metadata

OPEN_STATUSES = ("queued", "running", "paused")

executions = Table(
    "executions",
    metadata,
    Column("tenant_id", String(40), nullable=False),
    Column("id", String(40), nullable=False),
    Column("workflow_id", String(40), nullable=False),
    Column("version", Integer, nullable=False),
    #: of a rerun or replay: the execution that it repeats
    Column("origin_id", String(40)),
    #: one more with each retry
    Column("generation", Integer, nullable=False, default=1),
    #: the last run that Temporal has ended; a retry is a newer one
    Column("ended_run_id", String(64)),
    Column("status", String(16), nullable=False),
    #: of the record last written; later records carry higher ones
    Column("seq", BigInteger, nullable=False),
    #: unique per tenant: the same key starts one execution, however often it is sent
    Column("start_key", String(255)),
    #: the execution that waits for its end
    Column("awaited_by", String(40)),
    #: where it is at the gate, see `user_workflows.admission`; absent: it is closed, or shares the slot of its caller
    Column("admission", String(10)),
    #: when it was let in as a start
    Column("admitted_at", Instant),
    #: since when its slot is given back, or was until it began to wait for one
    Column("parked_at", Instant),
    #: whether it is parked, though it may have, or share, a slot that others need
    Column("rests", Boolean, nullable=False, server_default=text("false")),
    #: ``{execution id/activity id: until when}``, of steps that act on its slot though they were ended by force
    Column("acting", JSON),
    #: the start in whose favour it is canceled
    Column("replaced_by", String(40)),
    #: signals that came before it began
    Column("letters_sealed", LargeBinary),
    #: ``{type, id}``, and of what another execution started ``{executionId, callers, isAwaited}``
    Column("trigger", JSON, nullable=False),
    #: who started it by the API, or sent its event, as the audit trail calls them
    Column("actor", String(300)),
    Column("input_sealed", LargeBinary, nullable=False),
    #: ``{seed, earlier}``: what a retry, rerun or replay begins with
    Column("seed_sealed", LargeBinary),
    #: ``{output, error}``
    Column("result_sealed", LargeBinary),
    Column("error_type", String(100)),
    Column("created_at", Instant, nullable=False),
    #: when a delayed execution is due; its creation otherwise; its place in the queue
    Column("due_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("closed_at", Instant),
    #: when this row was last compared with Temporal, or written by the interpreter
    Column("checked_at", Instant, nullable=False),
    #: why it does not move though it should, and since when
    Column("stuck_reason", String(500)),
    Column("stuck_since", Instant),
    Column("history_events", Integer),
    Column("billable_actions", Integer),
    PrimaryKeyConstraint("tenant_id", "id"),
    ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
    Index("uq_executions_start_key", "tenant_id", "start_key", unique=True),
    Index("ix_executions_workflow", "tenant_id", "workflow_id", "id"),
    Index("ix_executions_status", "tenant_id", "status", "id"),
    Index("ix_executions_open", "status", "checked_at"),
    Index(
        "ix_executions_awaited_by",
        "tenant_id",
        "awaited_by",
        sqlite_where=text("awaited_by IS NOT NULL"),
        postgresql_where=text("awaited_by IS NOT NULL"),
    ),
    Index(
        "ix_executions_admission",
        "admission",
        "tenant_id",
        "due_at",
        "workflow_id",
        sqlite_where=text("admission IS NOT NULL"),
        postgresql_where=text("admission IS NOT NULL"),
    ),
    Index("ix_executions_admitted_at", "tenant_id", "admitted_at"),
)

execution_tags = Table(
    "execution_tags",
    metadata,
    Column("tenant_id", String(40), nullable=False),
    Column("execution_id", String(40), nullable=False),
    Column("tag", String(100), nullable=False),
    PrimaryKeyConstraint("tenant_id", "tag", "execution_id"),
    ForeignKeyConstraint(["tenant_id", "execution_id"], ["executions.tenant_id", "executions.id"], ondelete="CASCADE"),
    Index("ix_execution_tags_execution", "tenant_id", "execution_id"),
)

steps = Table(
    "steps",
    metadata,
    Column("tenant_id", String(40), nullable=False),
    Column("execution_id", String(40), nullable=False),
    Column("node_id", String(64), nullable=False),
    #: item and round numbers, joined by dots; empty outside loops
    Column("path", String(200), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("error_type", String(100)),
    Column("input_sealed", LargeBinary),
    #: ``{output, port, ports, error, reason, compensation}``
    Column("detail_sealed", LargeBinary, nullable=False),
    Column("started_at", Instant),
    Column("closed_at", Instant),
    PrimaryKeyConstraint("tenant_id", "execution_id", "node_id", "path"),
    ForeignKeyConstraint(["tenant_id", "execution_id"], ["executions.tenant_id", "executions.id"], ondelete="CASCADE"),
)


def result_place(execution_id: str) -> str:
    """Return what binds the sealed result of an execution to its row."""
    return f"execution.result:{execution_id}"


def step_place(execution_id: str, node_id: str, path: str) -> str:
    return f"step:{execution_id}:{node_id}:{path}"


def path_key(path: tuple[int, ...]) -> str:
    return ".".join(map(str, path))
