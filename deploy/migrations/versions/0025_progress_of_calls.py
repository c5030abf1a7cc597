"""Which attempt of a call came further last."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("effects", sa.Column("checkpoint_fence", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("effects", "checkpoint_fence")
