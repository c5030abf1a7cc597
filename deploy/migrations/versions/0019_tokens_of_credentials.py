"""Tokens of OAuth 2.0, and how credentials are: their status and last use."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("credentials", schema=None) as batch_op:
        batch_op.add_column(sa.Column("status", sa.String(length=32), server_default="ok", nullable=False))
        batch_op.add_column(sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("grant_sealed", sa.LargeBinary(), nullable=True))
        batch_op.add_column(sa.Column("grant_version", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("renewing_by", sa.String(length=40), nullable=True))
        batch_op.add_column(sa.Column("renewing_until", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("state_sha256", sa.LargeBinary(length=32), nullable=True))
        batch_op.add_column(sa.Column("state_sealed", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("credentials", schema=None) as batch_op:
        for column in (
            "state_sealed",
            "state_sha256",
            "renewing_until",
            "renewing_by",
            "grant_version",
            "grant_sealed",
            "last_used_at",
            "status",
        ):
            batch_op.drop_column(column)
