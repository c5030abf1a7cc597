"""Executions that another one waits for."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("executions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("awaited_by", sa.String(length=40), nullable=True))
        batch_op.create_index(
            "ix_executions_awaited_by",
            ["tenant_id", "awaited_by"],
            unique=False,
            sqlite_where=sa.text("awaited_by IS NOT NULL"),
            postgresql_where=sa.text("awaited_by IS NOT NULL"),
        )


def downgrade() -> None:
    with op.batch_alter_table("executions", schema=None) as batch_op:
        batch_op.drop_index("ix_executions_awaited_by")
        batch_op.drop_column("awaited_by")
