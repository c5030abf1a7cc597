"""Renewal: what lives long is sealed again with the present key, so that retired keys can be destroyed.

A column takes part by saying what its sealed bytes are bound to: ``info=sealed_as(lambda row: …)``. All others are
sealed once, and go with their rows. Executions are never renewed: for as long as a row of one is there, so may be its
history on Temporal, which the same keys seal.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Column, ColumnElement, Table, and_, func, literal, or_, select, tuple_, update
from sqlalchemy.engine import Row

from plugins.storage.database import Database, metadata, now
from plugins.vault.cipher import Sealer, version_bytes
from plugins.vault.errors import KeyNeeded, KeyNotFound, Unreadable
from plugins.vault.keys import DataKey, Vault

log = structlog.get_logger(__name__)

#: rows that are renewed in one transaction
BATCH = 100
#: how long a key has not sealed any more before it may be destroyed: what is on its way, in streams and in queues, is
#: gone by then
REST = timedelta(days=1)

_SUFFIX = "_sealed"
_PLACE = "sealed_as"


def sealed_as(place: Callable[[Row[Any]], str]) -> dict[str, Any]:
    """Let a column take part in renewals; `place` says what the bytes of a row are bound to."""
    return {_PLACE: place}


class Renewal:
    """Renews what tenants have, and destroys keys that nothing needs."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def renew(self, tenant_id: str, *, on_progress: Callable[[int], None] = lambda _: None) -> int:
        """Seal again what older keys sealed, and return how many rows that were.

        It may stop anywhere and begin anew; what is written meanwhile by others stays as they wrote it.

        Raises:
            KeysDestroyed: the tenant was shredded.
        """
        renewed = 0
        for table in metadata.sorted_tables:
            if columns := [column for column in table.c if _PLACE in column.info]:
                async for count in self._renew(tenant_id, table, columns):
                    renewed += count
                    on_progress(renewed)
        return renewed

    async def needs(self, tenant_id: str, version: int) -> dict[str, int]:
        """Return how many rows of which tables a key is needed for."""
        needs = {}
        async with self._database.read(tenant_id) as connection:
            for table, columns in _sealed_tables():
                query = select(func.count()).select_from(table).where(*_needing(tenant_id, version, table, columns))
                if count := (await connection.execute(query)).scalar_one():
                    needs[table.name] = count
        return needs

    async def discard(self, tenant_id: str) -> list[int]:
        """Destroy the retired keys that have rested and that nothing needs; return their versions.

        Raises:
            UnknownTenant
        """
        discarded = []
        keys = await self._vault.keys(tenant_id)
        for key in keys:
            if key.state != "retired" or now() < _rested_at(key.version, keys) or await self._is_needed(tenant_id, key):
                continue
            await self._vault.destroy_version(tenant_id, key.version)
            log.info("vault.keyDiscarded", tenant_id=tenant_id, version=key.version)
            discarded.append(key.version)
        return discarded

    async def destroy(self, tenant_id: str, version: int) -> None:
        """Destroy a retired key.

        Raises:
            KeyNotFound: there is none of this version, or not any more.
            KeyNeeded: something is sealed with it, or it has not rested for long enough.
        """
        keys = await self._vault.keys(tenant_id)
        states = {key.version: key.state for key in keys}
        if states.get(version, "destroyed") == "destroyed":
            raise KeyNotFound(f"there is no data key {version}")
        if states[version] == "active":
            raise KeyNeeded(f"data key {version} is the one that seals; rotate it first")
        if now() < (rested_at := _rested_at(version, keys)):
            raise KeyNeeded(f"data key {version} may be destroyed from {rested_at:%Y-%m-%dT%H:%M:%SZ} on")
        if needs := await self.needs(tenant_id, version):
            listed = ", ".join(f"{count} of {table}" for table, count in needs.items())
            raise KeyNeeded(f"data key {version} is needed for {listed}; they go by renewal, or by their retention")
        await self._vault.destroy_version(tenant_id, version)

    async def _is_needed(self, tenant_id: str, key: DataKey) -> bool:
        async with self._database.read(tenant_id) as connection:
            for table, columns in _sealed_tables():
                # The first row that needs it is enough: of the tables of a tenant at work few are looked through.
                one = select(literal(1)).select_from(table).where(*_needing(tenant_id, key.version, table, columns))
                if (await connection.execute(one.limit(1))).first() is not None:
                    return True
        return False

    async def _renew(self, tenant_id: str, table: Table, columns: Sequence[Column[Any]]) -> AsyncIterator[int]:
        """Renew the rows of one table, and yield after each batch how many there were in it."""
        last = None
        key = tuple(table.primary_key)
        while True:
            sealer = await self._vault.sealer(tenant_id)
            stale = or_(*(_is_stale(column, sealer) for column in columns))
            query = select(table).where(table.c.tenant_id == tenant_id, stale).order_by(*key).limit(BATCH)
            if last is not None:
                query = query.where(tuple_(*key) > tuple_(*last))
            async with self._database.read(tenant_id) as connection:
                rows = (await connection.execute(query)).all()
            if not rows:
                return
            changes = [(row, change) for row in rows if (change := _renewed(row, columns, sealer))]
            renewed = 0
            async with self._database.transaction(tenant_id) as connection:
                for row, change in changes:
                    # As it was read: what somebody has written since then is newer, and sealed with a newer key.
                    unchanged = [table.c[name] == getattr(row, name) for name in change]
                    same = and_(*(column == getattr(row, column.name) for column in key), *unchanged)
                    renewed += (await connection.execute(update(table).where(same).values(change))).rowcount
            last = tuple(getattr(rows[-1], column.name) for column in key)
            yield renewed


def _renewed(row: Row[Any], columns: Sequence[Column[Any]], sealer: Sealer) -> dict[str, bytes]:
    """Return the columns of a row that an older key sealed, sealed again."""
    change = {}
    for column in columns:
        sealed: bytes | None = getattr(row, column.name)
        if sealed is None or sealed[1:5] == version_bytes(sealer.sealing):
            continue
        place = column.info[_PLACE](row)
        try:
            change[column.name] = sealer.seal(sealer.open(sealed, place), place)
        except Unreadable as error:
            # It was so before, and stays so; the others go on.
            log.error("renewal.unreadable", tenant_id=row.tenant_id, column=f"{column.table.name}.{column.name}")
            log.debug("renewal.unreadable", reason=str(error))
    return change


def _sealed_tables() -> Iterator[tuple[Table, list[Column[Any]]]]:
    for table in metadata.sorted_tables:
        columns = [column for column in table.c if column.name.endswith(_SUFFIX)]
        if columns:
            yield table, columns


def _needing(
    tenant_id: str, version: int, table: Table, columns: Sequence[Column[Any]]
) -> tuple[ColumnElement[bool], ...]:
    """The rows of a table that a key is needed for."""
    return table.c.tenant_id == tenant_id, or_(*(_version(column) == version_bytes(version) for column in columns))


def _rested_at(version: int, keys: Sequence[DataKey]) -> datetime:
    """When a key that has a successor has not sealed for long enough."""
    return min(key.seals_from for key in keys if key.version > version and key.state != "destroyed") + REST


def _version(column: Column[Any]) -> Any:
    """The version of the key that sealed, as it stands in the bytes."""
    return func.substr(column, 2, 4)


def _is_stale(column: Column[Any], sealer: Sealer) -> Any:
    return and_(column.is_not(None), _version(column) != version_bytes(sealer.sealing))
