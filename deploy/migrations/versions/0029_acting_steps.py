"""Which steps of an execution that was ended by force may still act."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("executions", sa.Column("acting", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("executions", "acting")
