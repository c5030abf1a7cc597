"""Tables of approvals and their links."""

from sqlalchemy import (
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
)

from plugins.storage.database import Instant, metadata

approvals = Table(
    "approvals",
    metadata,
    Column("tenant_id", String(40), nullable=False),
    #: follows from the step and its generation, so that opening it may be repeated
    Column("id", String(64), nullable=False),
    Column("execution_id", String(40), nullable=False),
    Column("node_id", String(64), nullable=False),
    #: as in ``steps``
    Column("path", String(200), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("required", Integer, nullable=False),
    #: ``{title, message, form}``
    Column("request_sealed", LargeBinary, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    #: when its step took what was decided until then for all; links are of no use any more
    Column("closed_at", Instant),
    PrimaryKeyConstraint("tenant_id", "id"),
    ForeignKeyConstraint(["tenant_id", "execution_id"], ["executions.tenant_id", "executions.id"], ondelete="CASCADE"),
    Index("ix_approvals_execution", "tenant_id", "execution_id"),
)

approval_links = Table(
    "approval_links",
    metadata,
    Column("tenant_id", String(40), nullable=False),
    #: the approval's, and its number
    Column("id", String(80), nullable=False),
    Column("approval_id", String(64), nullable=False),
    #: SHA-256
    Column("token_hash", String(64), nullable=False),
    #: ``{token, approver}``
    Column("link_sealed", LargeBinary, nullable=False),
    Column("decision", String(16)),
    #: ``{comment, data}``
    Column("decision_sealed", LargeBinary),
    Column("decided_at", Instant),
    #: when the execution was told; a decision that was not is told by the sweep
    Column("told_at", Instant),
    PrimaryKeyConstraint("tenant_id", "id"),
    ForeignKeyConstraint(["tenant_id", "approval_id"], ["approvals.tenant_id", "approvals.id"], ondelete="CASCADE"),
    Index("uq_approval_links_token", "token_hash", unique=True),
    Index("ix_approval_links_approval", "tenant_id", "approval_id"),
    Index("ix_approval_links_untold", "told_at", "decided_at"),
)
