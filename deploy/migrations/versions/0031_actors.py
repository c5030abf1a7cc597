"""Who asked for an execution or a job."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("executions", sa.Column("actor", sa.String(length=300), nullable=True))
    op.add_column("jobs", sa.Column("actor", sa.String(length=300), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "actor")
    op.drop_column("executions", "actor")
