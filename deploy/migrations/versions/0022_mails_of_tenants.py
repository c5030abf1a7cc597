"""Who tenants' mails come from, and their templates."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "email_senders",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("sender_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("granted_sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_email_senders_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_email_senders")),
    )
    op.create_table(
        "email_templates",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("content_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_email_templates_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "name", name=op.f("pk_email_templates")),
    )


def downgrade() -> None:
    op.drop_table("email_templates")
    op.drop_table("email_senders")
