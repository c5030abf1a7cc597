"""Jobs that take their worker down: how often they may, and what becomes of them then."""

from collections.abc import Callable
from typing import Any

import structlog
from sqlalchemy import Row

from internal_jobs.leases import SUSPICIOUS, End, Leases
from internal_jobs.metrics import REPUBLISHED
from internal_jobs.runner import failure_end
from internal_jobs.tickets import Ticket
from plugins.host.invoke import Failure
from plugins.host.ledger import Ledger, idempotency_key
from plugins.vault.errors import VaultError
from plugins.vault.keys import Vault

_log = structlog.get_logger(__name__)

#: Workers that one job may take down after the first, without coming further.
MAX_REDELIVERIES = 3
#: The same for one that comes further each time: a long sync outlives many workers, but no job may end them for ever.
MAX_WITH_PROGRESS = 20


class Redeliveries:
    """Decides about jobs whose worker is gone.

    Args:
        vault: seals the last error of a poisonous job.
        ledger: knows whether a job has come further: whether it saved a checkpoint.
    """

    def __init__(self, vault: Vault, ledger: Ledger) -> None:
        self._vault = vault
        self._ledger = ledger

    async def after_death(self, row: Row[Any], *, how: str = "") -> End:
        """Say what becomes of a job: it is tried again, or, after so many deaths, dead as poison."""
        ticket = Ticket(row.tenant_id, row.id, row.sequence)
        advances = row.redeliveries >= MAX_REDELIVERIES and await self._advances(row)
        if row.redeliveries < (MAX_WITH_PROGRESS if advances else MAX_REDELIVERIES):
            return End(ticket=ticket, status="queued", counts=False)
        last = f"; the last one {how}" if how else ""
        came = ", though it came further" if advances else ""
        # One that is not seen running was not counted yet.
        attempt = row.attempts if row.status == "running" else row.attempts + 1
        message = f"its worker died {row.redeliveries + 1} times in a row while this job ran{came}{last}"
        poison = Failure(type="job.poison", message=message, attempt=attempt, retry_in=None)
        try:
            return failure_end(ticket, await self._vault.sealer(row.tenant_id), poison)
        except VaultError:
            return End(ticket=ticket, status="dead", error_type=poison.type)

    async def _advances(self, row: Row[Any]) -> bool:
        """Return whether a job came further in one of the attempts that its redeliveries would allow it."""
        key = idempotency_key(row.tenant_id, row.id, row.type, row.generation)
        futile = await self._ledger.taken_since_checkpoint(row.tenant_id, key)
        return futile is not None and futile <= MAX_REDELIVERIES


async def take_over(ticket: Ticket, *, leases: Leases, redeliveries: Redeliveries, on_due: Callable[[], None]) -> None:
    """Take back the job of a message whose worker is gone, if no lease speaks of it and no end was written."""
    if (row := await leases.unwritten(ticket)) is not None:
        _log.warning("jobs.worker_lost", tenant_id=row.tenant_id, job_id=row.id, redeliveries=row.redeliveries)
        if row.redeliveries >= SUSPICIOUS:
            # It runs in a cell alone, and there under a lease: it waited for one, and has no part in this death.
            await leases.put_off(ticket, 0.0)
        else:
            await leases.forfeit(await redeliveries.after_death(row))
        REPUBLISHED.labels("worker").inc()
        on_due()
