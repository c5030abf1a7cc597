"""One database, SQLite or PostgreSQL: its engine, its transactions, and the one `metadata` of all tables."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, MetaData, Table, event
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.types import TypeDecorator

from plugins.storage import sqlite

#: Every table of every floor; Alembic migrates exactly this.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: seconds that a connection to PostgreSQL may take, and that one is waited for while all are in use: who asks the API
#: hears within five that the database is away
PATIENCE = 4.0


class Instant(TypeDecorator[datetime]):
    """A moment in UTC, with microseconds. Naive datetimes are refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Database:
    """An open database. Make one per process, in the composition root, and `close` it there.

    Args:
        url: ``sqlite:///path/to/file.db`` or ``postgresql://user@host/name``; the async driver is filled in.
    """

    def __init__(self, url: str) -> None:
        self.engine: AsyncEngine = _engine(url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        # SQLite has one writer at a time: queue for it here, where waiting is cheap and fair.
        self._writer = asyncio.Lock() if self.is_sqlite else None

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading; nothing done on it is kept."""
        async with self.engine.connect() as connection:
            await connection.execution_options(reads=True)
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A connection for writing: committed at the end, rolled back on an error.

        Await nothing but the database inside.
        """
        async with AsyncExitStack() as stack:
            if self._writer is not None:
                await stack.enter_async_context(self._writer)
            connection = await stack.enter_async_context(self.engine.connect())
            await connection.execution_options(writes=True)
            async with connection.begin():
                yield connection

    def insert(self, table: Table) -> "sqlite_dialect.Insert | postgresql.Insert":
        """An INSERT that knows ``on_conflict_do_nothing`` and ``on_conflict_do_update`` in this dialect."""
        return sqlite_dialect.insert(table) if self.is_sqlite else postgresql.insert(table)

    async def close(self) -> None:
        await self.engine.dispose()


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


def async_url(url: str) -> str:
    """Name the async driver in a database URL that names none."""
    for plain, driver in (
        ("sqlite:", "sqlite+aiosqlite:"),
        ("postgresql:", "postgresql+asyncpg:"),
        ("postgres:", "postgresql+asyncpg:"),
    ):
        if url.startswith(plain):
            return driver + url.removeprefix(plain)
    return url


def _engine(url: str) -> AsyncEngine:
    patience: dict[str, Any] = {"pool_timeout": PATIENCE, "connect_args": {"timeout": PATIENCE}}
    engine = create_async_engine(
        async_url(url),
        # Errors travel into logs; what users stored must not.
        hide_parameters=True,
        **({} if url.startswith("sqlite") else patience),
    )
    if engine.dialect.name == "sqlite":
        sqlite.adapt(engine.sync_engine)
    else:
        event.listen(engine.sync_engine, "checkout", _refuse_closed)
    return engine


def _refuse_closed(connection: Any, _entry: object, _proxy: object) -> None:
    """Let the pool make new connections when the server has closed one, as a restart closes all of them.

    The event loop hears of that by itself: SQLAlchemy's ping before each use would be three round trips more.
    """
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError
