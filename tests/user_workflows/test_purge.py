"""Retention of executions: what is large goes with the record that it belongs to, and nothing else does."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from plugins.storage.blobs import Blobs, blobs
from plugins.storage.database import Database
from plugins.storage.tenants import create_tenant
from tests.user_workflows.lane import Lane
from user_workflows.executions.executions import Executions
from user_workflows.executions.tables import executions

AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(database: Database, lane: Lane) -> Executions:
    """The executions of a database of its own; no engine is asked."""
    return Executions(
        database=database, vault=lane.vault, workflows=lane.workflows, temporal=lane.temporal, starts=lane.starts
    )


async def keep(database: Database, tenant_id: str, id: str, closed_at: datetime | None) -> None:
    row = {
        "tenant_id": tenant_id,
        "id": id,
        "workflow_id": "wf_1",
        "version": 1,
        "status": "running" if closed_at is None else "completed",
        "seq": 0,
        "trigger": {"type": "manual"},
        "input_sealed": b"",
        "created_at": AT,
        "due_at": AT,
        "checked_at": AT,
        "closed_at": closed_at,
    }
    async with database.across.transaction() as connection:
        await connection.execute(executions.insert().values(row))
    await Blobs(database).put(tenant_id, id, f"of-{id}", b"large")


async def kept(database: Database) -> list[tuple[str, str]]:
    async with database.across.read() as connection:
        rows = await connection.execute(select(blobs.c.tenant_id, blobs.c.owner_id).order_by(*blobs.primary_key))
        return [(row.tenant_id, row.owner_id) for row in rows]


async def test_blobs_die_with_their_execution(database: Database, store: Executions) -> None:
    async with database.across.transaction() as connection:
        for tenant_id in ("ten_a", "ten_b"):
            await create_tenant(connection, tenant_id, id=tenant_id)
    old, young = AT + timedelta(days=1), AT + timedelta(days=9)
    await keep(database, "ten_a", "ex_1", old)
    await keep(database, "ten_a", "ex_2", young)
    await keep(database, "ten_a", "ex_3", None)
    await keep(database, "ten_b", "ex_1", young)
    await keep(database, "ten_b", "ex_4", old)
    assert await store.purge(AT + timedelta(days=5)) == 2
    assert await kept(database) == [("ten_a", "ex_2"), ("ten_a", "ex_3"), ("ten_b", "ex_1")]
    async with database.across.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(executions))).scalar_one() == 3


async def test_an_execution_goes_with_its_blobs_or_not_at_all(database: Database, store: Executions) -> None:
    """However many are due, each call deletes whole ones."""
    async with database.across.transaction() as connection:
        await create_tenant(connection, "A", id="ten_a")
    for number in range(5):
        await keep(database, "ten_a", f"ex_{number}", AT + timedelta(hours=number))
    assert await store.purge(AT + timedelta(days=1), limit=2) == 2
    assert [owner for _, owner in await kept(database)] == ["ex_2", "ex_3", "ex_4"]
    assert await store.purge(AT + timedelta(days=1)) == 3
    assert await kept(database) == []
