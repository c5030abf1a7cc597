import asyncio

import pytest
from sqlalchemy import text

from plugins.storage.database import Database

_OTHERS = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
_END_OTHERS = text(f"SELECT pg_terminate_backend(pid) {_OTHERS}")
_COUNT_OTHERS = text(f"SELECT count(*) {_OTHERS}")


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_connections_that_the_server_closed_are_replaced_before_they_are_used(database: Database) -> None:
    async def use() -> None:
        async with database.across.transaction() as connection:
            await connection.execute(text("SELECT pg_sleep(0.05)"))

    await asyncio.gather(*(use() for _ in range(5)))
    ender = Database(database.engine.url.render_as_string(hide_password=False))
    async with ender.across.read() as connection:
        await connection.execute(_END_OTHERS)
    others = 1
    async with asyncio.timeout(10):
        while others:
            async with ender.across.read() as connection:
                others = (await connection.execute(_COUNT_OTHERS)).scalar_one()
    await ender.close()
    await asyncio.sleep(0)  # the event loop reads what came before
    await asyncio.gather(*(use() for _ in range(5)))
