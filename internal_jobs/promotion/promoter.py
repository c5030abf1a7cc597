"""The promoter: has executions started for jobs that wait for one, and those stopped whose job is to end.

It asks over the HTTP API, like any client, and nothing hangs on the answer: the job's row says what is left to do, the
one who starts the execution changes it in the transaction that makes the execution, and whatever was cut short is asked
again.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import structlog
from sqlalchemy import Row, select, tuple_, update

from internal_jobs.promotion.record import error_of
from internal_jobs.rounds import Rounds
from internal_jobs.table import HANDED_OVER, jobs
from plugins.storage.clock import moment
from plugins.storage.database import Database
from plugins.vault.errors import VaultError
from plugins.vault.keys import Vault

_log = structlog.get_logger(__name__)

#: Seconds between two looks when nobody wakes it.
INTERVAL = 1.0
#: Seconds after which the same is asked again, should no answer have come.
PAUSE = 5.0
#: The same after an answer that the API, or the engine behind it, is away.
AWAY = 2.0
#: Jobs that one look takes on, all asked for together.
MOST = 32


class HandoverError(Exception):
    """The API did not do what was asked."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class HandoverUnavailable(HandoverError):
    """It is away, or busy: the same may be asked again, after so many seconds."""

    def __init__(self, message: str, *, retry_in: float = AWAY) -> None:
        super().__init__(message)
        self.retry_in = retry_in


class HandoverRefused(HandoverError):
    """It never will."""


class Handover(Protocol):
    """The way to the API, under a right of the tenant's own. What is done already, or needless, is no error.

    Raises:
        HandoverError
    """

    async def start(self, tenant_id: str, job_id: str) -> None:
        """Have an execution started for a job that is ``promoting``."""

    async def stop(self, tenant_id: str, execution_id: str) -> None:
        """Have an execution cancelled."""


class Promoter:
    """Hands jobs over; several workers share them."""

    def __init__(self, database: Database, vault: Vault, handover: Handover) -> None:
        self._database = database
        self._vault = vault
        self._handover = handover
        self._rounds = Rounds(self.hand_over, most=MOST, interval=INTERVAL, failed="jobs.promotion_failed")

    def wake(self) -> None:
        """There may be something to hand over."""
        self._rounds.wake()

    async def run(self) -> None:
        """Hand over until cancelled. Survives the loss of the database and of the API."""
        await self._rounds.run()

    async def hand_over(self) -> int:
        """Ask for everything that is due; return how much that was."""
        rows = await self._take()
        await asyncio.gather(*(self._ask(row) for row in rows))
        return len(rows)

    async def _take(self) -> Sequence[Row[Any]]:
        """Take on what is due, so that no other worker asks for the same meanwhile."""
        due = (HANDED_OVER, jobs.c.available_at <= moment(self._database))
        oldest = select(jobs.c.tenant_id, jobs.c.id).where(*due).order_by(jobs.c.available_at).limit(MOST)
        async with self._database.across.read() as connection:
            keys = [tuple(row) for row in await connection.execute(oldest)]
        if not keys:
            return ()
        take = (
            update(jobs)
            .where(tuple_(jobs.c.tenant_id, jobs.c.id).in_(keys), *due)
            .values(available_at=moment(self._database, PAUSE))
            .returning(jobs)
        )
        async with self._database.across.transaction() as connection:
            taken: Sequence[Row[Any]] = (await connection.execute(take)).all()
        return taken

    async def _ask(self, row: Row[Any]) -> None:
        with structlog.contextvars.bound_contextvars(tenant_id=row.tenant_id, job_id=row.id):
            try:
                if row.status == "promoting":
                    await self._handover.start(row.tenant_id, row.id)
                else:
                    await self._handover.stop(row.tenant_id, row.promoted_to)
            except HandoverUnavailable as error:
                _log.warning("jobs.promotion_waits", reason=error.message, retry_in=error.retry_in)
                await self._put(row, available_at=moment(self._database, error.retry_in))
            except HandoverRefused as error:
                _log.warning("jobs.promotion_refused", reason=error.message)
                await self._refuse(row, error.message)

    async def _refuse(self, row: Row[Any], reason: str) -> None:
        """Make a dead letter of a job that cannot be an execution."""
        if row.status != "promoting":
            return
        closing: dict[str, Any] = {"status": "dead", "closed_at": moment(self._database)}
        try:
            sealer = await self._vault.sealer(row.tenant_id)
        except VaultError:
            await self._put(row, **closing, error_type="vault.unreadable")
            return
        message = f"it cannot go on as an execution: {reason}"
        await self._put(row, **closing, **error_of(row, sealer, "job.notPromotable", message))

    async def _put(self, row: Row[Any], **values: Any) -> None:
        one = update(jobs).where(jobs.c.tenant_id == row.tenant_id, jobs.c.id == row.id, jobs.c.status == row.status)
        async with self._database.transaction(row.tenant_id) as connection:
            await connection.execute(one.values(values))
