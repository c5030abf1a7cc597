"""The tenants' data keys: made at first use, wrapped by the master key, cached in memory."""

import os
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import Column, ForeignKey, Integer, LargeBinary, String, Table, func, select, update
from sqlalchemy.exc import IntegrityError

from plugins.storage.database import Database, Instant, metadata, now
from plugins.storage.tenants import tenants
from plugins.vault.cipher import KEY_SIZE, Sealer
from plugins.vault.errors import KeysDestroyed, UnknownTenant
from plugins.vault.master import MasterKey

__all__ = ["DataKey", "KeyState", "MasterKey", "Vault", "tenant_keys"]

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

#: Seconds for which a process trusts what it read of a tenant's keys; while it reads again, this part of them more.
CACHE_SECONDS = 5.0
_GRACE = 0.2
#: Tenants whose keys one process holds at a time.
CACHE_TENANTS = 10_000


class DataKey(Struct, frozen=True, kw_only=True, rename="camel"):
    """What may be told about a data key."""

    version: int
    state: KeyState
    #: the version of the master key that wraps it
    master_version: int
    created_at: datetime
    #: from when on it seals, in every process
    seals_from: datetime


class Vault:
    """Gives out each tenant's `Sealer`. Make one per process.

    Args:
        database: holds the wrapped keys.
        master: unwraps them.
        trust: seconds for which keys that were read are trusted; the same in every process.
    """

    def __init__(self, database: Database, master: MasterKey, *, trust: float = CACHE_SECONDS) -> None:
        self._database = database
        self._master = master
        self._trust = trust
        #: a key is older than this in every cache before it seals
        self._known_after = timedelta(seconds=2 * trust)
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
        until, held = self._cache.get(tenant_id, (0.0, None))
        if held is not None:
            if time.monotonic() < until:
                return held
            # Of many who come now one reads; the others go on for a moment with what is there.
            self._cache[tenant_id] = (time.monotonic() + _GRACE * self._trust, held)
        try:
            rows = await self._read(tenant_id) or await self._make_first(tenant_id)
        except BaseException:
            self._distrust(tenant_id)
            raise
        return self._turn(tenant_id, held, rows)

    async def keys(self, tenant_id: str) -> Sequence[DataKey]:
        """Return the tenant's data keys, the newest first.

        Raises:
            UnknownTenant
        """
        rows = await self._read(tenant_id) or await self._make_first(tenant_id)
        return [self._data_key(row) for row in reversed(rows)]

    async def rotate(self, tenant_id: str) -> DataKey:
        """Make the tenant a new data key, and retire the older ones: they go on opening what they sealed.

        It begins to seal in all processes at one moment, once every one of them has had time to learn of it.

        Raises:
            UnknownTenant
            KeysDestroyed: the tenant was shredded.
        """
        await self.sealer(tenant_id)
        newest = select(func.max(tenant_keys.c.version)).where(tenant_keys.c.tenant_id == tenant_id)
        older = update(tenant_keys).where(tenant_keys.c.tenant_id == tenant_id, tenant_keys.c.state == "active")
        async with self._database.transaction(tenant_id) as connection:
            version: int = (await connection.execute(newest)).scalar_one() + 1
            row = self._made(tenant_id, version)
            insert = self._database.insert(tenant_keys).values(row).on_conflict_do_nothing()
            # Of two rotations at once the second finds that what it wants is done.
            if (await connection.execute(insert)).rowcount:
                await connection.execute(older.where(tenant_keys.c.version < version).values(state="retired"))
        self._distrust(tenant_id)
        return next(key for key in await self.keys(tenant_id) if key.version == version)

    async def destroy(self, tenant_id: str) -> None:
        """Destroy the tenant's keys: all that is sealed for it becomes unreadable, in every process within seconds."""
        gone = update(tenant_keys).where(tenant_keys.c.tenant_id == tenant_id)
        async with self._database.transaction(tenant_id) as connection:
            # A first key that nobody has made yet would be made after this.
            if (await connection.execute(gone.values(wrapped_key=b"", state="destroyed"))).rowcount == 0:
                lost = {**self._made(tenant_id, 1), "wrapped_key": b"", "state": "destroyed"}
                await connection.execute(tenant_keys.insert().values(lost))
        self._forget(tenant_id)

    async def destroy_version(self, tenant_id: str, version: int) -> None:
        """Destroy one retired key; `plugins.vault.renewal` says whether anything needs it."""
        one = update(tenant_keys).where(
            tenant_keys.c.tenant_id == tenant_id, tenant_keys.c.version == version, tenant_keys.c.state == "retired"
        )
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(one.values(wrapped_key=b"", state="destroyed"))
        self._distrust(tenant_id)

    async def rewrap(self, limit: int = 500) -> int:
        """Wrap up to `limit` data keys again that an older master key wrapped; return how many, 0 when none is left."""
        self._master.follow()
        old = (
            select(tenant_keys)
            .where(tenant_keys.c.master_version != self._master.current, tenant_keys.c.state != "destroyed")
            .limit(limit)
        )
        async with self._database.across.transaction() as connection:
            rows = (await connection.execute(old)).all()
            for row in rows:
                binding = _binding(row.tenant_id, row.version)
                wrapped = self._master.wrap(self._master.unwrap(row.wrapped_key, row.master_version, binding), binding)
                await connection.execute(
                    update(tenant_keys)
                    .where(
                        tenant_keys.c.tenant_id == row.tenant_id,
                        tenant_keys.c.version == row.version,
                        tenant_keys.c.state != "destroyed",
                    )
                    .values(wrapped_key=wrapped.key, master_version=wrapped.master_version)
                )
        return len(rows)

    async def wrapped_by(self) -> dict[int, int]:
        """Return how many data keys each version of the master key wraps."""
        counted = (
            select(tenant_keys.c.master_version, func.count())
            .where(tenant_keys.c.state != "destroyed")
            .group_by(tenant_keys.c.master_version)
        )
        async with self._database.across.read() as connection:
            return {row[0]: row[1] for row in await connection.execute(counted)}

    async def check(self) -> None:
        """Open a data key that each version of the master key wraps.

        Raises:
            MasterKeyError, Unreadable: the master key file is not the one these keys were wrapped with.
        """
        for version in await self.wrapped_by():
            one = select(tenant_keys).where(tenant_keys.c.master_version == version, tenant_keys.c.state != "destroyed")
            async with self._database.across.read() as connection:
                row = (await connection.execute(one.limit(1))).one_or_none()
            if row is not None:
                self._master.unwrap(row.wrapped_key, version, _binding(row.tenant_id, row.version))

    async def rotated_tenants(self) -> Sequence[str]:
        """Return the tenants that have a retired key."""
        query = select(tenant_keys.c.tenant_id).where(tenant_keys.c.state == "retired").distinct()
        async with self._database.across.read() as connection:
            return (await connection.execute(query.order_by(tenant_keys.c.tenant_id))).scalars().all()

    async def _read(self, tenant_id: str) -> Sequence[Any]:
        query = select(tenant_keys).where(tenant_keys.c.tenant_id == tenant_id).order_by(tenant_keys.c.version)
        async with self._database.read(tenant_id) as connection:
            return (await connection.execute(query)).all()

    async def _make_first(self, tenant_id: str) -> Sequence[Any]:
        # Of several processes that come here at once one inserts; all of them read what that one inserted.
        insert = self._database.insert(tenant_keys).values(self._made(tenant_id, 1)).on_conflict_do_nothing()
        try:
            async with self._database.transaction(tenant_id) as connection:
                await connection.execute(insert)
        except IntegrityError:
            raise UnknownTenant(f"there is no tenant {tenant_id!r}") from None
        return await self._read(tenant_id)

    def _made(self, tenant_id: str, version: int) -> dict[str, Any]:
        wrapped = self._master.wrap(os.urandom(KEY_SIZE), _binding(tenant_id, version))
        return {
            "tenant_id": tenant_id,
            "version": version,
            "wrapped_key": wrapped.key,
            "master_version": wrapped.master_version,
            "state": "active",
            "created_at": now(),
        }

    def _turn(self, tenant_id: str, held: Sealer | None, rows: Sequence[Any]) -> Sealer:
        usable = [row for row in rows if row.state != "destroyed"]
        if not usable:
            self._forget(tenant_id)
            raise KeysDestroyed(f"the keys of tenant {tenant_id!r} were destroyed")
        # A new key seals only when no process can still hold a cache from before it: all can open what it seals.
        known = now() - self._known_after
        sealing = max((row.version for row in usable if row.created_at < known), default=usable[0].version)
        keys = {
            row.version: self._master.unwrap(row.wrapped_key, row.master_version, _binding(tenant_id, row.version))
            for row in usable
        }
        if held is None:
            held = Sealer(tenant_id, keys, sealing)
        else:
            held.turn(keys, sealing)
        self._remember(tenant_id, held)
        return held

    def _data_key(self, row: Any) -> DataKey:
        first = row.version == 1
        return DataKey(
            version=row.version,
            state=row.state,
            master_version=row.master_version,
            created_at=row.created_at,
            seals_from=row.created_at if first else row.created_at + self._known_after,
        )

    def _remember(self, tenant_id: str, sealer: Sealer) -> None:
        self._cache.pop(tenant_id, None)
        if len(self._cache) >= CACHE_TENANTS:
            del self._cache[next(iter(self._cache))]
        self._cache[tenant_id] = (time.monotonic() + self._trust, sealer)

    def _distrust(self, tenant_id: str) -> None:
        """Read the tenant's keys again at the next use."""
        if tenant_id in self._cache:
            self._cache[tenant_id] = (0.0, self._cache[tenant_id][1])

    def _forget(self, tenant_id: str) -> None:
        _, held = self._cache.pop(tenant_id, (0.0, None))
        if held is not None:
            held.drop()


def _binding(tenant_id: str, version: int) -> str:
    return f"tenant_key:{tenant_id}:{version}"
