"""Payloads on Temporal: sealed for one tenant, refused by every other."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.converter import WorkflowSerializationContext

from plugins.storage.database import Database, metadata
from plugins.storage.tenants import create_tenant
from plugins.vault.keys import MasterKey, Vault
from user_workflows.codec import CodecError, TenantCodec

PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'{"secret":"canary"}')


@pytest.fixture
async def codec(tmp_path: Path) -> AsyncIterator[TenantCodec]:
    database = Database(f"sqlite:///{tmp_path}/gateway.db")
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    async with database.transaction() as connection:
        await create_tenant(connection, "A", id="ten_a")
        await create_tenant(connection, "B", id="ten_b")
    yield TenantCodec(Vault(database, MasterKey.load_or_create(tmp_path / "master.json")))
    await database.close()


def of(codec: TenantCodec, tenant_id: str) -> TenantCodec:
    return codec.with_context(WorkflowSerializationContext(namespace="default", workflow_id=f"{tenant_id}/ex_1"))


async def test_what_a_tenant_seals_it_opens(codec: TenantCodec) -> None:
    (sealed,) = await of(codec, "ten_a").encode([PLAIN])
    assert b"canary" not in sealed.SerializeToString()
    assert await of(codec, "ten_a").decode([sealed]) == [PLAIN]


async def test_a_payload_of_another_tenant_is_refused(codec: TenantCodec) -> None:
    (sealed,) = await of(codec, "ten_a").encode([PLAIN])
    with pytest.raises(CodecError, match="another tenant"):
        await of(codec, "ten_b").decode([sealed])


async def test_plain_payloads_are_refused_both_ways(codec: TenantCodec) -> None:
    with pytest.raises(CodecError, match="not sealed"):
        await of(codec, "ten_a").decode([PLAIN])
    with pytest.raises(CodecError, match="no tenant"):
        await codec.encode([PLAIN])


async def test_the_servers_own_words_pass(codec: TenantCodec) -> None:
    """Temporal says why it canceled an activity that no worker had begun; nobody could seal that."""
    said = Payload(metadata={"encoding": b"json/plain"}, data=b'"ACTIVITY_ID_NOT_STARTED"')
    assert await of(codec, "ten_a").decode([said]) == [said]
