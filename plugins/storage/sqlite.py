"""SQLite: how its connections are prepared, and its driver with one visit to its thread for each statement.

A driver's thread that is woken, and the event loop that it wakes, cost more than SQLite takes for a row. SQLAlchemy's
own adapter goes there four times for a SELECT, three for anything else, once to begin a transaction, which here its
first statement does, and once to roll back what was never begun.
"""

from collections import deque
from typing import Any

from sqlalchemy import Dialect, event
from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_connection, AsyncAdapt_aiosqlite_cursor
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import ConnectionPoolEntry

_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA busy_timeout = 10000",
    "PRAGMA foreign_keys = ON",
)


def adapt(engine: Engine) -> None:
    """Make an engine over aiosqlite work as this module says."""
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)


class _Cursor(AsyncAdapt_aiosqlite_cursor):
    """Carries out a statement, takes all its rows and closes in one visit."""

    __slots__ = ("_told",)

    def __init__(self, adapt_connection: Any) -> None:
        self._adapt_connection = adapt_connection
        self._connection = adapt_connection._connection
        self._rows = deque()
        #: description, rowcount and lastrowid, as the driver's cursor had them
        self._told: tuple[Any, int, Any] = (None, -1, None)

    @property
    def description(self) -> Any:
        return self._told[0]

    @property
    def rowcount(self) -> int:
        return self._told[1]

    @property
    def lastrowid(self) -> Any:
        return self._told[2]

    @property
    def arraysize(self) -> int:
        # Python's database API has 1; nobody here changes it.
        return 1

    @arraysize.setter
    def arraysize(self, value: int) -> None:
        raise NotImplementedError("give `fetchmany` its size")

    def close(self) -> None:
        self._rows.clear()

    async def _async_soft_close(self) -> None:
        """Do nothing: it is closed already."""

    async def _execute_async(self, operation: Any, parameters: Any) -> None:
        await self._visit("execute", operation, () if parameters is None else parameters)

    async def _executemany_async(self, operation: Any, seq_of_parameters: Any) -> None:
        await self._visit("executemany", operation, seq_of_parameters)

    async def _visit(self, method: str, operation: Any, parameters: Any) -> None:
        driver: Any = self._connection
        connection: Any = self._adapt_connection
        begin = connection.take_begin()

        def work() -> tuple[tuple[Any, int, Any], list[Any]]:
            cursor = driver._conn.cursor()
            try:
                if begin is not None:
                    cursor.execute(begin)
                getattr(cursor, method)(operation, parameters)
                rows = cursor.fetchall() if cursor.description else []
                return (cursor.description, cursor.rowcount, cursor.lastrowid), rows
            finally:
                cursor.close()

        async with self._adapt_connection._execute_mutex:
            self._told, rows = await driver._execute(work)
        self._rows = deque(rows)


class _Connection(AsyncAdapt_aiosqlite_connection):
    __slots__ = ("begin",)

    _cursor_cls = _Cursor

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        #: the statement that begins the transaction to come
        self.begin: str | None = None

    def take_begin(self) -> str | None:
        begin, self.begin = self.begin, None
        return begin

    def rollback(self) -> None:
        self.begin = None
        if self._is_in_transaction():
            super().rollback()

    def commit(self) -> None:
        self.begin = None
        if self._is_in_transaction():
            super().commit()

    def _is_in_transaction(self) -> bool:
        connection: Any = self._connection
        return connection._connection is not None and connection.in_transaction


def _connect(dialect: Dialect, _entry: ConnectionPoolEntry, arguments: Any, options: Any) -> _Connection:
    dbapi: Any = dialect.loaded_dbapi
    return _Connection(dbapi, dbapi.connect(*arguments, **options).driver_connection)


def _prepare(connection: Any, _entry: ConnectionPoolEntry) -> None:
    # The driver must not begin transactions by itself: `_begin` decides which kind.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin(connection: Connection) -> None:
    # A writer takes the lock at once: upgrading a read lock later fails without waiting. `Database.read` takes none:
    # each of its statements sees one state, and a transaction would cost another visit to the driver's thread.
    options = connection.get_execution_options()
    if not options.get("reads"):
        driver: Any = connection.connection.dbapi_connection
        driver.begin = "BEGIN IMMEDIATE" if options.get("writes") else "BEGIN DEFERRED"
