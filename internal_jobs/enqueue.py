"""The plugin ``job.enqueue``: a step of a workflow that hands a chore to the jobs workers."""

from typing import Annotated, Any

from msgspec import Meta, Struct, field
from sqlalchemy.exc import SQLAlchemyError

from internal_jobs.client import JobRequest, Jobs
from internal_jobs.errors import InvalidJob
from internal_jobs.jobs import Queue
from plugins.host.retry import Duration
from plugins.sdk.context import Context
from plugins.sdk.errors import Permanent, Transient
from plugins.sdk.plugin import Plugin, plugin


class EnqueueConfig(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    type: Annotated[str, Meta(min_length=1, max_length=200, description="The id of the plugin that does the job")]
    payload: Annotated[dict[str, Any], Meta(description="Its config")] = field(default_factory=dict)
    credentials: Annotated[dict[str, str], Meta(description="Slot → credential id, as on a node")] = field(
        default_factory=dict
    )
    queue: Queue = "default"
    delay: Annotated[Duration | None, Meta(description='Run after this long, e.g. "10m"')] = None


class Enqueued(Struct, frozen=True, kw_only=True, rename="camel"):
    job_id: str


def enqueue_plugin(jobs: Jobs) -> Plugin:
    """Make the plugin over the producers' door of this process."""

    @plugin("job.enqueue", version="1.0.0", effect="idempotent")
    async def job_enqueue(config: EnqueueConfig, ctx: Context) -> Enqueued:
        """Enqueue an internal job and go on without waiting for it."""
        request = JobRequest(
            type=config.type,
            payload=config.payload,
            credentials=config.credentials,
            queue=config.queue,
            delay=config.delay,
        )
        try:
            # The ledger's key: however often this step is attempted, there is one job.
            job = await jobs.enqueue(ctx.tenant_id, request, key=ctx.idempotency_key)
        except InvalidJob as error:
            raise Permanent(f"the job cannot be kept: {error}", type="job.invalid") from None
        except (SQLAlchemyError, OSError) as error:
            raise Transient("the job could not be kept: the database does not answer", type="job.notKept") from error
        return Enqueued(job_id=job.id)

    return job_enqueue
