import asyncio
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import literal, select, text

from plugins.storage.database import Database, Instant, now

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


async def test_a_moment_beyond_what_utc_can_write_is_the_first_or_the_last(database: Database) -> None:
    first = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=23)))
    last = datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-23)))
    query = select(literal(first, Instant) < literal(now(), Instant), literal(now(), Instant) < literal(last, Instant))
    async with database.across.read() as connection:
        assert tuple(map(bool, (await connection.execute(query)).one())) == (True, True)
