"""The inbox is bounded: by age, and for each tenant by bytes, so that one who floods loses the own events alone."""

from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from sqlalchemy import func, select

from plugins.storage.database import Database, now
from plugins.storage.tenants import create_tenant
from plugins.vault.keys import MasterKey, Vault
from user_workflows.inbox.event import RawEvent
from user_workflows.inbox.inbox import Inbox
from user_workflows.inbox.store import Place, event_row, inbound_events


async def keep(database: Database, vault: Vault, tenant_id: str, count: int, *, age: timedelta = timedelta()) -> int:
    """Keep events of about a kilobyte, and return the bytes that they take."""
    sealer = await vault.sealer(tenant_id)
    rows = [
        event_row(
            sealer,
            RawEvent(type="webhook", delivery_id=str(number), method="POST", headers={}, query={}, body=b"body"),
            Place(workflow_id="wf_1", trigger_id="t", delivery_key=f"{age}:{number}", received_at=now() - age),
        )
        for number in range(count)
    ]
    async with database.across.transaction() as connection:
        await connection.execute(inbound_events.insert(), rows)
    return sum(row["size"] for row in rows)


async def counts(database: Database) -> dict[str, int]:
    query = select(inbound_events.c.tenant_id, func.count()).group_by(inbound_events.c.tenant_id)
    async with database.across.read() as connection:
        return {row[0]: row[1] for row in await connection.execute(query)}


async def test_what_is_old_goes_and_of_a_tenant_that_takes_too_much_the_oldest(
    database: Database, tmp_path: Path
) -> None:
    vault = Vault(database, MasterKey.create(tmp_path / "master.key"))
    tenants = []
    for name in ("heavy", "light"):
        async with database.across.transaction() as connection:
            tenants.append((await create_tenant(connection, name)).id)
    heavy, light = tenants
    size = await keep(database, vault, heavy, 10)
    await keep(database, vault, light, 5)
    for tenant_id in tenants:
        await keep(database, vault, tenant_id, 3, age=timedelta(days=2))
    nothing = cast(Any, None)
    inbox = Inbox(database=database, vault=vault, workflows=nothing, executions=nothing, max_bytes=size // 2)
    newest = [
        event.id for event in (await inbox.list(heavy, limit=13)).items if event.received_at > now() - timedelta(days=1)
    ][:5]
    purged = []
    while count := await inbox.purge(now() - timedelta(days=1), limit=4):
        purged.append(count)
    assert purged == [4, 2, 4, 1]
    assert await counts(database) == {heavy: 5, light: 5}
    assert [event.id for event in (await inbox.list(heavy)).items] == newest
