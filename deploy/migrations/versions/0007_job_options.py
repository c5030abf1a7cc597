"""Back-off, singletons whose newest wins, and debounce."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

YIELDS_KEY = sa.text("yielded_key IS NOT NULL AND status = 'running'")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("yielded_key", sa.String(length=64), nullable=True))
    op.add_column("jobs", sa.Column("debounced_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("jobs", sa.Column("retry", sa.JSON(none_as_null=True), nullable=True))
    op.create_index(
        "ix_jobs_yields",
        "jobs",
        ["tenant_id", "yielded_key"],
        unique=False,
        sqlite_where=YIELDS_KEY,
        postgresql_where=YIELDS_KEY,
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_yields", table_name="jobs", sqlite_where=YIELDS_KEY, postgresql_where=YIELDS_KEY)
    op.drop_column("jobs", "retry")
    op.drop_column("jobs", "debounced_since")
    op.drop_column("jobs", "yielded_key")
