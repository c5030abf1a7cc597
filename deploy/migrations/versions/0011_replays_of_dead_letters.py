"""Replays of dead letters."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

RUNNING = sa.text("status = 'running'")
REPLAYED = sa.text("replay_id IS NOT NULL")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("replay_id", sa.String(length=40), nullable=True))
    op.create_index(
        "ix_jobs_replayed", "jobs", ["tenant_id", "replay_id"], sqlite_where=REPLAYED, postgresql_where=REPLAYED
    )
    op.create_table(
        "job_replays",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=20), nullable=True),
        sa.Column("filter", sa.JSON(), nullable=False),
        sa.Column("rate", sa.Float(), nullable=False),
        sa.Column("max_error_rate", sa.Float(), nullable=False),
        sa.Column("replayed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_job_replays_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_job_replays")),
    )
    op.create_index(
        "ix_job_replays_running", "job_replays", ["next_at"], sqlite_where=RUNNING, postgresql_where=RUNNING
    )


def downgrade() -> None:
    op.drop_table("job_replays")
    op.drop_index("ix_jobs_replayed", table_name="jobs", sqlite_where=REPLAYED, postgresql_where=REPLAYED)
    op.drop_column("jobs", "replay_id")
