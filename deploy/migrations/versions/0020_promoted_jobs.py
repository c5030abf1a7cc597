"""Lanes, jobs that go on as executions, and the failed attempts of jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

#: index → columns, its condition before, and its condition now
CONDITIONS = {
    "uq_jobs_singleton": (
        ["tenant_id", "singleton_key"],
        "singleton_key IS NOT NULL AND status IN ('scheduled', 'queued', 'running', 'failed')",
        "singleton_key IS NOT NULL AND status IN ('scheduled', 'queued', 'running', 'failed', 'promoting', 'promoted')",
    ),
    "ix_jobs_yields": (
        ["tenant_id", "yielded_key"],
        "yielded_key IS NOT NULL AND status = 'running'",
        "yielded_key IS NOT NULL AND status IN ('running', 'promoted')",
    ),
    "ix_jobs_perishable": (
        ["expires_at"],
        "status IN ('scheduled', 'queued', 'failed') AND expires_at IS NOT NULL",
        "status IN ('scheduled', 'queued', 'failed', 'promoting', 'promoted') AND expires_at IS NOT NULL"
        " AND NOT cancel_requested",
    ),
}
HANDED_OVER = sa.text("(status = 'promoting' OR (status = 'promoted' AND cancel_requested))")
PROMOTED = sa.text("promoted_to IS NOT NULL")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("lane", sa.String(length=16), nullable=True))
    op.add_column("jobs", sa.Column("on_exhausted", sa.String(length=16), nullable=True))
    op.add_column("jobs", sa.Column("promoted_to", sa.String(length=40), nullable=True))
    op.add_column("jobs", sa.Column("promoted_at", sa.DateTime(timezone=True), nullable=True))
    for name, (columns, _, present) in CONDITIONS.items():
        _replace(name, columns, present)
    _create("ix_jobs_handed_over", ["available_at"], HANDED_OVER)
    _create("ix_jobs_promoted", ["promoted_to"], PROMOTED)
    op.create_table(
        "job_attempts",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("lane", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("execution_id", sa.String(length=40), nullable=True),
        sa.Column("error_type", sa.String(length=200), nullable=False),
        sa.Column("error_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "job_id"],
            ["jobs.tenant_id", "jobs.id"],
            name=op.f("fk_job_attempts_tenant_id_job_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "job_id", "generation", "lane", "attempt", name=op.f("pk_job_attempts")),
    )


def downgrade() -> None:
    op.drop_table("job_attempts")
    op.drop_index("ix_jobs_promoted", table_name="jobs", sqlite_where=PROMOTED, postgresql_where=PROMOTED)
    op.drop_index("ix_jobs_handed_over", table_name="jobs", sqlite_where=HANDED_OVER, postgresql_where=HANDED_OVER)
    for name, (columns, before, _) in CONDITIONS.items():
        _replace(name, columns, before)
    for column in ("promoted_at", "promoted_to", "on_exhausted", "lane"):
        op.drop_column("jobs", column)


def _replace(name: str, columns: list[str], condition: str) -> None:
    op.drop_index(name, table_name="jobs")
    _create(name, columns, sa.text(condition), unique=name.startswith("uq_"))


def _create(name: str, columns: list[str], condition: sa.TextClause, *, unique: bool = False) -> None:
    op.create_index(name, "jobs", columns, unique=unique, sqlite_where=condition, postgresql_where=condition)
