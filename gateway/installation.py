"""The installation itself: owner of what belongs to no tenant, such as its chores and its administrator's answers."""

from plugins.storage.database import Database, now
from plugins.storage.tenants import INSTALLATION, tenants

__all__ = ["INSTALLATION", "register_installation"]


async def register_installation(database: Database) -> None:
    """Give the installation the row that keys, answers and jobs must belong to; it may have it already."""
    row = {"id": INSTALLATION, "name": "the installation", "created_at": now()}
    async with database.transaction(INSTALLATION) as connection:
        await connection.execute(database.insert(tenants).values(row).on_conflict_do_nothing())
