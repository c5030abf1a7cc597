from plugins.storage.database import Database
from plugins.storage.tenants import create_tenant, find_tenant


async def test_a_tenant_is_found_by_its_id(database: Database) -> None:
    async with database.across.transaction() as connection:
        tenant = await create_tenant(connection, "Acme")
    assert await find_tenant(database, tenant.id) == tenant
    assert await find_tenant(database, "ten_absent") is None
