"""Whose record is asked before a credential is lent."""

from internal_jobs.bindings import JobBindings
from plugins.vault.lending import Borrower, Permit
from user_workflows.executions.bindings import ExecutionBindings


def permit(executions: ExecutionBindings, jobs: JobBindings) -> Permit:
    """Return what permits a step, a job or a trigger to borrow, and nobody else."""

    async def refusal(borrower: Borrower, slot: str, credential_id: str) -> str | None:
        if borrower.execution_id is not None:
            return await executions.refusal(borrower, slot, credential_id)
        if borrower.job_id is not None:
            return await jobs.refusal(borrower, slot, credential_id)
        # A trigger's secret is read from the version that is live, by whoever checks a delivery with it.
        return None if borrower.trigger_id is not None else "no execution, job or trigger asks for it"

    return refusal
