"""PostgreSQL as an installation has it: one role owns the tables, processes use another, under row-level security."""

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

# Importing all of them makes them known.
from deploy.tables import metadata
from plugins.storage.database import Database, async_url
from plugins.storage.isolation import grant, isolate

#: the role that processes use
PROCESSES = "gateway"

_ROLE = f"""
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{PROCESSES}') THEN CREATE ROLE {PROCESSES} LOGIN; END IF;
END $$
"""


async def furnish(owner_url: str) -> str:
    """Make all tables in a database, as its owner; return the URL that processes open it with."""
    await make_role(owner_url)
    owner = Database(owner_url)
    async with owner.engine.begin() as connection:
        await connection.execute(text("DROP SCHEMA public CASCADE"))
        await connection.execute(text("CREATE SCHEMA public"))
        await connection.run_sync(metadata.create_all)
        await connection.run_sync(isolate)
        await connection.run_sync(grant, PROCESSES)
    await owner.close()
    return make_url(owner_url).set(username=PROCESSES).render_as_string(hide_password=False)


async def make_role(server_url: str) -> None:
    """Make the role that processes use, unless the server has it."""
    server = create_async_engine(async_url(server_url))
    async with server.begin() as connection:
        await connection.execute(text(_ROLE))
    await server.dispose()


async def own_database(server_url: str, name: str) -> str:
    """Make an empty database of this name on a server, and return the URL of its owner."""
    server = create_async_engine(async_url(server_url), isolation_level="AUTOCOMMIT")
    async with server.connect() as connection:
        await connection.execute(text(f"DROP DATABASE IF EXISTS {name}"))
        await connection.execute(text(f"CREATE DATABASE {name}"))
    await server.dispose()
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)
