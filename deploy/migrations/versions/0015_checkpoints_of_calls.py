"""How far a plugin call has come, by its own account."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("effects", sa.Column("checkpoint_sealed", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_column("effects", "checkpoint_sealed")
