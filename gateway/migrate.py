"""Bring the database's schema to this release."""

from importlib.resources import as_file, files
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text
from sqlalchemy.engine import Connection, make_url

from plugins.storage.database import Database

#: any number that no one else locks: two migrations of one PostgreSQL database take turns
_LOCK = 0x67_77_6D_69


async def migrate(database_url: str, *, revision: str = "head") -> None:
    """Upgrade the database, making it first where it is a file; does nothing when it is up to date."""
    _make_folder(database_url)
    database = Database(database_url)
    try:
        async with database.transaction() as connection:
            if not database.is_sqlite:
                await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            with as_file(files("deploy") / "migrations") as scripts:
                await connection.run_sync(_upgrade, scripts, revision)
    finally:
        await database.close()


def _upgrade(connection: Connection, scripts: Path, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _make_folder(database_url: str) -> None:
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite" and url.database:
        Path(url.database).expanduser().parent.mkdir(parents=True, exist_ok=True)
