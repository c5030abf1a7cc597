"""One database, SQLite or PostgreSQL: its engine, its transactions, and the one `metadata` of all tables."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import MINYEAR, UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, MetaData, Table
from sqlalchemy.dialects import postgresql as postgresql_dialect
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.types import TypeDecorator

from plugins.storage import postgresql, sqlite
from plugins.storage.isolation import EVERYBODY, acting_for
from plugins.storage.turns import TurnLock

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
        try:
            return value.astimezone(UTC)
        except OverflowError:
            # Within hours of the first or the last moment that there is: those stand for it.
            return (datetime.min if value.year == MINYEAR else datetime.max).replace(tzinfo=UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Database:
    """An open database. Make one per process, in the composition root, and `close` it there.

    Whoever reads or writes says for whom. PostgreSQL shows and takes no other tenant's rows
    (`plugins.storage.isolation`); SQLite leaves it to the statements.

    Args:
        url: ``sqlite:///path/to/file.db`` or ``postgresql://user@host/name``; the async driver is filled in.
    """

    def __init__(self, url: str) -> None:
        self.engine: AsyncEngine = _engine(url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        # SQLite has one writer at a time: queue for it here, where waiting is cheap and tenants take turns.
        self._writer = TurnLock() if self.is_sqlite else None

    @property
    def across(self) -> "Across":
        """The door to rows of every tenant: for chores of the installation, and to find whose a token is."""
        return Across(self)

    def read(self, tenant_id: str, *others: str) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection for reading what these tenants own; nothing done on it is kept."""
        return self._read(acting_for(tenant_id, *others))

    def transaction(self, tenant_id: str, *others: str) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection for writing what these tenants own: committed at the end, rolled back on an error.

        Await nothing but the database inside.
        """
        return self._transaction(acting_for(tenant_id, *others))

    @asynccontextmanager
    async def _read(self, acts_for: str) -> AsyncIterator[AsyncConnection]:
        async with self.engine.connect() as connection:
            await connection.execution_options(reads=True, acts_for=acts_for)
            yield connection

    @asynccontextmanager
    async def _transaction(self, acts_for: str) -> AsyncIterator[AsyncConnection]:
        async with AsyncExitStack() as stack:
            if self._writer is not None:
                await stack.enter_async_context(self._writer.turn_of(acts_for))
            connection = await stack.enter_async_context(self.engine.connect())
            await connection.execution_options(writes=True, acts_for=acts_for)
            async with connection.begin():
                yield connection

    def insert(self, table: Table) -> "sqlite_dialect.Insert | postgresql_dialect.Insert":
        """An INSERT that knows ``on_conflict_do_nothing`` and ``on_conflict_do_update`` in this dialect."""
        return sqlite_dialect.insert(table) if self.is_sqlite else postgresql_dialect.insert(table)

    async def close(self) -> None:
        await self.engine.dispose()


class Across:
    """Acts for every tenant at once; `tests/test_architecture.py` names the modules that may."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """As `Database.read`, of everybody's rows."""
        return self._database._read(EVERYBODY)

    def transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """As `Database.transaction`, of everybody's rows."""
        return self._database._transaction(EVERYBODY)


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
        postgresql.adapt(engine.sync_engine)
    return engine
