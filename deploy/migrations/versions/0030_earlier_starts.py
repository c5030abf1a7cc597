"""Starts of the last minute of executions that have been tried again since."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "earlier_starts",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("admitted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("execution_id", sa.String(length=40), nullable=False),
        sa.Column("workflow_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_earlier_starts_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "admitted_at", "execution_id", name=op.f("pk_earlier_starts")),
    )


def downgrade() -> None:
    op.drop_table("earlier_starts")
