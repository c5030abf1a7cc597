"""What the jobs of a tenant have used."""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct
from sqlalchemy import func, select

from internal_jobs.table import jobs
from plugins.storage.database import Database
from plugins.storage.ids import first_id


class JobUsage(Struct, frozen=True, kw_only=True, rename="camel"):
    """Of jobs that were accepted in some time."""

    jobs: int
    by_status: Mapping[str, int]
    attempts: int


async def job_usage(database: Database, tenant_id: str, *, since: datetime, until: datetime) -> JobUsage:
    """Count what was accepted from `since` on and before `until`, as far as retention has left it."""
    query = (
        select(jobs.c.status, func.count(), func.sum(jobs.c.attempts))
        .where(
            jobs.c.tenant_id == tenant_id,
            jobs.c.id >= first_id("job", since),
            jobs.c.id < first_id("job", until),
        )
        .group_by(jobs.c.status)
    )
    async with database.read(tenant_id) as connection:
        rows = (await connection.execute(query)).all()
    return JobUsage(
        jobs=sum(row[1] for row in rows),
        by_status={row[0]: row[1] for row in sorted(rows, key=lambda row: str(row[0]))},
        attempts=sum(int(row[2]) for row in rows),
    )
