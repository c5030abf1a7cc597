"""Blobs: kept once, read from memory when they can be, and gone with their owner."""

import os

from sqlalchemy import func, select

from plugins.storage.blobs import Blobs, blobs, delete_blobs
from plugins.storage.database import Database
from plugins.storage.tenants import create_tenant

LARGE = os.urandom(12 * 2**20)


async def tenants(database: Database) -> None:
    async with database.across.transaction() as connection:
        for id in ("ten_a", "ten_b"):
            await create_tenant(connection, id, id=id)


async def stored(database: Database) -> int:
    async with database.across.read() as connection:
        return int((await connection.execute(select(func.count()).select_from(blobs))).scalar_one())


async def test_twelve_megabytes_come_back_as_they_were(database: Database) -> None:
    await tenants(database)
    await Blobs(database).put("ten_a", "ex_1", "one", LARGE)
    elsewhere = Blobs(database)
    assert await elsewhere.get("ten_a", "one") == LARGE
    assert await elsewhere.get("ten_b", "one") is None
    assert await elsewhere.get("ten_a", "two") is None


async def test_what_is_put_twice_is_kept_once(database: Database) -> None:
    await tenants(database)
    await Blobs(database).put("ten_a", "ex_1", "one", b"first")
    again = Blobs(database)
    await again.put("ten_a", "ex_1", "one", b"again")
    assert await stored(database) == 1
    assert await Blobs(database).get("ten_a", "one") == b"first"


async def test_deleting_an_owner_deletes_its_blobs_and_no_others(database: Database) -> None:
    await tenants(database)
    writer = Blobs(database)
    for tenant_id, owner, id in (
        ("ten_a", "ex_1", "one"),
        ("ten_a", "ex_1", "two"),
        ("ten_a", "ex_2", "three"),
        ("ten_b", "ex_1", "one"),
    ):
        await writer.put(tenant_id, owner, id, b"content")
    async with database.across.transaction() as connection:
        await delete_blobs(connection, "ten_a", ["ex_1"])
    reader = Blobs(database)
    assert [await reader.get("ten_a", id) for id in ("one", "two", "three")] == [None, None, b"content"]
    assert await reader.get("ten_b", "one") == b"content"


async def test_memory_keeps_what_was_used_last_and_no_more_than_its_bytes(database: Database) -> None:
    await tenants(database)
    cached = Blobs(database, cache_bytes=100)
    for id in ("a", "b", "c"):
        await cached.put("ten_a", "ex_1", id, id.encode() * 40)  # the third pushes out the first
    await cached.put("ten_a", "ex_1", "huge", b"h" * 101)  # pushes out nothing
    async with database.across.transaction() as connection:
        await delete_blobs(connection, "ten_a", ["ex_1"])
    assert [await cached.get("ten_a", id) is not None for id in ("a", "b", "c", "huge")] == [False, True, True, False]
