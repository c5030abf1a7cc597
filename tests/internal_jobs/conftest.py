"""A vault, a tenant and a `Jobs` facade on a real database and a real Valkey."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from internal_jobs.client import Jobs
from internal_jobs.wake import Waker
from plugins.storage.database import Database
from plugins.storage.tenants import create_tenant
from plugins.vault.keys import MasterKey, Vault


@pytest.fixture
def vault(database: Database, tmp_path: Path) -> Vault:
    return Vault(database, MasterKey.load_or_create(tmp_path / "master.key"))


@pytest.fixture
def namespace() -> str:
    """Tests share a Valkey server, and nothing in it."""
    return f"jobs-{secrets.token_hex(4)}"


@pytest.fixture
async def tenant(database: Database) -> str:
    async with database.transaction() as connection:
        return (await create_tenant(connection, "Acme")).id


@pytest.fixture
async def jobs(database: Database, vault: Vault, valkey_url: str, namespace: str) -> AsyncIterator[Jobs]:
    facade = Jobs(database=database, vault=vault, waker=Waker(valkey_url, namespace=namespace))
    yield facade
    await facade.close()
