"""The tenants' data keys: made at first use, wrapped by the master key, cached in memory."""

import os
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import Column, ForeignKey, Integer, LargeBinary, String, Table, select, update
from sqlalchemy.exc import IntegrityError

from plugins.storage.database import Database, Instant, metadata, now
from plugins.storage.tenants import tenants
from plugins.vault.cipher import KEY_SIZE, Sealer
from plugins.vault.errors import KeysDestroyed, UnknownTenant
from plugins.vault.master import MasterKey

__all__ = ["KeyState", "MasterKey", "Vault", "tenant_keys"]

#: active     seals and opens
#: retired    opens only
#: destroyed  its wrapped key is gone, and with it all that it sealed
KeyState = Literal["active", "retired", "destroyed"]

tenant_keys = Table(
    "tenant_keys",
    metadata,
    Column("tenant_id", String(40), ForeignKey(tenants.c.id), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("master_version", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", Instant, nullable=False),
)

#: Seconds for which a process trusts what it read of a tenant's keys.
CACHE_SECONDS = 60.0
#: Tenants whose keys one process holds at a time.
CACHE_TENANTS = 10_000


class Vault:
    """Gives out each tenant's `Sealer`. Make one per process."""

    def __init__(self, database: Database, master: MasterKey) -> None:
        self._database = database
        self._master = master
        self._cache: dict[str, tuple[float, Sealer]] = {}

    async def sealer(self, tenant_id: str) -> Sealer:
        """Return the tenant's sealer; its first data key is made at first use.

        Ask each time and keep none: this is how a process learns of rotated and destroyed keys within
        `CACHE_SECONDS`. Ask before opening a transaction, not inside one: making a key is a transaction too.

        Raises:
            UnknownTenant: there is no such tenant.
            KeysDestroyed: the tenant was shredded.
            MasterKeyError, Unreadable: the master key file is not the one these keys were wrapped with.
        """
        cached = self._cache.get(tenant_id)
        if cached is not None and time.monotonic() < cached[0]:
            return cached[1]
        rows = await self._read(tenant_id) or await self._make_first(tenant_id)
        sealer = self._unwrap(tenant_id, rows)
        self._remember(tenant_id, sealer)
        return sealer

    async def rotate(self, tenant_id: str) -> int:
        """Make the tenant a new data key and return its version; the older ones go on opening what they sealed.

        It begins to seal once every process has had time to learn of it.

        Raises:
            KeysDestroyed: the tenant was shredded.
        """
        await self.sealer(tenant_id)
        version: int = max(row.version for row in await self._read(tenant_id)) + 1
        await self._insert(tenant_id, version)
        self._cache.pop(tenant_id, None)
        return version

    async def destroy(self, tenant_id: str) -> None:
        """Destroy the tenant's keys: everything sealed for it becomes unreadable, in every process within a minute."""
        gone = update(tenant_keys).where(tenant_keys.c.tenant_id == tenant_id)
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(gone.values(wrapped_key=b"", state="destroyed"))
        self._cache.pop(tenant_id, None)

    async def rewrap(self, limit: int = 500) -> int:
        """Wrap up to `limit` data keys again that an older master key wrapped; return how many, 0 when none is left."""
        old = (
            select(tenant_keys)
            .where(tenant_keys.c.master_version != self._master.current, tenant_keys.c.state != "destroyed")
            .limit(limit)
        )
        async with self._database.across.transaction() as connection:
            rows = (await connection.execute(old)).all()
            for row in rows:
                binding = _binding(row.tenant_id, row.version)
                key = self._master.unwrap(row.wrapped_key, row.master_version, binding)
                await connection.execute(
                    update(tenant_keys)
                    .where(
                        tenant_keys.c.tenant_id == row.tenant_id,
                        tenant_keys.c.version == row.version,
                        tenant_keys.c.state != "destroyed",
                    )
                    .values(wrapped_key=self._master.wrap(key, binding), master_version=self._master.current)
                )
        return len(rows)

    async def _read(self, tenant_id: str) -> Sequence[Any]:
        query = select(tenant_keys).where(tenant_keys.c.tenant_id == tenant_id).order_by(tenant_keys.c.version)
        async with self._database.read(tenant_id) as connection:
            return (await connection.execute(query)).all()

    async def _make_first(self, tenant_id: str) -> Sequence[Any]:
        # Of several processes that come here at once one inserts; all of them read what that one inserted.
        try:
            await self._insert(tenant_id, 1)
        except IntegrityError:
            raise UnknownTenant(f"there is no tenant {tenant_id!r}") from None
        return await self._read(tenant_id)

    async def _insert(self, tenant_id: str, version: int) -> None:
        row = {
            "tenant_id": tenant_id,
            "version": version,
            "wrapped_key": self._master.wrap(os.urandom(KEY_SIZE), _binding(tenant_id, version)),
            "master_version": self._master.current,
            "state": "active",
            "created_at": now(),
        }
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(self._database.insert(tenant_keys).values(row).on_conflict_do_nothing())

    def _unwrap(self, tenant_id: str, rows: Sequence[Any]) -> Sealer:
        usable = [row for row in rows if row.state != "destroyed"]
        if not usable:
            raise KeysDestroyed(f"the keys of tenant {tenant_id!r} were destroyed")
        # A new key seals only when no process can still hold a cache from before it: all can open what it seals.
        known = now() - timedelta(seconds=2 * CACHE_SECONDS)
        active = [row for row in usable if row.state == "active"] or usable
        sealing = max((row.version for row in active if row.created_at < known), default=active[0].version)
        keys = {
            row.version: self._master.unwrap(row.wrapped_key, row.master_version, _binding(tenant_id, row.version))
            for row in usable
        }
        return Sealer(tenant_id, keys, sealing)

    def _remember(self, tenant_id: str, sealer: Sealer) -> None:
        self._cache.pop(tenant_id, None)
        if len(self._cache) >= CACHE_TENANTS:
            del self._cache[next(iter(self._cache))]
        self._cache[tenant_id] = (time.monotonic() + CACHE_SECONDS, sealer)


def _binding(tenant_id: str, version: int) -> str:
    return f"tenant_key:{tenant_id}:{version}"
