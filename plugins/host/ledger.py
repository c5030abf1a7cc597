"""The effect ledger: an effectful call acts once, however often and from wherever it is repeated (design §8).

A row is written under the call's idempotency key before it acts:

    begun      acting, until its lease ends; after that nobody knows whether it acted
    done       the outcome is stored, sealed; a repeat gets it without acting
    released   may act again: nothing happened, or whoever answers for the effect agreed to a repeat

A begun row whose lease ended is taken over by a repeat if the effect is idempotent (same key, so the other side acts
once) and is *outcome unknown* if it is unsafe. Each taking raises the row's `fence`; only the holder of the newest one
can settle it, or leave a checkpoint for the next. What the caller commits together with the row is written with it,
once: an attempt that comes with something else is told what stands. On PostgreSQL leases are measured by the server's
clock, so clocks of workers may differ.
"""

import asyncio
import hashlib
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct
from sqlalchemy import (
    Column,
    ColumnElement,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    delete,
    func,
    literal,
    select,
    tuple_,
    type_coerce,
    update,
)
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from plugins.host.call import Outcome
from plugins.host.errors import Overtaken
from plugins.sdk.effect import Effect
from plugins.sdk.errors import Permanent, PluginError, Transient
from plugins.storage.database import Database, Instant, metadata, now
from plugins.vault.cipher import Sealer
from plugins.vault.keys import Vault

T = TypeVar("T")

