"""Blobs: what is too large for where it belongs, sealed by whoever puts it, and gone with its owner."""

from collections import OrderedDict
from collections.abc import Sequence

from sqlalchemy import Column, ForeignKey, Index, Integer, LargeBinary, String, Table, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from plugins.storage.database import Database, Instant, metadata, now
from plugins.storage.tenants import tenants

blobs = Table(
    "blobs",
    metadata,
    Column("tenant_id", String(40), ForeignKey(tenants.c.id), primary_key=True),
    Column("id", String(64), primary_key=True),
    # The execution that it lives and dies with; its table is of a floor above.
    Column("owner_id", String(40), nullable=False),
    Column("content_sealed", LargeBinary, nullable=False),
    Column("size", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    Index("ix_blobs_owner", "tenant_id", "owner_id"),
)

#: bytes of sealed content that one process keeps, so that a replay does not read the database again
CACHE_BYTES = 64 * 2**20

_Key = tuple[str, str]


class Blobs:
    """Content by id, written once and never changed. Make one per process."""

    def __init__(self, database: Database, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._database = database
        self._most = self._room = cache_bytes
        self._cache: OrderedDict[_Key, bytes] = OrderedDict()

    async def put(self, tenant_id: str, owner_id: str, id: str, sealed: bytes) -> None:
        """Store sealed content; an id that is there already names the same content, and stays."""
        if (tenant_id, id) in self._cache:
            return
        row = {
            "tenant_id": tenant_id,
            "id": id,
            "owner_id": owner_id,
            "content_sealed": sealed,
            "size": len(sealed),
            "created_at": now(),
        }
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(self._database.insert(blobs).values(row).on_conflict_do_nothing())
        # On a conflict the stored bytes are others, sealed by an earlier put: both open to the same content.
        self._remember((tenant_id, id), sealed)

    async def get(self, tenant_id: str, id: str) -> bytes | None:
        """Return sealed content, or ``None`` when it is gone."""
        key = (tenant_id, id)
        kept = self._cache.get(key)
        if kept is not None:
            self._cache.move_to_end(key)
            return kept
        query = select(blobs.c.content_sealed).where(blobs.c.tenant_id == tenant_id, blobs.c.id == id)
        async with self._database.read(tenant_id) as connection:
            sealed: bytes | None = (await connection.execute(query)).scalar_one_or_none()
        if sealed is not None:
            self._remember(key, sealed)
        return sealed

    def _remember(self, key: _Key, sealed: bytes) -> None:
        if len(sealed) > self._most:
            return
        self._room += len(self._cache.pop(key, b""))
        while len(sealed) > self._room:
            _, dropped = self._cache.popitem(last=False)
            self._room += len(dropped)
        self._cache[key] = sealed
        self._room -= len(sealed)


async def delete_blobs(connection: AsyncConnection, tenant_id: str, owner_ids: Sequence[str]) -> None:
    """Delete what these owners own, in the transaction that deletes them."""
    await connection.execute(delete(blobs).where(blobs.c.tenant_id == tenant_id, blobs.c.owner_id.in_(owner_ids)))
