"""The intake: makes jobs of what other services wrote into the inbox. What cannot become one becomes a dead letter."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import structlog
from sqlalchemy import Row, delete, select, tuple_

from internal_jobs.draft import check, draft
from internal_jobs.errors import InvalidJob
from internal_jobs.inbox.contract import job_inbox
from internal_jobs.insertion import Insertion, NewJob
from internal_jobs.jobs import JobRequest
from internal_jobs.rounds import Rounds
from internal_jobs.store import place
from plugins.storage.database import Database
from plugins.vault.cipher import Sealer
from plugins.vault.errors import VaultError
from plugins.vault.keys import Vault

_log = structlog.get_logger(__name__)

#: Seconds between two looks when nobody wakes it.
POLL = 0.5
#: Rows that are taken in by one transaction.
MOST = 200
#: The type of a dead letter whose request names none that can be read.
UNREADABLE = "unreadable"
#: Characters of such a request that are kept.
_KEPT = 100_000

_decoder = msgspec.json.Decoder(JobRequest)


class Intake:
    """Takes the inbox in; several workers share it, and each row becomes one job."""

    def __init__(self, database: Database, vault: Vault, *, on_due: Callable[[], None]) -> None:
        self._database = database
        self._insertion = Insertion(database)
        self._vault = vault
        self._on_due = on_due
        self._rounds = Rounds(self.take_in, most=MOST, interval=POLL, failed="jobs.intake_failed")

    def wake(self) -> None:
        """There may be something in the inbox."""
        self._rounds.wake()

    async def run(self) -> None:
        """Take in until cancelled. Survives the loss of the database."""
        await self._rounds.run()

    async def take_in(self) -> int:
        """Make jobs of the oldest rows; return how many were there."""
        async with self._database.across.read() as connection:
            oldest = select(job_inbox).order_by(job_inbox.c.created_at, job_inbox.c.id).limit(MOST)
            rows = (await connection.execute(oldest)).all()
        if not rows:
            return 0
        # Before the transaction: keys are read, and may be made, in one of their own.
        drafts = {(row.tenant_id, row.id): await self._draft(row) for row in rows}
        await self._exchange(drafts)
        self._on_due()
        return len(rows)

    async def _exchange(self, drafts: dict[tuple[str, str], NewJob | None]) -> None:
        """Delete rows and insert their jobs at once; whoever deletes a row makes its job."""
        key = tuple_(job_inbox.c.tenant_id, job_inbox.c.id)
        take = delete(job_inbox).where(key.in_(list(drafts))).returning(job_inbox.c.tenant_id, job_inbox.c.id)
        async with self._database.transaction(*{tenant_id for tenant_id, _ in drafts}) as connection:
            taken = {tuple(row) for row in await connection.execute(take)}
            news: Sequence[NewJob] = [new for key, new in drafts.items() if new is not None and key in taken]
            if news:
                await self._insertion.insert_on(connection, news)

    async def _draft(self, row: Row[Any]) -> NewJob | None:
        try:
            sealer = await self._vault.sealer(row.tenant_id)
        except VaultError as error:
            _log.error("jobs.inbox_row_dropped", tenant_id=row.tenant_id, job_id=row.id, reason=str(error))
            return None
        try:
            request = _decoder.decode(row.request)
            check(request)
            return draft(row.tenant_id, request, sealer, id=row.id, key=row.idempotency_key)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            return _dead(row, sealer, str(error))
        except InvalidJob as error:
            return _dead(row, sealer, str(error))


def _dead(row: Row[Any], sealer: Sealer, reason: str) -> NewJob:
    """Return a dead letter that holds what was asked for and why it cannot be done."""
    request = JobRequest(type=UNREADABLE, payload={"request": row.request[:_KEPT]})
    letter = draft(row.tenant_id, request, sealer, id=row.id, key=row.idempotency_key)
    error = sealer.seal_json({"message": reason, "attempt": 0}, place("error", row.id))
    dead = {"status": "dead", "closed_at": letter.row["created_at"], "error_type": "job.invalid", "error_sealed": error}
    return NewJob(letter.row | dead)
