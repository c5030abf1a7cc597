"""Caps of workflows that are set live, in place of what their versions draw."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_CAPS = ("concurrent_executions", "starts_per_minute", "payload_bytes", "monthly_executions")


def upgrade() -> None:
    for name in _CAPS:
        op.add_column("workflow_gates", sa.Column(f"live_{name}", sa.Integer(), nullable=True))
    op.add_column("workflow_gates", sa.Column("live_policy", sa.String(length=16), nullable=True))


def downgrade() -> None:
    for name in (*_CAPS, "policy"):
        op.drop_column("workflow_gates", f"live_{name}")
