"""The audit trail."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_records",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=300), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("action", sa.String(length=80), nullable=False),
        sa.Column("path", sa.String(length=500), nullable=False),
        sa.Column("object_id", sa.String(length=80), nullable=True),
        sa.Column("trace_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_audit_records_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_audit_records")),
    )
    with op.batch_alter_table("audit_records", schema=None) as batch_op:
        batch_op.create_index("ix_audit_records_object_id", ["tenant_id", "object_id"], unique=False)

    op.create_table(
        "audit_outcomes",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("record_id", sa.String(length=40), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("made_id", sa.String(length=80), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "record_id"],
            ["audit_records.tenant_id", "audit_records.id"],
            name=op.f("fk_audit_outcomes_tenant_id_record_id"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "record_id", name=op.f("pk_audit_outcomes")),
    )
    with op.batch_alter_table("audit_outcomes", schema=None) as batch_op:
        batch_op.create_index("ix_audit_outcomes_made_id", ["tenant_id", "made_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("audit_outcomes", schema=None) as batch_op:
        batch_op.drop_index("ix_audit_outcomes_made_id")

    op.drop_table("audit_outcomes")
    with op.batch_alter_table("audit_records", schema=None) as batch_op:
        batch_op.drop_index("ix_audit_records_object_id")

    op.drop_table("audit_records")
