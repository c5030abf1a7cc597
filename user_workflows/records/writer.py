"""Records of executions and steps, written in batches as the interpreter emits them (design §9).

Temporal decides; these rows are for lists, search and the console. Records may come late, twice or out of order: the
highest `seq` stays, and a closed execution stays closed.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

import structlog
from msgspec import UNSET, structs
from sqlalchemy import Row
from sqlalchemy.exc import InterfaceError, OperationalError

from plugins.storage.database import Database
from plugins.vault.errors import KeysDestroyed
from plugins.vault.keys import Vault
from user_workflows.admission.gate import Gate
from user_workflows.interpreter.messages import ExecutionRecord
from user_workflows.metrics import RECORDS_DELAYED
from user_workflows.records.announcements import Announcements, Ending
from user_workflows.records.rows import Key, find_rows, key_of, upsert_steps, write_records

#: seconds that what is told waits for what follows, to share a transaction with it: a short execution is written once,
#: at its end. Nobody who watches notices, and a worker that dies loses no more than a replay tells again.
LINGER = 0.2

#: errors of the database as a whole, not of a record
OUTAGE = (OperationalError, InterfaceError, OSError)

_log = structlog.get_logger(__name__)


def merge(older: ExecutionRecord, newer: ExecutionRecord) -> ExecutionRecord:
    """Return one record that says what both say, each step as its highest `seq` has it."""
    if older.seq > newer.seq:
        older, newer = newer, older
    latest = {(step.node_id, step.path): step for step in older.steps}
    for step in newer.steps:
        known = latest.get((step.node_id, step.path))
        if known is None:
            latest[step.node_id, step.path] = step
        elif known.seq <= step.seq:
            given = known.input if step.input is UNSET else step.input
            latest[step.node_id, step.path] = structs.replace(step, input=given)
    return structs.replace(newer, steps=tuple(latest.values()))


class RecordWriter:
    """Writes records behind the interpreter's back, many in one transaction.

    `put` may be called from any thread and never waits; what it takes is written within `LINGER`, or at once where
    somebody waits for it. `write` waits for the commit, and for nothing else.

    Args:
        database: holds the rows.
        vault: seals what is in them.
        gate: gets back the slots of executions whose records close.
        published: told of records after they have been committed; must not wait.
        announcements: tell of executions that have ended, in the transaction that closes their records.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault,
        gate: Gate,
        published: Callable[[Collection[ExecutionRecord]], None] = lambda _: None,
        announcements: Announcements | None = None,
    ) -> None:
        self._announcements = announcements
        self._gate = gate
        self._database = database
        self._vault = vault
        self._published = published
        self._upsert = upsert_steps(database)
        self._loop = asyncio.get_running_loop()
        self._pending: dict[Key, ExecutionRecord] = {}
        self._waiters: dict[Key, list[asyncio.Future[None]]] = {}
        #: everything that waits is to be written; else only what a `write` waits for
        self._is_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._awake = asyncio.Event()

    def put(self, record: ExecutionRecord, is_awaited: bool = False) -> None:
        self._loop.call_soon_threadsafe(self._add, record, 0.0 if is_awaited else LINGER)

    async def write(self, record: ExecutionRecord) -> None:
        """Write `record`, and what waits before it, and return when it is committed.

        Raises:
            Exception: it could not be; the record is kept and tried again all the same.
        """
        self._add(record, LINGER)
        written = self._loop.create_future()
        self._waiters.setdefault(key_of(record), []).append(written)
        self._awake.set()
        await written

    async def run(self) -> None:
        """Write until cancelled, then write what is left once more."""
        try:
            delay = 0.0
            while True:
                await self._awake.wait()
                delay = 0.0 if await self._flush() else min(delay * 2 or 0.2, 5.0)
                await asyncio.sleep(delay)
        finally:
            self._is_due = True
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(self._flush())

    def _add(self, record: ExecutionRecord, delay: float) -> None:
        if self._timer is None or not delay:
            self._stop_timer()
            self._timer = self._loop.call_later(delay, self._fall_due)
        waiting = self._pending.get(key_of(record))
        self._pending[key_of(record)] = record if waiting is None else merge(waiting, record)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fall_due(self) -> None:
        self._timer = None
        self._is_due = True
        self._awake.set()

    async def _flush(self) -> bool:
        waiters, self._waiters = self._waiters, {}
        chosen = [*self._pending] if self._is_due else [key for key in waiters if key in self._pending]
        batch = [self._pending.pop(key) for key in chosen]
        if not self._pending:
            self._stop_timer()
        self._is_due = False
        self._awake.clear()
        failed = await self._write_or_return(batch)
        if len(failed) > 1 and not isinstance(failed[0][1], OUTAGE):
            # One that cannot be written must not hold up the others.
            failed = [left for record in batch for left in await self._write_or_return([record])]
        for record, error in failed:
            RECORDS_DELAYED.inc()
            _log.warning("record.delayed", execution_id=record.execution_id, error=f"{type(error).__name__}: {error}")
            self._add(record, LINGER)
            _settle(waiters.pop(key_of(record), ()), error)
        for futures in waiters.values():
            _settle(futures, None)
        return not failed

    async def _write_or_return(self, records: Sequence[ExecutionRecord]) -> list[tuple[ExecutionRecord, Exception]]:
        try:
            await self._write(records)
        except KeysDestroyed as error:
            # Nobody can read it any more, and nobody shall: the tenant was shredded.
            return [] if len(records) == 1 else [(record, error) for record in records]
        except Exception as error:
            return [(record, error) for record in records]
        return []

    async def _write(self, records: Collection[ExecutionRecord]) -> None:
        if not records:
            return
        sealers = {
            tenant_id: await self._vault.sealer(tenant_id) for tenant_id in {record.tenant_id for record in records}
        }
        is_stirred = False
        async with self._database.transaction(*sealers) as connection:
            await self._gate.lock(connection, {record.tenant_id for record in records if record.closed_at is not None})
            rows = await find_rows(connection, records)
            written = await write_records(connection, records, rows, sealers, self._upsert)
            # An end that an earlier attempt at the execution came to is none of this one.
            endings = [
                _ending(record, record.closed_at, rows[key_of(record)])
                for record in written
                if record.closed_at is not None and record.seq >= rows[key_of(record)].seq
            ]
            if endings:
                if self._announcements is not None:
                    await self._announcements.tell_ends(connection, sealers, endings)
                left = [rows[ending.tenant_id, ending.execution_id] for ending in endings]
                is_stirred = await self._gate.give_back(connection, left)
        self._gate.stir(is_stirred)
        self._published(written)


def _ending(record: ExecutionRecord, at: datetime, row: "Row[*tuple[Any, ...]]") -> Ending:
    return Ending(
        tenant_id=record.tenant_id,
        execution_id=record.execution_id,
        status=record.status,
        closed_at=at,
        output=record.output,
        error=record.error,
        may_be_a_job=row.trigger["type"] == "job",
        may_be_heard=row.is_heard,
    )


def _settle(written: Sequence[asyncio.Future[None]], error: Exception | None) -> None:
    for future in written:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
