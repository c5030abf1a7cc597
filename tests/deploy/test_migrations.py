"""Migrations make exactly the tables that the code declares, on SQLite and on PostgreSQL."""

import ast
import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection

from deploy import tables
from plugins.storage.database import Database, metadata
from plugins.storage.tenants import INSTALLATION

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def empty(owned: Database) -> Database:
    """A database without a single table."""
    async with owned.across.transaction() as connection:
        await connection.run_sync(metadata.drop_all)
    return owned


def settings(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "deploy/migrations"))
    config.attributes["connection"] = connection
    return config


async def upgrade(database: Database) -> None:
    async with database.across.transaction() as connection:
        await connection.run_sync(lambda sync: command.upgrade(settings(sync), "head"))


def differences(connection: Connection) -> list[Any]:
    options = {"compare_type": True, "compare_server_default": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


def table_names(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


async def test_upgrading_an_empty_database_gives_exactly_the_declared_tables(empty: Database) -> None:
    await upgrade(empty)
    async with empty.across.read() as connection:
        assert await connection.run_sync(differences) == []
        assert await connection.run_sync(table_names) == {*metadata.tables, "alembic_version"}


async def test_every_table_that_migrations_make_is_under_row_level_security(empty: Database) -> None:
    """By the environment, after each of them: a migration that makes a table need not think of it."""
    if empty.is_sqlite:
        return
    await upgrade(empty)
    secured = "SELECT relname FROM pg_class JOIN pg_policy ON polrelid = pg_class.oid"
    forced = text(f"{secured} WHERE relrowsecurity AND relforcerowsecurity AND polname = 'tenant'")
    async with empty.read(INSTALLATION) as connection:
        assert set((await connection.execute(forced)).scalars()) == set(metadata.tables)
    async with empty.transaction(INSTALLATION) as connection:
        await connection.run_sync(lambda sync: command.downgrade(settings(sync), "0016"))
        assert (await connection.execute(text(secured))).all() == []


async def test_a_missing_column_would_be_seen(empty: Database) -> None:
    await upgrade(empty)
    async with empty.across.transaction() as connection:
        await connection.execute(text("ALTER TABLE tenants DROP COLUMN name"))
    async with empty.across.read() as connection:
        ((kind, _, table, column),) = await connection.run_sync(differences)
    assert (kind, table, column.name) == ("add_column", "tenants", "name")


async def test_upgrading_twice_changes_nothing(empty: Database) -> None:
    await upgrade(empty)
    await upgrade(empty)
    async with empty.across.read() as connection:
        assert await connection.run_sync(differences) == []


async def test_downgrading_to_the_base_leaves_no_table(empty: Database) -> None:
    await upgrade(empty)
    async with empty.across.transaction() as connection:
        await connection.run_sync(lambda sync: command.downgrade(settings(sync), "base"))
    async with empty.across.read() as connection:
        assert await connection.run_sync(table_names) == {"alembic_version"}


async def test_three_processes_may_migrate_one_database_at_once(empty: Database) -> None:
    url = empty.engine.url.render_as_string(hide_password=False)
    arguments = ("-m", "alembic", "-x", f"url={url}", "upgrade", "head")
    migrating = [await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=ROOT) for _ in range(3)]
    assert [await process.wait() for process in migrating] == [0, 0, 0]
    async with empty.across.read() as connection:
        assert await connection.run_sync(differences) == []


def test_the_migrations_are_one_numbered_line() -> None:
    script = ScriptDirectory.from_config(settings())
    revisions = [revision.revision for revision in script.walk_revisions()][::-1]
    assert script.get_heads() == revisions[-1:]
    assert revisions == [f"{number:04}" for number in range(1, len(revisions) + 1)]


def declares_a_table(source: str) -> bool:
    return any(
        isinstance(node, ast.Call)
        and [getattr(part, "id", None) for part in (node.func, *node.args[1:2])] == ["Table", "metadata"]
        for node in ast.walk(ast.parse(source))
    )


def test_every_module_that_declares_a_table_is_known_to_the_migrations() -> None:
    declaring = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in ("gateway", "user_workflows", "internal_jobs", "plugins")
        for path in (ROOT / package).rglob("*.py")
        if declares_a_table(path.read_text())
    }
    assert {module.__name__ for module in tables.MODULES} == declaring
