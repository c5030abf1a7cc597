"""Records written to a table of PostgreSQL."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import asyncpg
import msgspec

from plugins import Context, DatabaseCredential, Permanent, Transient
from plugins.builtin.sync.database_url import parse_database_url
from plugins.builtin.sync.model import SqlSink
from plugins.builtin.sync.pointer import find

_CONNECT_TIMEOUT = 10.0
#: seconds for writing one page
_WRITE_TIMEOUT = 60.0

#: classes of SQLSTATE that may pass: connections, transactions that collided, resources, an operator who intervened
_PASSING = ("08", "40", "53", "55", "57", "58")
#: what a user can mend
_TYPES = {"28": "database.authentication", "3D": "database.unknown", "42": "sync.table"}


class _GuardedLoop:
    """The event loop as asyncpg sees it: the connections that it makes go by the guard."""

    def __init__(self, connect: Callable[..., Awaitable[Any]]) -> None:
        self._connect = connect
        self._loop = asyncio.get_running_loop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(self, protocol: Callable[[], Any], host: str, port: int) -> Any:
        opened = await self._connect(host, port, timeout=_CONNECT_TIMEOUT)
        try:
            return await self._loop.create_connection(protocol, sock=opened)
        except BaseException:
            opened.close()
            raise


class PostgresWriter:
    def __init__(self, connection: "asyncpg.Connection[Any]", sink: SqlSink) -> None:
        self._connection = connection
        self._sink = sink
        self._statement = statement(sink)

    async def write(self, page: int, records: list[Any]) -> None:
        """Write the records of a page, all or none."""
        rows = _rows(self._sink, page, records)
        if rows:
            with _failures():
                await self._connection.execute(self._statement, msgspec.json.encode(rows).decode())


@asynccontextmanager
async def open_postgres(sink: SqlSink, ctx: Context) -> AsyncIterator[PostgresWriter]:
    """Connect to the database of slot `database`.

    Raises:
        PluginError: of the way there; ``database.authentication``, ``database.unknown``, ``database.unavailable``.
    """
    credential = ctx.credential("database")
    if not isinstance(credential, DatabaseCredential):
        raise Permanent("the credential in slot 'database' names no database", type="credential.unsuitable")
    http = ctx.http_for("database")
    try:
        place = parse_database_url(credential.url.reveal())
    except ValueError as error:
        raise Permanent(str(error), type="credential.unsuitable") from None
    with _failures():
        connection = await asyncpg.connect(
            host=place.host,
            port=place.port,
            user=place.user,
            # Never none: it would be looked for in the files of this machine.
            password=place.password,
            database=place.name,
            ssl=_tls(http.tls, place.sslmode),
            timeout=_CONNECT_TIMEOUT,
            command_timeout=_WRITE_TIMEOUT,
            # A pooler between may give the next statement to another server process.
            statement_cache_size=0,
            loop=cast(asyncio.AbstractEventLoop, _GuardedLoop(http.connect)),
        )
    try:
        yield PostgresWriter(connection, sink)
    finally:
        connection.terminate()


def statement(sink: SqlSink) -> str:
    """Return the INSERT of a page, whose one parameter is a JSON array of rows; the server converts the values."""
    table = ".".join(map(_quoted, sink.table.split(".")))
    columns = ", ".join(map(_quoted, sink.columns))
    others = [column for column in sink.columns if column not in sink.key]
    changes = ", ".join(f"{_quoted(column)} = EXCLUDED.{_quoted(column)}" for column in others)
    action = f"UPDATE SET {changes}" if changes and sink.mode == "upsert" else "NOTHING"
    return (
        f"INSERT INTO {table} ({columns})"  # noqa: S608 - names are checked by the config, and quoted
        f" SELECT {columns} FROM jsonb_populate_recordset(NULL::{table}, $1::jsonb)"
        f" ON CONFLICT ({', '.join(map(_quoted, sink.key))}) DO {action}"
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _rows(sink: SqlSink, page: int, records: list[Any]) -> list[dict[str, Any]]:
    """Return one row for each key; of several records with one key, as a source shifts under us, the last counts."""
    rows: dict[str, dict[str, Any]] = {}
    for index, record in enumerate(records):
        row = {column: find(record, pointer) for column, pointer in sink.columns.items()}
        for column in sink.key:
            if row[column] is None:
                raise Permanent(
                    f"record {index} of page {page} has nothing at {sink.columns[column]}, and its key column"
                    f" {column!r} needs a value",
                    type="sync.keyMissing",
                )
        rows[msgspec.json.encode([row[column] for column in sink.key]).decode()] = row
    return list(rows.values())


def _tls(trusted: ssl.SSLContext, sslmode: str) -> ssl.SSLContext | bool:
    if sslmode == "disable":
        return False
    if sslmode == "verify-full":
        return trusted
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@contextmanager
def _failures() -> Iterator[None]:
    """Turn asyncpg's errors into ours. A page is written once however often: what is unknown may be repeated."""
    try:
        yield
    except asyncpg.PostgresError as error:
        raise _refusal(error) from None
    except ssl.SSLCertVerificationError:
        raise Permanent(
            "the certificate of the database is not trusted; sslmode=require encrypts without asking who it is",
            type="database.untrusted",
        ) from None
    except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise Transient(
            f"the database does not answer, or the connection broke ({type(error).__name__})",
            type="database.unavailable",
        ) from None


def _refusal(error: asyncpg.PostgresError) -> Permanent | Transient:
    state = error.sqlstate or ""
    message = f"the database answered {state}: {str(error).splitlines()[0][:300]}"
    if state.startswith(_PASSING):
        return Transient(message, type="database.unavailable")
    if state == "42P10":
        message = "the key of the sync has no unique index on this table; make one on exactly these columns"
    return Permanent(message, type=_TYPES.get(state[:2], "sync.rejected"))
