"""What comes in from the world is kept as it came; a version need not be published."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "inbound_events",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("workflow_id", sa.String(length=40), nullable=False),
        sa.Column("trigger_id", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("delivery_key", sa.String(length=255), nullable=False),
        sa.Column("execution_id", sa.String(length=40), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("head_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("body_sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_inbound_events_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_inbound_events")),
    )
    with op.batch_alter_table("inbound_events", schema=None) as batch_op:
        batch_op.create_index("uq_inbound_events_delivery_key", ["tenant_id", "delivery_key"], unique=True)
        batch_op.create_index("ix_inbound_events_workflow", ["tenant_id", "workflow_id", "id"], unique=False)
        batch_op.create_index("ix_inbound_events_received_at", ["received_at"], unique=False)
    with op.batch_alter_table("workflow_versions", schema=None) as batch_op:
        batch_op.alter_column("published_at", existing_type=sa.DateTime(timezone=True), nullable=True)


def downgrade() -> None:
    # What was never published was made for trials: it was started when it was made.
    op.execute("UPDATE workflow_versions SET published_at = CURRENT_TIMESTAMP WHERE published_at IS NULL")
    with op.batch_alter_table("workflow_versions", schema=None) as batch_op:
        batch_op.alter_column("published_at", existing_type=sa.DateTime(timezone=True), nullable=False)
    with op.batch_alter_table("inbound_events", schema=None) as batch_op:
        batch_op.drop_index("ix_inbound_events_received_at")
        batch_op.drop_index("ix_inbound_events_workflow")
        batch_op.drop_index("uq_inbound_events_delivery_key")

    op.drop_table("inbound_events")