effects = Table(
    "effects",
    metadata,
    Column("tenant_id", String(40), nullable=False),
    #: the idempotency key
    Column("id", String(64), nullable=False),
    Column("origin", String(64), nullable=False),
    Column("step", String(255), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("plugin", String(128), nullable=False),
    Column("state", String(16), nullable=False),
    #: how often the row was taken
    Column("fence", Integer, nullable=False),
    Column("lease_until", Instant, nullable=False),
    Column("outcome_sealed", LargeBinary, nullable=True),
    #: what the caller committed together with the row
    Column("committed_sealed", LargeBinary, nullable=True),
    #: how far the plugin has come by its own account
    Column("checkpoint_sealed", LargeBinary, nullable=True),
    #: the fence of the holder that saved it
    Column("checkpoint_fence", Integer, nullable=True),
    Column("begun_at", Instant, nullable=False),
    Column("settled_at", Instant, nullable=True),
    PrimaryKeyConstraint("tenant_id", "id"),
    Index("ix_effects_lease_until", "lease_until"),
)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5


def idempotency_key(tenant_id: str, origin: str, step: str, generation: int) -> str:
    """Return the key of a call: 64 hex digits, the same on every attempt and on both engines."""
    return hashlib.sha256(msgspec.json.encode([tenant_id, origin, step, generation])).hexdigest()


class Claim(Struct, frozen=True, kw_only=True):
    """A wish to act."""

    tenant_id: str
    key: str
    origin: str
    step: str
    generation: int
    plugin: str
    effect: Effect
    #: seconds
    lease: float
    on_unknown: Literal["fail", "retry"] = "fail"
    #: JSON builtins to be committed together with the row; ``None``: nothing
    commit: Any = None


class Hold(Struct, frozen=True, kw_only=True):
    """The right to act and to settle one row, until somebody takes it over."""

    tenant_id: str
    key: str
    fence: int
    #: what an earlier attempt saved
    checkpoint_sealed: bytes | None = None


class Ledger:
    """The effect ledger of every tenant."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def begin(self, claim: Claim, *, wait: float) -> Hold | Outcome:
        """Take the row of `claim`, or return what an earlier attempt gave.

        While another attempt holds the row this one waits, up to `wait` seconds. Cancelled while it takes the row, it
        gives it back.

        Raises:
            Permanent: ``effect.outcomeUnknown``, or the stored failure of an earlier attempt.
            Transient: ``effect.inProgress``, the other attempt outlasted `wait`; nothing happened in this one.
            Overtaken: an earlier attempt committed something else together with the row.
        """
        # Asked for before a transaction is open: keys come from the same database.
        sealer = None if claim.commit is None else await self._vault.sealer(claim.tenant_id)
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + wait, _FIRST_PAUSE
        row: Row[Any] | None = None
        while True:
            if row is None or not _is_live(row):
                found = await self._take_undisturbed(claim, sealer)
                if isinstance(found, Hold):
                    return found
                row = found
            if row is None:
                continue
            if row.state == "done":
                return await self._stored(claim, row)
            left = deadline - loop.time()
            if left <= 0:
                raise Transient(
                    "an earlier attempt of this step is still at work",
                    type="effect.inProgress",
                    effect="none",
                    retry_after=max((row.lease_until - row.clock).total_seconds(), 0.0),
                )
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.6, _LONGEST_PAUSE)
            async with self._database.read(claim.tenant_id) as connection:
                row = await self._look(connection, claim, sealer)

    async def committed(self, tenant_id: str, key: str) -> Any:
        """Return what was committed together with a row; ``None``: nothing, or there is no such row."""
        query = select(effects.c.committed_sealed).where(*_is(tenant_id, key))
        async with self._database.read(tenant_id) as connection:
            sealed = (await connection.execute(query)).scalar_one_or_none()
        if sealed is None:
            return None
        return (await self._vault.sealer(tenant_id)).open_json(sealed, _commit_place(key))

    async def renew(self, hold: Hold, lease: float) -> bool:
        """Hold the row for `lease` more seconds; return whether `hold` was still good for it."""
        return await self._settle(hold, lease_until=self._in(lease))

    async def checkpoint(self, hold: Hold) -> Any:
        """Return what an earlier attempt saved last; ``None``: nothing."""
        if hold.checkpoint_sealed is None:
            return None
        return (await self._vault.sealer(hold.tenant_id)).open_json(hold.checkpoint_sealed, _checkpoint_place(hold.key))

    async def save(self, hold: Hold, value: Any) -> bool:
        """Save a checkpoint in the row; return whether `hold` was still good for it."""
        sealer = await self._vault.sealer(hold.tenant_id)
        sealed = sealer.seal_json(value, _checkpoint_place(hold.key))
        return await self._settle(hold, checkpoint_sealed=sealed, checkpoint_fence=hold.fence)

    async def taken_since_checkpoint(self, tenant_id: str, key: str) -> int | None:
        """Return how many attempts have taken a row since the one that saved its checkpoint; ``None``: none has."""
        since = select(effects.c.fence - effects.c.checkpoint_fence).where(*_is(tenant_id, key))
        async with self._database.read(tenant_id) as connection:
            count: int | None = (await connection.execute(since)).scalar_one_or_none()
        return count

    async def finish(self, hold: Hold, outcome: Outcome) -> bool:
        """Store what the call gave; return whether `hold` was still good for it."""
        return await self._settle_sealed(hold, {"port": outcome.port, "output": outcome.output})

    async def fail(self, hold: Hold, error: PluginError) -> bool:
        """Store a final failure: repeats fail with it, without acting."""
        failure = {"type": error.type, "message": error.message, "status": error.status}
        return await self._settle_sealed(hold, {"failure": failure})

    async def release(self, hold: Hold) -> bool:
        """Let the next attempt act."""
        return await undisturbed(self._settle(hold, state="released", settled_at=now(), lease_until=self._in(0)))

    async def abandon(self, hold: Hold) -> bool:
        """End the lease: this attempt is over, and nobody knows whether it acted."""
        return await undisturbed(self._settle(hold, lease_until=self._in(0)))

    async def purge(self, before: datetime, *, limit: int = 1000) -> int:
        """Delete up to `limit` rows whose lease ended before that moment; return how many.

        A purged key acts again when repeated: keep rows for longer than any attempt may be repeated.
        """
        old = select(effects.c.tenant_id, effects.c.id).where(effects.c.lease_until < before).limit(limit)
        async with self._database.across.transaction() as connection:
            done = await connection.execute(delete(effects).where(tuple_(effects.c.tenant_id, effects.c.id).in_(old)))
        return done.rowcount

    async def _take_undisturbed(self, claim: Claim, sealer: Sealer | None) -> "Hold | Row[Any] | None":
        taking = asyncio.ensure_future(self._take(claim, sealer))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            # Cancelled in the middle, the row might be taken and nobody would act: give it back.
            await asyncio.wait([taking])
            if not taking.cancelled() and taking.exception() is None and isinstance(held := taking.result(), Hold):
                await self.release(held)
            raise

    async def _take(self, claim: Claim, sealer: Sealer | None) -> "Hold | Row[Any] | None":
        commit = None if sealer is None else sealer.seal_json(claim.commit, _commit_place(claim.key))
        fresh = {
            "tenant_id": claim.tenant_id,
            "id": claim.key,
            "origin": claim.origin,
            "step": claim.step,
            "generation": claim.generation,
            "plugin": claim.plugin,
            "state": "begun",
            "fence": 1,
            "lease_until": self._in(claim.lease),
            "committed_sealed": commit,
            "begun_at": now(),
        }
        insert = self._database.insert(effects).values(fresh).on_conflict_do_nothing().returning(effects.c.fence)
        async with self._database.transaction(claim.tenant_id) as connection:
            if (await connection.execute(insert)).one_or_none() is not None:
                return Hold(tenant_id=claim.tenant_id, key=claim.key, fence=1)
            row = await self._look(connection, claim, sealer)
            # `None`: what the insert met was purged in between, and may be inserted now.
            if row is None or _is_live(row) or row.state == "done":
                return row
            if row.state == "begun" and claim.effect == "unsafe" and claim.on_unknown != "retry":
                raise Permanent(
                    "an earlier attempt of this step ended without an answer, and it may have acted; check the other "
                    "side, then retry the step, or set onUnknown to retry if acting twice does no harm",
                    type="effect.outcomeUnknown",
                )
            again = (
                update(effects)
                .where(*_is(claim.tenant_id, claim.key), effects.c.fence == row.fence, effects.c.state == row.state)
                .values(state="begun", fence=row.fence + 1, lease_until=self._in(claim.lease), begun_at=now())
            )
            if (await connection.execute(again)).rowcount == 1:
                return Hold(
                    tenant_id=claim.tenant_id,
                    key=claim.key,
                    fence=row.fence + 1,
                    checkpoint_sealed=row.checkpoint_sealed,
                )
            return row

    async def _look(self, connection: AsyncConnection, claim: Claim, sealer: Sealer | None) -> Row[Any] | None:
        query = select(effects, self._in(0).label("clock")).where(*_is(claim.tenant_id, claim.key))
        row = (await connection.execute(query)).one_or_none()
        if sealer is not None and row is not None and row.committed_sealed is not None:
            committed = sealer.open_json(row.committed_sealed, _commit_place(claim.key))
            if committed != claim.commit:
                raise Overtaken(committed)
        return row

    async def _stored(self, claim: Claim, row: Row[Any]) -> Outcome:
        sealer = await self._vault.sealer(claim.tenant_id)
        stored = sealer.open_json(row.outcome_sealed, _place(claim.key))
        failure = stored.get("failure")
        if failure is not None:
            raise Permanent(failure["message"], type=failure["type"], status=failure["status"])
        return Outcome(port=stored["port"], output=stored["output"])

    async def _settle_sealed(self, hold: Hold, value: dict[str, Any]) -> bool:
        async def settle() -> bool:
            sealer = await self._vault.sealer(hold.tenant_id)
            sealed = sealer.seal_json(value, _place(hold.key))
            return await self._settle(
                hold,
                state="done",
                outcome_sealed=sealed,
                checkpoint_sealed=None,
                settled_at=now(),
                lease_until=self._in(0),
            )

        return await undisturbed(settle())

    async def _settle(self, hold: Hold, **values: Any) -> bool:
        mine = (*_is(hold.tenant_id, hold.key), effects.c.fence == hold.fence, effects.c.state == "begun")
        async with self._database.transaction(hold.tenant_id) as connection:
            done = await connection.execute(update(effects).where(*mine).values(values))
        return done.rowcount == 1

    def _in(self, seconds: float) -> ColumnElement[datetime]:
        """The moment that many seconds from now, by the clock that all holders of this database share."""
        if self._database.is_sqlite:
            return literal(now() + timedelta(seconds=seconds), Instant)
        clock = func.clock_timestamp(type_=DateTime(timezone=True))
        return type_coerce(clock + timedelta(seconds=seconds), Instant)


async def undisturbed(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end; a cancellation that comes meanwhile is raised afterwards."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        raise


def _is(tenant_id: str, key: str) -> tuple[ColumnElement[bool], ...]:
    return effects.c.tenant_id == tenant_id, effects.c.id == key


def _is_live(row: Row[Any]) -> bool:
    return bool(row.state == "begun" and row.lease_until > row.clock)


def _place(key: str) -> str:
    return f"effect.outcome:{key}"


def _commit_place(key: str) -> str:
    return f"effect.commit:{key}"


def _checkpoint_place(key: str) -> str:
    return f"effect.checkpoint:{key}"
