"""The end of all that a tenant has going in jobs, before its keys are destroyed."""

from sqlalchemy import delete, update

from internal_jobs.dead_letters.table import job_replays
from internal_jobs.inbox.contract import job_inbox
from internal_jobs.schedules.table import job_schedules
from internal_jobs.table import WAITS, jobs
from internal_jobs.webhooks.tables import endpoints
from plugins.storage.database import Database, now


async def end_jobs(database: Database, tenant_id: str) -> None:
    """End schedules, replays, endpoints and jobs of a tenant; whoever runs one of them loses its lease.

    Nobody works on what is left: the loops of workers pass by. It may be repeated.
    """
    open_jobs = update(jobs).where(jobs.c.tenant_id == tenant_id, jobs.c.status.in_((*WAITS, "running", "promoted")))
    async with database.transaction(tenant_id) as connection:
        for table in (job_schedules, job_replays, job_inbox, endpoints):
            await connection.execute(delete(table).where(table.c.tenant_id == tenant_id))
        await connection.execute(open_jobs.values(status="canceled", closed_at=now(), lease_until=None))
