"""The gate: who is inside, who waits, and the caps of tenants and workflows."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_CAPS = ("concurrent_executions", "starts_per_minute", "payload_bytes", "monthly_executions")


def upgrade() -> None:
    op.create_table(
        "tenant_gates",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=True) for name in _CAPS),
        sa.Column("inside", sa.Integer(), nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("month_count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_tenant_gates_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_tenant_gates")),
    )
    op.create_table(
        "workflow_gates",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("workflow_id", sa.String(length=40), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=True) for name in _CAPS),
        sa.Column("policy", sa.String(length=16), nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("month_count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "workflow_id"],
            ["workflows.tenant_id", "workflows.id"],
            name=op.f("fk_workflow_gates_tenant_id"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "workflow_id", name=op.f("pk_workflow_gates")),
    )
    with op.batch_alter_table("executions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("admission", sa.String(length=10), nullable=True))
        batch_op.add_column(sa.Column("admitted_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("parked_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("replaced_by", sa.String(length=40), nullable=True))
        batch_op.add_column(sa.Column("letters_sealed", sa.LargeBinary(), nullable=True))
        batch_op.create_index(
            "ix_executions_admission",
            ["admission", "tenant_id", "due_at", "workflow_id"],
            unique=False,
            sqlite_where=sa.text("admission IS NOT NULL"),
            postgresql_where=sa.text("admission IS NOT NULL"),
        )
        batch_op.create_index("ix_executions_admitted_at", ["tenant_id", "admitted_at"], unique=False)
    # What is open by now is inside.
    op.execute(
        "UPDATE executions SET admission = 'held' "
        "WHERE status IN ('queued', 'running', 'paused') AND awaited_by IS NULL"
    )
    op.execute(
        "INSERT INTO tenant_gates (tenant_id, inside, waiting, month, month_count) "
        "SELECT tenant_id, count(*), 0, '', 0 FROM executions WHERE admission = 'held' GROUP BY tenant_id"
    )


def downgrade() -> None:
    with op.batch_alter_table("executions", schema=None) as batch_op:
        batch_op.drop_index("ix_executions_admitted_at")
        batch_op.drop_index("ix_executions_admission")
        batch_op.drop_column("letters_sealed")
        batch_op.drop_column("replaced_by")
        batch_op.drop_column("parked_at")
        batch_op.drop_column("admitted_at")
        batch_op.drop_column("admission")
    op.drop_table("workflow_gates")
    op.drop_table("tenant_gates")
