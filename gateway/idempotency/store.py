"""Remembered answers: what each idempotency key of a tenant was answered with, or that it still is being answered."""

import secrets
from datetime import datetime, timedelta
from hashlib import sha256

import msgspec
from msgspec import Struct
from sqlalchemy import (
    Column,
    ColumnElement,
    ForeignKey,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    and_,
    delete,
    select,
    update,
)

from gateway.errors import KeyReused
from gateway.installation import INSTALLATION, register_installation
from plugins.storage.database import Database, Instant, metadata, now
from plugins.storage.tenants import tenants
from plugins.vault.keys import Vault

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("tenant_id", String(40), ForeignKey(tenants.c.id), nullable=False),
    #: SHA-256 of method, path and key, in hex
    Column("id", String(64), nullable=False),
    #: SHA-256 of query and body: the same key with another request is a mistake of the caller
    Column("fingerprint", LargeBinary, nullable=False),
    #: who is answering
    Column("claim", String(32), nullable=False),
    #: the claim holds until then; its holder renews it for as long as it lives
    Column("lease_until", Instant, nullable=False),
    #: absent while the first request is being answered
    Column("answer_sealed", LargeBinary),
    Column("created_at", Instant, nullable=False),
    PrimaryKeyConstraint("tenant_id", "id"),
    Index("ix_idempotency_keys_created_at", "created_at"),
)

#: seconds that a claim outlives the process that made it
LEASE = 4.5

_encode = msgspec.msgpack.Encoder().encode


class Answer(Struct, frozen=True, array_like=True):
    """A response, byte for byte."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


_decode = msgspec.msgpack.Decoder(Answer).decode


class Slot(Struct, frozen=True, kw_only=True):
    """What a key is remembered under."""

    tenant_id: str
    id: str
    fingerprint: bytes


def slot_of(tenant_id: str, *, method: str, path: str, key: str, query: bytes, body: bytes) -> Slot:
    """Scope a key by tenant and route, and take the fingerprint of what came with it."""
    id = sha256("\n".join((method, path, key)).encode()).hexdigest()
    return Slot(tenant_id=tenant_id, id=id, fingerprint=sha256(query + b"\n" + body).digest())


class Answers:
    """The table of remembered answers."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def claim(self, slot: Slot) -> str | Answer | None:
        """Return a claim on the slot, the answer it has, or ``None`` while somebody else holds the claim.

        Raises:
            KeyReused: the key came with another request before.
        """
        async with self._database.read(slot.tenant_id) as connection:
            row = (await connection.execute(select(idempotency_keys).where(_is(slot)))).one_or_none()
        if row is None:
            return await self._insert(slot)
        if row.fingerprint != slot.fingerprint:
            raise KeyReused("This Idempotency-Key came with another request before; use a new key for a new request.")
        if row.answer_sealed is not None:
            sealer = await self._vault.sealer(slot.tenant_id)
            return _decode(sealer.open(row.answer_sealed, _place(slot)))
        return await self._take_over(slot) if row.lease_until < now() else None

    async def _insert(self, slot: Slot) -> str | None:
        if slot.tenant_id == INSTALLATION:
            await register_installation(self._database)
        claim, moment = secrets.token_hex(16), now()
        row = {
            "tenant_id": slot.tenant_id,
            "id": slot.id,
            "fingerprint": slot.fingerprint,
            "claim": claim,
            "lease_until": moment + timedelta(seconds=LEASE),
            "created_at": moment,
        }
        async with self._database.transaction(slot.tenant_id) as connection:
            made = await connection.execute(
                self._database.insert(idempotency_keys).values(row).on_conflict_do_nothing()
            )
        return claim if made.rowcount == 1 else None

    async def _take_over(self, slot: Slot) -> str | None:
        """Claim the slot of a process that died while it answered."""
        claim, moment = secrets.token_hex(16), now()
        lapsed = and_(idempotency_keys.c.answer_sealed.is_(None), idempotency_keys.c.lease_until < moment)
        async with self._database.transaction(slot.tenant_id) as connection:
            taken = await connection.execute(
                update(idempotency_keys)
                .where(_is(slot), lapsed)
                .values(claim=claim, lease_until=moment + timedelta(seconds=LEASE))
            )
        return claim if taken.rowcount == 1 else None

    async def renew(self, slot: Slot, claim: str) -> None:
        """Hold the claim for another `LEASE` seconds."""
        await self._change(slot, claim, lease_until=now() + timedelta(seconds=LEASE))

    async def remember(self, slot: Slot, claim: str, answer: Answer) -> None:
        """Keep the answer for everyone who comes with this key from now on."""
        sealer = await self._vault.sealer(slot.tenant_id)
        await self._change(slot, claim, answer_sealed=sealer.seal(_encode(answer), _place(slot)))

    async def release(self, slot: Slot, claim: str) -> None:
        """Forget the key: nothing came of its request, so the next one with it may try again."""
        async with self._database.transaction(slot.tenant_id) as connection:
            await connection.execute(delete(idempotency_keys).where(_is(slot), idempotency_keys.c.claim == claim))

    async def purge(self, before: datetime) -> int:
        """Forget the answers to requests older than `before`; return how many."""
        async with self._database.across.transaction() as connection:
            gone = await connection.execute(delete(idempotency_keys).where(idempotency_keys.c.created_at < before))
        return gone.rowcount

    async def _change(self, slot: Slot, claim: str, **values: object) -> None:
        async with self._database.transaction(slot.tenant_id) as connection:
            await connection.execute(
                update(idempotency_keys).where(_is(slot), idempotency_keys.c.claim == claim).values(**values)
            )


def _is(slot: Slot) -> ColumnElement[bool]:
    return and_(idempotency_keys.c.tenant_id == slot.tenant_id, idempotency_keys.c.id == slot.id)


def _place(slot: Slot) -> str:
    return f"idempotency_key.answer:{slot.id}"
