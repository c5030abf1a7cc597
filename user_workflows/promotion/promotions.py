"""Promotion: a job goes on as a durable execution, under the same idempotency keys."""

from sqlalchemy.ext.asyncio import AsyncConnection

from internal_jobs.errors import JobConflict
from internal_jobs.promotion.record import Promotable, claim_on, find_promotable
from plugins.storage.database import Database, now
from plugins.vault.keys import Vault
from user_workflows.executions.beginnings import ActsFor, StartRequest
from user_workflows.executions.starts import Starts
from user_workflows.interpreter.messages import TriggerCall
from user_workflows.promotion.single_step import SingleStep, SingleSteps


class Promotions:
    """Starts executions for jobs that wait for one."""

    def __init__(self, *, database: Database, vault: Vault, steps: SingleSteps, starts: Starts) -> None:
        self._database = database
        self._vault = vault
        self._steps = steps
        self._starts = starts

    async def promote(self, tenant_id: str, job_id: str) -> str:
        """Let a job go on as an execution and return its id; repeated, it returns the same.

        Job and execution change in one transaction: a job that was cancelled meanwhile starts nothing.

        Raises:
            JobNotFound
            JobConflict: the job does not wait for an execution.
            InvalidDefinition: no execution can do what it asks for.
            EngineUnavailable: Temporal cannot be reached; the sweep starts it later.
        """
        job = await find_promotable(self._database, self._vault, tenant_id, job_id)
        if job.promoted_to is not None:
            return job.promoted_to
        if job.status != "promoting":
            raise JobConflict(f"job {job_id} is {job.status} and does not wait for an execution")
        step = SingleStep(
            plugin=job.type,
            keys=tuple(sorted(job.payload)),
            credentials=job.credentials,
            timeout=job.timeout,
            retry=job.retry,
        )
        published = await self._steps.find(tenant_id, step)

        async def claim(connection: AsyncConnection, execution_id: str) -> None:
            await _claim(connection, tenant_id, job, execution_id)

        request = StartRequest(
            workflow_id=published.workflow_id,
            published=published,
            trigger=TriggerCall(type="job", id=job.id, payload=job.payload, traceparent=job.traceparent),
            tags=job.tags,
            key=f"job:{job.id}:{job.generation}",
            acts_for=ActsFor(job_id=job.id, generation=job.generation),
            joining=claim,
        )
        (started,) = await self._starts.start_many(tenant_id, [request])
        return started.id


async def _claim(connection: AsyncConnection, tenant_id: str, job: Promotable, execution_id: str) -> None:
    claimed = await claim_on(
        connection, tenant_id, job.id, generation=job.generation, execution_id=execution_id, at=now()
    )
    if not claimed:
        raise JobConflict(f"job {job.id} has changed meanwhile, and does not wait for an execution any more")
