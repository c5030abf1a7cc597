"""Payloads on Temporal: sealed for one tenant, refused by every other; large ones are stored, and claimed."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select, update
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.converter import ActivitySerializationContext, WorkflowSerializationContext
from temporalio.exceptions import ApplicationError

from plugins.storage.blobs import Blobs, blobs, delete_blobs
from plugins.storage.database import Database
from plugins.storage.tenants import create_tenant
from plugins.vault.errors import Unreadable
from plugins.vault.keys import MasterKey, Vault
from tests.sqlite import new_sqlite
from user_workflows.codec import CLAIM_BYTES, BlobGone, CodecError, TenantCodec, data_converter

PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'{"secret":"canary"}')


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(new_sqlite(tmp_path / "gateway.db"))
    async with opened.across.transaction() as connection:
        await create_tenant(connection, "A", id="ten_a")
        await create_tenant(connection, "B", id="ten_b")
    yield opened
    await opened.close()


@pytest.fixture
def vault(database: Database, tmp_path: Path) -> Vault:
    return Vault(database, MasterKey.load_or_create(tmp_path / "master.json"))


@pytest.fixture
def codec(database: Database, vault: Vault) -> TenantCodec:
    return TenantCodec(vault, Blobs(database))


@pytest.fixture
def elsewhere(database: Database, vault: Vault) -> TenantCodec:
    """The codec of another process, which has read no blob yet."""
    return TenantCodec(vault, Blobs(database))


def of(codec: TenantCodec, tenant_id: str, execution_id: str = "ex_1") -> TenantCodec:
    context = WorkflowSerializationContext(namespace="default", workflow_id=f"{tenant_id}/{execution_id}")
    return codec.with_context(context)


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


async def test_a_failure_is_sealed_with_its_message_stack_details_and_causes(database: Database, vault: Vault) -> None:
    context = WorkflowSerializationContext(namespace="default", workflow_id="ten_a/ex_1")
    converter = data_converter(vault, Blobs(database)).with_context(context)
    failure = Failure()
    try:
        try:
            raise ValueError("canary-cause")
        except ValueError as cause:
            canary_in_the_stack = ApplicationError("canary-message", {"canary": "details"}, type="http.500")
            raise canary_in_the_stack from cause
    except ApplicationError as error:
        await converter.encode_failure(error, failure)
    travelling = failure.SerializeToString()
    assert b"canary" not in travelling
    assert b"http.500" in travelling, "types stay readable, for whoever operates"
    read = await converter.decode_failure(failure)
    assert isinstance(read, ApplicationError)
    assert (read.message, read.details) == ("canary-message", ({"canary": "details"},))
    assert "canary-cause" in str(read.__cause__)
    assert read.failure is not None
    assert "canary_in_the_stack" in read.failure.stack_trace


async def test_the_servers_own_words_pass(codec: TenantCodec) -> None:
    """Temporal says why it canceled an activity that no worker had begun; nobody could seal that."""
    said = Payload(metadata={"encoding": b"json/plain"}, data=b'"ACTIVITY_ID_NOT_STARTED"')
    assert await of(codec, "ten_a").decode([said]) == [said]


def payload(size: int, seed: str = "a") -> Payload:
    """A payload of letters that pack badly."""
    text = random.Random(seed).randbytes(size // 2).hex()
    return Payload(metadata={"encoding": b"json/plain"}, data=f'"{text}"'.encode())


async def stored(database: Database) -> list[bytes]:
    async with database.across.read() as connection:
        return list((await connection.execute(select(blobs.c.content_sealed))).scalars())


async def test_a_small_payload_travels_whole(codec: TenantCodec, database: Database) -> None:
    (sealed,) = await of(codec, "ten_a").encode([payload(CLAIM_BYTES // 2)])
    assert await stored(database) == []
    assert CLAIM_BYTES // 4 < len(sealed.data) < CLAIM_BYTES


async def test_a_large_payload_is_stored_once_and_a_small_claim_travels(codec: TenantCodec, database: Database) -> None:
    large = payload(5 * 2**20)
    ((first,), (second,)) = [await of(codec, "ten_a").encode([large]) for _ in range(2)]
    assert max(first.ByteSize(), second.ByteSize()) < 400
    (content,) = await stored(database)
    assert len(content) < 5 * 2**20
    assert large.data[1:100] not in content
    assert await of(codec, "ten_a").decode([first, second]) == [large, large]


async def test_equal_content_has_another_name_in_another_execution(codec: TenantCodec, database: Database) -> None:
    for tenant_id, execution_id in (("ten_a", "ex_1"), ("ten_a", "ex_2"), ("ten_b", "ex_1")):
        await of(codec, tenant_id, execution_id).encode([payload(100_000)])
    assert len(await stored(database)) == 3


async def test_a_claim_of_another_tenant_is_refused(codec: TenantCodec) -> None:
    (claim,) = await of(codec, "ten_a").encode([payload(100_000)])
    with pytest.raises(CodecError, match="another tenant"):
        await of(codec, "ten_b").decode([claim])


async def test_a_blob_put_in_the_place_of_another_does_not_open(
    codec: TenantCodec, elsewhere: TenantCodec, database: Database
) -> None:
    claims = await of(codec, "ten_a").encode([payload(100_000, seed) for seed in ("a", "b")])
    async with database.across.transaction() as connection:
        contents = list((await connection.execute(select(blobs.c.id, blobs.c.content_sealed))).all())
        for (id, _), (_, other) in zip(contents, reversed(contents), strict=True):
            await connection.execute(update(blobs).where(blobs.c.id == id).values(content_sealed=other))
    with pytest.raises(Unreadable):
        await of(elsewhere, "ten_a").decode(claims)


async def test_a_claim_whose_blob_is_gone_says_so(
    codec: TenantCodec, elsewhere: TenantCodec, database: Database
) -> None:
    (claim,) = await of(codec, "ten_a").encode([payload(100_000)])
    async with database.across.transaction() as connection:
        await delete_blobs(connection, "ten_a", ["ex_1"])
    with pytest.raises(BlobGone, match="deleted with the record of execution ex_1"):
        await of(elsewhere, "ten_a").decode([claim])


async def test_what_has_no_record_travels_whole(codec: TenantCodec, database: Database) -> None:
    """What fires a schedule is no execution: nothing would ever delete its blob."""
    (sealed,) = await of(codec, "ten_a", "fire/wf_1/daily").encode([payload(100_000)])
    assert len(sealed.data) > 40_000
    assert await stored(database) == []


async def test_the_input_of_a_local_activity_stays_in_memory(codec: TenantCodec, database: Database) -> None:
    local = codec.with_context(
        ActivitySerializationContext(
            namespace="default",
            workflow_id="ten_a/ex_1",
            workflow_type="execution",
            activity_type="execution.close",
            activity_id="1",
            activity_task_queue="queue",
            is_local=True,
        )
    )
    large = payload(100_000)
    assert await local.decode(await local.encode([large])) == [large]
    assert await stored(database) == []
