"""The environment that Alembic runs every migration in, on SQLite and on PostgreSQL.

The database is, in this order: an open connection in ``config.attributes["connection"]`` (the caller owns its
transaction), ``-x url=…`` of the command line, or the main option ``sqlalchemy.url``. Both URLs take the plain forms
that `plugins.storage.database.Database` takes.

Two processes may migrate at the same time: the second waits for the first, and finds nothing left to do.
"""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrationScript
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.engine import Connection

from deploy.tables import metadata
from plugins.storage.database import Database, Instant
from plugins.storage.isolation import EVERYBODY, isolate

#: Any number will do, as long as nothing else in the database takes it.
ADVISORY_LOCK = 7_402_113_904


def render(kind: str, item: Any, _autogenerate: AutogenContext) -> str | Literal[False]:
    """Write our column types as what they are in the database: a migration must not change when our code does."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, Instant) else False


def number(_context: MigrationContext, _revision: Any, directives: list[MigrationScript]) -> None:
    """Number revisions 0001, 0002 …: they are one line, and a fork of it must show in a merge.

    Where the tables are compared and nothing has changed, nothing is written.
    """
    (directive,) = directives
    compared = getattr(context.config.cmd_opts, "autogenerate", False)
    if compared and directive.upgrade_ops is not None and directive.upgrade_ops.is_empty():
        directives.clear()
        context.config.print_stdout("The migrations make the tables as they are declared: there is nothing to write.")
        return
    head = ScriptDirectory.from_config(context.config).get_current_head()
    directive.rev_id = f"{int(head or 0) + 1:04}"


def secure(ctx: MigrationContext, step: MigrationInfo, heads: Collection[Any], run_args: Mapping[str, Any]) -> None:
    """Put the tables that a migration made under row-level security: none can forget it."""
    if step.is_upgrade and ctx.connection is not None:
        isolate(ctx.connection)


def migrate(connection: Connection) -> None:
    """Run the migrations in one transaction: all of them, or none."""
    sqlite = connection.dialect.name == "sqlite"
    context.configure(
        connection=connection,
        target_metadata=metadata,
        # SQLite alters few things in place: Alembic copies the table instead.
        render_as_batch=sqlite,
        # Our engine begins SQLite's transactions itself, so that they hold DDL too.
        transactional_ddl=True,
        compare_type=True,
        compare_server_default=True,
        render_item=render,
        process_revision_directives=number,
        on_version_apply=secure,
    )
    with context.begin_transaction():
        if not sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
            # What a migration moves is everybody's.
            connection.execute(text("SELECT set_config('app.tenant', :everybody, true)"), {"everybody": EVERYBODY})
        context.run_migrations()
        if sqlite and connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
            raise RuntimeError("the migration would leave rows that refer to nothing; the database is as it was")


async def migrate_url(url: str) -> None:
    """Open the database at `url`, migrate it, and close it."""
    database = Database(url)
    try:
        async with database.engine.connect() as connection:
            await connection.execution_options(writes=True)
            await connection.run_sync(migrate_alone)
    finally:
        await database.close()


def migrate_alone(connection: Connection) -> None:
    """Migrate on a connection that nobody else uses."""
    if connection.dialect.name == "sqlite":
        # Copying a table drops the old one, which would delete what refers to it. The pragma is ignored inside a
        # transaction, so it goes past SQLAlchemy, which would begin one.
        connection.connection.cursor().execute("PRAGMA foreign_keys = OFF")
    migrate(connection)


if (given := context.config.attributes.get("connection")) is not None:
    migrate(given)
else:
    url = context.get_x_argument(as_dictionary=True).get("url") or context.config.get_main_option("sqlalchemy.url")
    if not url:
        raise SystemExit("name the database: alembic -x url=sqlite:///path/to/gateway.db …")
    asyncio.run(migrate_url(url))
