"""Jobs that take their worker down: how often they may, and what becomes of them then."""

from typing import Any

from sqlalchemy import Row

from internal_jobs.leases import End
from internal_jobs.runner import failure_end
from internal_jobs.tickets import Ticket
from plugins.host.invoke import Failure
from plugins.vault.errors import VaultError
from plugins.vault.keys import Vault

#: Workers that one job may take down after the first.
MAX_REDELIVERIES = 3


async def taken_back(row: Row[Any], vault: Vault, *, how: str = "") -> End:
    """Say what becomes of a job whose worker is gone: it is tried again, or, after so many deaths, dead as poison."""
    ticket = Ticket(row.tenant_id, row.id, row.sequence)
    if row.redeliveries < MAX_REDELIVERIES:
        return End(ticket=ticket, status="queued", counts=False)
    last = f"; the last one {how}" if how else ""
    message = f"its worker died {row.redeliveries + 1} times in a row while this job ran{last}"
    poison = Failure(type="job.poison", message=message, attempt=row.attempts, retry_in=None)
    try:
        return failure_end(ticket, await vault.sealer(row.tenant_id), poison)
    except VaultError:
        return End(ticket=ticket, status="dead", error_type=poison.type)
