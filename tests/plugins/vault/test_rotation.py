"""Keys are rotated under load, are killed half-way, and nothing becomes unreadable (T27)."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from deploy.tables import metadata
from plugins.sdk.credential import Bearer, BearerCredential
from plugins.storage.database import Database, now
from plugins.storage.tenants import create_tenant
from plugins.vault.credentials import Credentials
from plugins.vault.errors import KeyNeeded, KeyNotFound, KeysDestroyed, MasterKeyError
from plugins.vault.keys import MasterKey, Vault, tenant_keys
from plugins.vault.lending import Borrower
from plugins.vault.renewal import REST, Renewal
from plugins.vault.table import credentials
from tests.figures import Figures
from tests.lending import lend_to_anybody

#: what is sealed once, and goes with the retention of its rows; all else that is sealed takes part in renewals
GOES_BY_ITSELF = {
    "approval_links",
    "approvals",
    "blobs",
    "effects",
    "executions",
    "idempotency_keys",
    "inbound_events",
    "job_attempts",
    "jobs",
    "steps",
    "webhook_attempts",
    "webhook_messages",
}

#: seconds that keys are trusted here, instead of five
TRUST = 0.2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    MasterKey.create(tmp_path / "master.key")
    return tmp_path / "master.key"


def process(database: Database, path: Path) -> Vault:
    """The vault of a process of its own."""
    return Vault(database, MasterKey.load(path), trust=TRUST)


def content(path: Path) -> bytes:
    return path.read_bytes()


def restore(path: Path, content: bytes) -> None:
    path.write_bytes(content)


async def keep(database: Database, vault: Vault, tenant_id: str, count: int) -> list[str]:
    """Store credentials, and return their ids."""
    store = Credentials(database, vault)
    made = [await store.create(tenant_id, type="bearer", name=f"c{n}", data={"token": f"t{n}"}) for n in range(count)]
    return [each.id for each in made]


async def read_all(database: Database, vault: Vault, tenant_id: str, ids: Sequence[str]) -> list[str]:
    lender, tokens = lend_to_anybody(database, vault), []
    borrower = Borrower(tenant_id=tenant_id, plugin_id="test", step="node")
    for id in ids:
        lent = await lender.lend(borrower, Bearer("auth"), id)
        assert isinstance(lent.credential, BearerCredential)
        tokens.append(lent.credential.token.reveal())
    return tokens


async def versions(database: Database) -> set[int]:
    """The versions of the keys that credentials are sealed with."""
    async with database.across.read() as connection:
        rows = (await connection.execute(select(credentials.c.data_sealed, credentials.c.details_sealed))).all()
    return {int.from_bytes(sealed[1:5]) for row in rows for sealed in row}


async def age(database: Database, by: timedelta) -> None:
    async with database.across.transaction() as connection:
        for row in (await connection.execute(select(tenant_keys))).all():
            one = (tenant_keys.c.tenant_id == row.tenant_id, tenant_keys.c.version == row.version)
            await connection.execute(update(tenant_keys).where(*one).values(created_at=row.created_at - by))


@asynccontextmanager
async def load(database: Database, path: Path, tenant_id: str, ids: Sequence[str]) -> AsyncIterator[list[int]]:
    """Two processes that seal and open all the while; yields how often they did."""
    done = [0]
    stop = asyncio.Event()

    async def work(mine: Vault, other: Vault) -> None:
        while not stop.is_set():
            sealed = (await mine.sealer(tenant_id)).seal(b"data", "a:1")
            assert (await other.sealer(tenant_id)).open(sealed, "a:1") == b"data"
            await read_all(database, other, tenant_id, ids[:1])
            done[0] += 1
            await asyncio.sleep(0)

    one, two = process(database, path), process(database, path)
    async with asyncio.TaskGroup() as group:
        group.create_task(work(one, two))
        group.create_task(work(two, one))
        yield done
        stop.set()


async def rotate_in_a_process(database: Database, path: Path, tenant_id: str, *, kill_after: str | None) -> bool:
    """Rotate in a process of its own; return whether it came to its end. It is killed after such a line."""
    url = database.engine.url.render_as_string(hide_password=False)
    command = (sys.executable, "-m", "tests.plugins.vault.rotating", url, str(path), str(TRUST), tenant_id)
    rotating = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert rotating.stdout is not None
    said = ""
    async for line in rotating.stdout:
        said = line.decode().strip()
        if said == kill_after:
            with suppress(ProcessLookupError):
                rotating.kill()
            break
    await rotating.wait()
    return said == "done"


async def test_both_keys_are_rotated_under_load_and_through_kills(
    database: Database, tenant_id: str, path: Path, figures: Figures
) -> None:
    first = process(database, path)
    ids = await keep(database, first, tenant_id, 30)
    tokens = await read_all(database, first, tenant_id, ids)
    async with database.across.transaction() as connection:
        others = [(await create_tenant(connection, f"tenant {n}")).id for n in range(20)]
    for other in others:
        await first.sealer(other)

    async with load(database, path, tenant_id, ids) as done:
        master = MasterKey.load(path)
        master.make_current(master.add_version())
        key = await process(database, path).rotate(tenant_id)
        assert key.version == 2
        while now() < key.seals_from + timedelta(seconds=TRUST):
            await asyncio.sleep(0.02)
        for line in ("wrapped", "renewed", "renewed"):
            assert not await rotate_in_a_process(database, path, tenant_id, kill_after=line)
            assert await read_all(database, process(database, path), tenant_id, ids) == tokens
        assert await versions(database) == {1, 2}, "it was killed half-way"
        assert await rotate_in_a_process(database, path, tenant_id, kill_after=None)
    assert done[0] > 10
    figures("T27", credentials=len(ids), tenants=len(others) + 1, kills=3, uses=done[0], unreadable=0)

    assert await versions(database) == {2}
    MasterKey.load(path).remove(1)
    fresh = process(database, path)
    assert await read_all(database, fresh, tenant_id, ids) == tokens, "the old master key is needed no more"
    for other in others:
        await fresh.sealer(other)


async def test_processes_go_over_to_a_new_key_at_one_moment(database: Database, tenant_id: str, path: Path) -> None:
    one, two = process(database, path), process(database, path)
    assert [(await each.sealer(tenant_id)).sealing for each in (one, two)] == [1, 1]
    key = await one.rotate(tenant_id)
    assert (await one.sealer(tenant_id)).sealing == 1, "another process might not know it yet"
    deadline = key.seals_from + timedelta(seconds=2)
    while [(await each.sealer(tenant_id)).sealing for each in (one, two)] != [2, 2]:
        assert now() < deadline
        await asyncio.sleep(0.01)
    assert now() >= key.seals_from


async def test_a_sealer_that_is_held_learns_of_new_and_of_destroyed_keys(
    database: Database, tenant_id: str, path: Path
) -> None:
    one, two = process(database, path), process(database, path)
    held = await two.sealer(tenant_id)
    await one.rotate(tenant_id)
    await age(database, timedelta(minutes=1))
    sealed = (await process(database, path).sealer(tenant_id)).seal(b"data", "a:1")
    await asyncio.sleep(TRUST)
    await two.sealer(tenant_id)
    assert held.open(sealed, "a:1") == b"data"

    await one.destroy(tenant_id)
    await asyncio.sleep(2 * TRUST)
    for _ in range(2):
        with pytest.raises(KeysDestroyed):
            await two.sealer(tenant_id)
    for use in (lambda: held.open(sealed, "a:1"), lambda: held.seal(b"", "a:1"), lambda: held.name(b"", "a:1")):
        with pytest.raises(KeysDestroyed):
            use()


async def test_a_key_is_destroyed_only_when_nothing_needs_it(database: Database, tenant_id: str, path: Path) -> None:
    vault = process(database, path)
    renewal = Renewal(database, vault)
    ids = await keep(database, vault, tenant_id, 3)
    with pytest.raises(KeyNeeded, match="rotate it first"):
        await renewal.destroy(tenant_id, 1)
    await vault.rotate(tenant_id)
    with pytest.raises(KeyNeeded, match="may be destroyed from"):
        await renewal.destroy(tenant_id, 1)
    await age(database, REST + timedelta(minutes=1))
    with pytest.raises(KeyNeeded, match="3 of credentials"):
        await renewal.destroy(tenant_id, 1)
    with pytest.raises(KeyNotFound):
        await renewal.destroy(tenant_id, 7)
    fresh = process(database, path)
    assert await Renewal(database, fresh).renew(tenant_id) == 3
    assert await Renewal(database, fresh).renew(tenant_id) == 0
    await Renewal(database, fresh).destroy(tenant_id, 1)
    assert await read_all(database, process(database, path), tenant_id, ids) == ["t0", "t1", "t2"]
    assert [key.state for key in await fresh.keys(tenant_id)] == ["active", "destroyed"]
    with pytest.raises(KeyNotFound):
        await renewal.destroy(tenant_id, 1)


async def test_a_key_is_discarded_once_it_has_rested_and_nothing_needs_it(
    database: Database, tenant_id: str, path: Path
) -> None:
    vault = process(database, path)
    renewal = Renewal(database, vault)
    ids = await keep(database, vault, tenant_id, 2)
    assert await renewal.discard(tenant_id) == [], "the one that seals"
    await vault.rotate(tenant_id)
    await age(database, timedelta(minutes=1))
    await vault.rotate(tenant_id)
    await age(database, timedelta(minutes=1))
    fresh = process(database, path)
    renewal = Renewal(database, fresh)
    assert await renewal.discard(tenant_id) == [], "neither has rested"
    await age(database, REST)
    assert await renewal.discard(tenant_id) == [2], "nothing was ever sealed with the second; the first is needed"
    assert await read_all(database, fresh, tenant_id, ids) == ["t0", "t1"]
    assert await renewal.renew(tenant_id) == 2
    assert await renewal.discard(tenant_id) == [1]
    assert await renewal.discard(tenant_id) == []
    assert [key.state for key in await fresh.keys(tenant_id)] == ["active", "destroyed", "destroyed"]
    assert await read_all(database, process(database, path), tenant_id, ids) == ["t0", "t1"]


async def test_a_renewal_keeps_what_was_written_meanwhile_and_passes_what_is_damaged(
    database: Database, tenant_id: str, path: Path
) -> None:
    vault = process(database, path)
    damaged, changed, untouched = await keep(database, vault, tenant_id, 3)
    async with database.across.transaction() as connection:
        spoil = update(credentials).where(credentials.c.id == damaged)
        await connection.execute(spoil.values(data_sealed=b"\x01" + (1).to_bytes(4) + bytes(40)))
    await vault.rotate(tenant_id)
    await age(database, timedelta(minutes=1))
    fresh = process(database, path)
    await Credentials(database, fresh).rotate(tenant_id, changed, data={"token": "newer"})
    await Renewal(database, fresh).renew(tenant_id)
    assert await read_all(database, fresh, tenant_id, [changed, untouched]) == ["newer", "t2"]
    assert await Renewal(database, fresh).needs(tenant_id, 1) == {"credentials": 1}


async def test_a_backup_opens_for_as_long_as_the_old_master_key_is_kept(
    database: Database, tenant_id: str, path: Path
) -> None:
    vault = process(database, path)
    ids = await keep(database, vault, tenant_id, 2)
    async with database.across.read() as connection:
        backup = {
            table: [dict(row) for row in (await connection.execute(select(table))).mappings()]
            for table in (tenant_keys, credentials)
        }
    copy = content(path)
    master = MasterKey.load(path)
    master.make_current(master.add_version())
    await vault.rotate(tenant_id)
    await age(database, timedelta(minutes=1))
    assert await rotate_in_a_process(database, path, tenant_id, kill_after=None)
    both = content(path)
    master.remove(1)

    async with database.across.transaction() as connection:
        for table, rows in backup.items():
            await connection.execute(table.delete())
            await connection.execute(table.insert(), rows)
    with pytest.raises(MasterKeyError, match="version 1"):
        await process(database, path).sealer(tenant_id)
    for kept in (copy, both):
        restore(path, kept)
        assert await read_all(database, process(database, path), tenant_id, ids) == ["t0", "t1"]


def test_whatever_is_sealed_and_has_no_retention_takes_part_in_renewals() -> None:
    left_out = {
        table.name
        for table in metadata.sorted_tables
        for column in table.c
        if column.name.endswith("_sealed") and "sealed_as" not in column.info
    }
    assert left_out == GOES_BY_ITSELF
