"""What PostgreSQL itself refuses: rows of tenants that a transaction does not act for."""

import asyncpg
import pytest
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import ProgrammingError

from internal_jobs.table import jobs
from plugins.storage.blobs import blobs
from plugins.storage.database import Database, metadata, now
from plugins.storage.isolation import is_above_isolation
from plugins.storage.tenants import create_tenant, tenants

pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True)

#: planted: neither names a tenant
COUNT = select(func.count()).select_from(blobs)
NAMES = select(tenants.c.name).order_by(tenants.c.name)


@pytest.fixture
async def filled(database: Database) -> Database:
    """Two tenants with a blob each."""
    async with database.across.transaction() as connection:
        for tenant_id in ("ten_a", "ten_b"):
            await create_tenant(connection, tenant_id.removeprefix("ten_"), id=tenant_id)
            await connection.execute(insert(blobs).values(blob(tenant_id)))
    return database


def blob(tenant_id: str, id: str = "first") -> dict[str, object]:
    return {
        "tenant_id": tenant_id,
        "id": id,
        "owner_id": "ex_1",
        "content_sealed": b"sealed",
        "size": 6,
        "created_at": now(),
    }


async def counted(database: Database, *tenant_ids: str) -> int:
    async with database.read(*tenant_ids) as connection:
        return int((await connection.execute(COUNT)).scalar_one())


async def test_a_query_that_forgets_its_tenant_finds_no_row_of_others(filled: Database) -> None:
    assert await counted(filled, "ten_a") == 1
    assert await counted(filled, "ten_a", "ten_b") == 2
    assert await counted(filled, "ten_c") == 0
    async with filled.read("ten_b") as connection:
        assert (await connection.execute(NAMES)).scalars().all() == ["b"]
        assert (await connection.execute(select(blobs).where(blobs.c.tenant_id == "ten_a"))).all() == []
    async with filled.across.read() as connection:
        assert (await connection.execute(COUNT)).scalar_one() == 2


async def test_who_acts_for_nobody_finds_nothing_on_a_connection_that_acted_for_somebody_too(filled: Database) -> None:
    async with filled.engine.connect() as connection:
        assert (await connection.execute(COUNT)).scalar_one() == 0
    async with filled.transaction("ten_a") as connection:
        mine = await connection.execute(text("SELECT pg_backend_pid()"))
    async with filled.engine.connect() as connection:
        same = await connection.execute(text("SELECT pg_backend_pid()"))
        assert mine.scalar_one() == same.scalar_one()
        assert (await connection.execute(COUNT)).scalar_one() == 0


@pytest.mark.parametrize("id", ["*", "", ",", "ten_a'", "'; RESET app.tenant; --", "ten_a,ten_b", "ten_\u00e4"])
async def test_what_is_no_id_of_a_tenant_opens_nothing(filled: Database, id: str) -> None:
    assert await counted(filled, id) == 0


async def test_nothing_is_written_for_a_tenant_that_a_transaction_does_not_act_for(filled: Database) -> None:
    for statement in (
        insert(blobs).values(blob("ten_b", "second")),
        update(blobs).values(tenant_id="ten_b", id="moved"),
        insert(tenants).values(id="ten_c", name="c", created_at=now()),
    ):
        with pytest.raises(ProgrammingError, match="row-level security"):
            async with filled.transaction("ten_a") as connection:
                await connection.execute(statement)
    async with filled.transaction("ten_a") as connection:
        assert (await connection.execute(update(blobs).values(size=1))).rowcount == 1
        assert (await connection.execute(delete(blobs))).rowcount == 1
    assert await counted(filled, "ten_b") == 1


async def test_every_table_with_a_tenant_is_under_row_level_security(database: Database) -> None:
    with_tenant = {name for name, table in metadata.tables.items() if "tenant_id" in table.c}
    assert with_tenant | {"tenants"} == await secured(database) == set(metadata.tables)


async def test_a_table_that_is_not_would_be_seen(owned: Database) -> None:
    async with owned.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE jobs NO FORCE ROW LEVEL SECURITY"))
        await connection.execute(text("DROP POLICY tenant ON steps"))
    assert set(metadata.tables) - await secured(owned) == {"jobs", "steps"}


async def secured(database: Database) -> set[str]:
    """The tables that PostgreSQL guards, from their owner too."""
    query = """
        SELECT relname FROM pg_class JOIN pg_policy ON polrelid = pg_class.oid
        WHERE relrowsecurity AND relforcerowsecurity AND polname = 'tenant' AND polcmd = '*' AND polpermissive
    """
    async with database.engine.connect() as connection:
        return set((await connection.execute(text(query))).scalars())


async def test_the_role_of_the_processes_owns_nothing_and_rewrites_no_trail(
    database: Database, owned: Database
) -> None:
    for opened, is_above in ((database, False), (owned, True)):
        async with opened.read("ten_a") as connection:
            assert await connection.run_sync(is_above_isolation) is is_above
    for statement in (
        "ALTER TABLE blobs DISABLE ROW LEVEL SECURITY",
        "DROP POLICY tenant ON blobs",
        "UPDATE audit_records SET actor = 'nobody'",
        "DELETE FROM audit_outcomes",
    ):
        with pytest.raises(ProgrammingError, match=r"must be owner|permission denied"):
            async with database.across.transaction() as connection:
                await connection.execute(text(statement))


async def test_saying_for_whom_costs_no_visit(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    execute = asyncpg.Connection.execute

    async def note(self: asyncpg.Connection, query: str, *arguments: object, **options: object) -> str:
        asked.append(query)
        return str(await execute(self, query, *arguments, **options))

    async with filled.read("ten_a") as connection:
        monkeypatch.setattr(asyncpg.Connection, "execute", note)
        await connection.execute(COUNT)
    assert asked == ["BEGIN; SET LOCAL app.tenant = 'ten_a'", "ROLLBACK"]


async def test_the_wall_takes_no_index_from_a_query(database: Database) -> None:
    page = "SELECT * FROM jobs WHERE tenant_id = 'ten_a' AND id < 'job_5' ORDER BY id DESC LIMIT 50"
    async with database.transaction("ten_a") as connection:
        await connection.execute(text("SET LOCAL enable_seqscan = off"))
        await connection.execute(text("SET LOCAL enable_bitmapscan = off"))
        plan = "\n".join((await connection.execute(text(f"EXPLAIN {page}"))).scalars())
    assert f"using {jobs.primary_key.name}" in plan
    assert "Index Cond: (((tenant_id)::text = 'ten_a'::text) AND ((id)::text < 'job_5'::text))" in plan
