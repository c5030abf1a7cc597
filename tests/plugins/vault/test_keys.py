import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from plugins.storage.database import Database, now
from plugins.storage.tenants import create_tenant
from plugins.vault.errors import KeysDestroyed, MasterKeyError, UnknownTenant, Unreadable
from plugins.vault.keys import CACHE_SECONDS, MasterKey, Vault, tenant_keys


async def age_keys(database: Database) -> None:
    """Make all keys as old as every process's cache allows."""
    async with database.across.transaction() as connection:
        aged = now() - timedelta(seconds=3 * CACHE_SECONDS)
        await connection.execute(update(tenant_keys).values(created_at=aged))


async def test_the_first_use_makes_a_key_that_other_processes_find(
    database: Database, master: MasterKey, tenant_id: str
) -> None:
    sealed = (await Vault(database, master).sealer(tenant_id)).seal(b"data", "a:1")
    assert (await Vault(database, master).sealer(tenant_id)).open(sealed, "a:1") == b"data"


async def test_many_processes_that_come_first_at_once_agree_on_one_key(
    database: Database, master: MasterKey, tenant_id: str
) -> None:
    sealers = await asyncio.gather(*(Vault(database, master).sealer(tenant_id) for _ in range(10)))
    sealed = [sealer.seal(b"data", "a:1") for sealer in sealers]
    assert all(sealers[0].open(each, "a:1") == b"data" for each in sealed)
    async with database.across.read() as connection:
        assert len((await connection.execute(select(tenant_keys))).all()) == 1


async def test_a_sealer_is_cached(vault: Vault, tenant_id: str) -> None:
    assert await vault.sealer(tenant_id) is await vault.sealer(tenant_id)


async def test_tenants_have_keys_of_their_own(database: Database, vault: Vault, tenant_id: str) -> None:
    async with database.across.transaction() as connection:
        other = await create_tenant(connection, "Other")
    sealed = (await vault.sealer(tenant_id)).seal(b"data", "a:1")
    with pytest.raises(Unreadable):
        (await vault.sealer(other.id)).open(sealed, "a:1")


async def test_an_unknown_tenant_gets_no_key(vault: Vault) -> None:
    with pytest.raises(UnknownTenant, match="ten_absent"):
        await vault.sealer("ten_absent")


async def test_no_key_is_stored_in_the_clear(database: Database, tenant_id: str) -> None:
    master = MasterKey({1: b"m" * 32}, 1)
    await Vault(database, master).sealer(tenant_id)
    async with database.across.read() as connection:
        row = (await connection.execute(select(tenant_keys))).one()
    key = master.unwrap(row.wrapped_key, row.master_version, f"tenant_key:{tenant_id}:1")
    assert len(key) == 32
    assert key not in row.wrapped_key


async def test_another_master_key_is_refused_with_a_hint(database: Database, vault: Vault, tenant_id: str) -> None:
    await vault.sealer(tenant_id)
    with pytest.raises(Unreadable, match="master key file"):
        await Vault(database, MasterKey({1: b"x" * 32}, 1)).sealer(tenant_id)


async def test_after_a_rotation_old_data_opens_and_every_process_can_open_the_new(
    database: Database, master: MasterKey, tenant_id: str
) -> None:
    rotating, other = Vault(database, master), Vault(database, master)
    old = (await other.sealer(tenant_id)).seal(b"old", "a:1")
    await age_keys(database)

    assert (await rotating.rotate(tenant_id)).version == 2
    fresh = (await rotating.sealer(tenant_id)).seal(b"fresh", "a:1")
    assert (await other.sealer(tenant_id)).open(fresh, "a:1") == b"fresh", "the other process has not heard of it yet"

    await age_keys(database)
    sealer = await Vault(database, master).sealer(tenant_id)
    assert sealer.seal(b"", "a:1")[1:5] == (2).to_bytes(4), "by now the new key seals"
    assert sealer.open(old, "a:1") == b"old"


async def test_a_new_master_key_wraps_every_key_again_and_then_the_old_one_may_go(
    database: Database, tenant_id: str
) -> None:
    one, two = b"1" * 32, b"2" * 32
    sealed = (await Vault(database, MasterKey({1: one}, 1)).sealer(tenant_id)).seal(b"data", "a:1")

    both = Vault(database, MasterKey({1: one, 2: two}, 2))
    assert (await both.sealer(tenant_id)).open(sealed, "a:1") == b"data"
    with pytest.raises(MasterKeyError):
        await Vault(database, MasterKey({2: two}, 2)).sealer(tenant_id)
    assert await both.rewrap() == 1
    assert await both.rewrap() == 0
    assert (await Vault(database, MasterKey({2: two}, 2)).sealer(tenant_id)).open(sealed, "a:1") == b"data"


async def test_destroyed_keys_stay_destroyed(
    database: Database, vault: Vault, master: MasterKey, tenant_id: str
) -> None:
    await vault.sealer(tenant_id)
    await vault.destroy(tenant_id)
    for process in (vault, Vault(database, master)):
        with pytest.raises(KeysDestroyed):
            await process.sealer(tenant_id)
    async with database.across.read() as connection:
        assert (await connection.execute(select(tenant_keys.c.wrapped_key))).scalar_one() == b""
