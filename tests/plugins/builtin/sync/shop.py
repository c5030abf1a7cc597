"""The sink of a sync: a database of its own on a real PostgreSQL, reached by TCP as a tenant's is."""

import asyncio
import secrets
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
from msgspec import Struct

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)

TABLE = """
CREATE SCHEMA warehouse;
CREATE TABLE warehouse."Products" (
    id text PRIMARY KEY, name text NOT NULL, price numeric(10, 2), tags jsonb, seen_at timestamptz,
    writes integer NOT NULL DEFAULT 1
)
"""


class Shop(Struct, frozen=True):
    #: as a credential has it
    url: str
    connection: Any
    #: of connections of syncs that are open
    lines: list[asyncio.StreamWriter]

    async def rows(self) -> list[dict[str, Any]]:
        found = await self.connection.fetch('SELECT id, name, price FROM warehouse."Products" ORDER BY id')
        return [{"id": row["id"], "name": row["name"], "price": float(row["price"])} for row in found]


@asynccontextmanager
async def open_shop(postgres_url: str, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Shop]:
    """Make a database, and a TCP port that leads to it; its server listens on a socket of this machine alone."""
    folder = parse_qs(urlsplit(postgres_url).query)["host"][0]
    name = f"shop_{secrets.token_hex(4)}"
    admin = await asyncpg.connect(host=folder, user="postgres", database="postgres")
    await admin.execute(f"CREATE DATABASE {name}")
    connection = await asyncpg.connect(host=folder, user="postgres", database=name)
    await connection.execute(TABLE)
    lines: list[asyncio.StreamWriter] = []
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while content := await reader.read(65536):
                writer.write(content)
                await writer.drain()
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readexactly(8)
        if first == _SSL_REQUEST:
            writer.write(b"S" if tls else b"N")
            if tls:
                try:
                    await writer.start_tls(tls)
                except (OSError, ConnectionError):
                    return
            first = b""
        lines.append(writer)
        inner_reader, inner_writer = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")
        inner_writer.write(first)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    mode = "verify-full" if tls else "disable"
    yield Shop(f"postgresql://postgres:s3cr3t@127.0.0.1:{port}/{name}?sslmode={mode}", connection, lines)
    server.close()
    for task in list(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await connection.close()
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()
