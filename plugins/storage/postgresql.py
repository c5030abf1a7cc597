"""PostgreSQL: its driver, which tells each transaction for whom it acts in the visit that begins it.

What a transaction may see is `plugins.storage.isolation`'s.
"""

from typing import Any

from sqlalchemy import Dialect, event
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_connection
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.util import await_only


def adapt(engine: Engine) -> None:
    """Make an engine over asyncpg work as this module says: option ``acts_for`` of a connection names tenants."""
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "checkout", _refuse_closed)


class _Transaction:
    """What SQLAlchemy's adapter needs of a transaction. The driver's own cannot begin with a second statement."""

    def __init__(self, driver: Any, acts_for: str) -> None:
        self._driver = driver
        self._acts_for = acts_for

    async def start(self) -> None:
        quoted = self._acts_for.replace("'", "''")
        await self._driver.execute(f"BEGIN; SET LOCAL app.tenant = '{quoted}'")

    async def commit(self) -> None:
        await self._driver.execute("COMMIT")

    async def rollback(self) -> None:
        await self._driver.execute("ROLLBACK")


class _Connection(AsyncAdapt_asyncpg_connection):
    __slots__ = ("acts_for",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)  # type: ignore[no-untyped-call]
        #: of the transaction to come
        self.acts_for: str | None = None

    async def _start_transaction(self) -> None:
        acts_for, self.acts_for = self.acts_for, None
        if acts_for is None:
            await super()._start_transaction()  # type: ignore[no-untyped-call]
            return
        transaction: Any = _Transaction(self._connection, acts_for)
        try:
            await transaction.start()
        except Exception as error:
            self._handle_exception(error)
        self._transaction = transaction


def _connect(dialect: Dialect, _entry: ConnectionPoolEntry, arguments: Any, options: Any) -> _Connection:
    dbapi: Any = dialect.loaded_dbapi
    connection: _Connection = await_only(_Connection.create(dbapi, dbapi.asyncpg.connect(*arguments, **options)))
    return connection


def _begin(connection: Connection) -> None:
    driver: Any = connection.connection.dbapi_connection
    driver.acts_for = connection.get_execution_options().get("acts_for")


def _refuse_closed(connection: Any, _entry: object, _proxy: object) -> None:
    """Let the pool make new connections when the server has closed one, as a restart closes all of them.

    The event loop hears of that by itself: SQLAlchemy's ping before each use would be three round trips more.
    """
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError
