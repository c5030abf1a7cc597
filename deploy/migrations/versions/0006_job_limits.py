"""Limits of jobs, and express lanes."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("destination", sa.String(length=64), nullable=True))
    op.add_column("jobs", sa.Column("express", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_table(
        "job_limits",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("id", sa.String(length=220), nullable=False),
        sa.Column("subject_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("max_concurrent", sa.Integer(), nullable=True),
        sa.Column("rate_count", sa.Integer(), nullable=True),
        sa.Column("rate_per", sa.Float(), nullable=True),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_job_limits_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_job_limits")),
    )


def downgrade() -> None:
    op.drop_table("job_limits")
    op.drop_column("jobs", "express")
    op.drop_column("jobs", "destination")
