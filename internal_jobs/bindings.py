"""Which credentials a job may borrow: those of its row, while a message or a lease speaks of it."""

from sqlalchemy import bindparam, case, select

from internal_jobs.table import PUBLISHED, jobs
from plugins.storage.database import Database
from plugins.vault.lending import Borrower

# Built once: every job that binds a credential asks.
_JOB = select(
    jobs.c.status, jobs.c.type, jobs.c.credentials, case((PUBLISHED, True), else_=False).label("is_published")
).where(jobs.c.tenant_id == bindparam("tenant_id"), jobs.c.id == bindparam("id"))


class JobBindings:
    """Asks the records, whatever a worker was told."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def refusal(self, borrower: Borrower, slot: str, credential_id: str) -> str | None:
        """Say why a job may not have a credential; ``None``: it may."""
        id = borrower.job_id
        async with self._database.read(borrower.tenant_id) as connection:
            row = (await connection.execute(_JOB, {"tenant_id": borrower.tenant_id, "id": id})).one_or_none()
        if row is None:
            return f"there is no job {id}"
        if not row.is_published:
            return f"job {id} is {row.status}, and no worker's to run"
        if row.type != borrower.plugin_id or row.credentials.get(slot) != credential_id:
            return f"job {id} does not bind it to slot {slot!r} of {borrower.plugin_id}"
        return None
