"""SQLite through a driver that is visited once for each statement, and keeps what transactions promise."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError

from plugins.storage.database import Database, metadata
from plugins.storage.tenants import create_tenant, tenants


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/gateway.db")
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all, tables=[tenants])
    yield database
    await database.close()


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the driver's threads were asked to do."""
    asked: list[str] = []
    execute: Any = aiosqlite.Connection._execute

    async def note(self: aiosqlite.Connection, function: Any, *arguments: Any, **options: Any) -> Any:
        asked.append(function.__name__)
        return await execute(self, function, *arguments, **options)

    monkeypatch.setattr(aiosqlite.Connection, "_execute", note)
    return asked


async def names(database: Database) -> list[str]:
    async with database.across.read() as connection:
        return list((await connection.execute(select(tenants.c.name).order_by(tenants.c.name))).scalars())


async def test_a_statement_is_one_visit_to_the_drivers_thread(database: Database, visits: list[str]) -> None:
    async with database.across.transaction() as connection:
        tenant = await create_tenant(connection, "Acme")
    visits.clear()
    async with database.across.read() as connection:
        found = (await connection.execute(select(tenants).where(tenants.c.id == tenant.id))).one()
    assert (found.name, len(visits)) == ("Acme", 1)
    visits.clear()
    async with database.across.transaction() as connection:
        await connection.execute(update(tenants).values(name="Zenith"))
        assert (await connection.execute(select(tenants.c.name))).scalar_one() == "Zenith"
    assert len(visits) == len(["begin and update", "select", "commit"])


async def test_rows_counts_and_errors_are_the_drivers(database: Database) -> None:
    async with database.across.transaction() as connection:
        for name in "abc":
            await create_tenant(connection, name, id=f"ten_{name}")
        renamed = await connection.execute(update(tenants).where(tenants.c.name != "c").values(name="x"))
        assert renamed.rowcount == 2
        returned = await connection.execute(update(tenants).values(name="y").returning(tenants.c.id))
        assert sorted(returned.scalars()) == ["ten_a", "ten_b", "ten_c"]
        assert (await connection.execute(select(tenants).where(tenants.c.id == "none"))).all() == []
    with pytest.raises(OperationalError, match="no such table"):
        async with database.across.read() as connection:
            await connection.execute(text("SELECT * FROM absent"))
    with pytest.raises(IntegrityError):
        async with database.across.transaction() as connection:
            await create_tenant(connection, "again", id="ten_a")
    assert await names(database) == ["y", "y", "y"]


async def test_what_fails_or_is_cancelled_inside_a_transaction_leaves_nothing(database: Database) -> None:
    reached = asyncio.Event()

    async def fail() -> None:
        async with database.across.transaction() as connection:
            await create_tenant(connection, "failed")
            raise ZeroDivisionError

    async def hang() -> None:
        async with database.across.transaction() as connection:
            await create_tenant(connection, "canceled")
            reached.set()
            await asyncio.Event().wait()

    with pytest.raises(ZeroDivisionError):
        await fail()
    hanging = asyncio.create_task(hang())
    async with asyncio.timeout(10):
        await reached.wait()
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)
    async with database.across.transaction() as connection:
        await create_tenant(connection, "kept")
    assert await names(database) == ["kept"]


async def test_a_statement_that_is_cancelled_under_way_leaves_a_connection_that_works(database: Database) -> None:
    slow = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000000) SELECT max(i) FROM n")

    async def write() -> None:
        async with database.across.transaction() as connection:
            await create_tenant(connection, "canceled")
            await connection.execute(slow)

    writing = asyncio.create_task(write())
    await asyncio.sleep(0.02)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    async with asyncio.timeout(10), database.across.transaction() as connection:
        await create_tenant(connection, "kept")
    assert await names(database) == ["kept"]
