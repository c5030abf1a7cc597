"""Bring the database's schema to this release."""

import asyncio
from importlib.resources import as_file, files
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy.engine import make_url

from plugins.storage.database import Database
from plugins.storage.isolation import grant


async def migrate(database_url: str, *, owner_url: str | None = None, revision: str = "head") -> None:
    """Upgrade the database, making it first where it is a file; does nothing when it is up to date.

    Several processes may do so at once: `deploy/migrations/env.py` makes them take turns.

    Args:
        database_url: as the processes open it.
        owner_url: as who owns the tables opens it, where that is somebody else; the role of `database_url` is let in.
        revision: where to stop.
    """
    _make_folder(database_url)
    with as_file(files("deploy") / "migrations") as scripts:
        config = Config()
        config.set_main_option("script_location", _escape(str(scripts)))
        config.set_main_option("sqlalchemy.url", _escape(owner_url or database_url))
        # Alembic is synchronous, and its environment runs an event loop of its own.
        await asyncio.to_thread(command.upgrade, config, revision)
    if owner_url is not None:
        await _let_in(owner_url, make_url(database_url).username)


async def _let_in(owner_url: str, role: str | None) -> None:
    owner = Database(owner_url)
    try:
        if role is not None and role != owner.engine.url.username:
            async with owner.engine.begin() as connection:
                await connection.run_sync(grant, role)
    finally:
        await owner.close()


def _escape(value: str) -> str:
    return value.replace("%", "%%")


def _make_folder(database_url: str) -> None:
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite" and url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
