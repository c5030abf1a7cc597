"""When things were last used: written beside what uses them, at most once a minute for each."""

import asyncio
import time
from datetime import datetime

import structlog
from sqlalchemy import Table, update
from sqlalchemy.exc import SQLAlchemyError

from plugins.storage.database import Database, now

log = structlog.get_logger(__name__)

#: seconds for which a use goes unwritten after another one
INTERVAL = 60.0
#: seconds in which uses gather before they are written together
GATHERING = 0.5
_MOST_KNOWN = 50_000


class LastUsed:
    """Keeps ``last_used_at`` of a table. Make one per process; it loses at most the last minute.

    Args:
        database: holds the table.
        table: with ``tenant_id``, ``id`` and ``last_used_at``.
    """

    def __init__(self, database: Database, table: Table) -> None:
        self._database = database
        self._table = table
        #: when each was noted last, by this process's clock
        self._noted: dict[tuple[str, str], float] = {}
        self._waiting: dict[tuple[str, str], datetime] = {}
        self._writing: asyncio.Task[None] | None = None

    def note(self, tenant_id: str, id: str) -> None:
        """Say that this was used now. Returns at once."""
        key, clock = (tenant_id, id), time.monotonic()
        if clock - self._noted.get(key, float("-inf")) < INTERVAL:
            return
        if len(self._noted) >= _MOST_KNOWN:
            self._noted.clear()
        self._noted[key] = clock
        self._waiting[key] = now()
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_soon())

    async def close(self) -> None:
        """Write what waits."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait([self._writing])
        await self._write()

    async def _write_soon(self) -> None:
        while self._waiting:
            await asyncio.sleep(GATHERING)
            await self._write()

    async def _write(self) -> None:
        written, self._waiting = self._waiting, {}
        for (tenant_id, id), at in written.items():
            mine = (self._table.c.tenant_id == tenant_id, self._table.c.id == id)
            try:
                async with self._database.transaction(tenant_id) as connection:
                    await connection.execute(update(self._table).where(*mine).values(last_used_at=at))
            except (SQLAlchemyError, OSError) as error:
                # It is a convenience, and comes with the next use again.
                log.warning("lastUsed.notWritten", table=self._table.name, error=type(error).__name__)
