"""Row-level security on PostgreSQL: a transaction sees the rows of the tenants that it acts for."""

from alembic import op

from plugins.storage.isolation import expose

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Leave it to the environment, which secures every table after each migration, those to come included."""


def downgrade() -> None:
    expose(op.get_bind())
