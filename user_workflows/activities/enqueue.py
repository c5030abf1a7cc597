"""`job.enqueue`: a step that hands a chore to the internal jobs, an ordinary plugin to the engine."""

from typing import Annotated, Any

from msgspec import Meta, Struct, field

from internal_jobs.client import JobRequest, Jobs
from internal_jobs.errors import InvalidJob
from internal_jobs.jobs import Queue
from plugins import Context, Permanent, Plugin, plugin
from plugins.host.retry import Duration


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    type: Annotated[str, Meta(min_length=1, max_length=200, description="A plugin's id, e.g. email.send")]
    payload: Annotated[dict[str, Any], Meta(description="The plugin's config")] = field(default_factory=dict)
    queue: Annotated[Queue, Meta(description="The priority class")] = "default"
    delay: Annotated[Duration | None, Meta(description="Run after this long")] = None


class Enqueued(Struct, frozen=True):
    jobId: str


def enqueue_plugin(jobs: Jobs) -> Plugin:
    """Return the plugin that enqueues into `jobs`, once per step: its idempotency key is the job's."""

    @plugin("job.enqueue", version="1.0.0", effect="idempotent")
    async def job_enqueue(config: Config, ctx: Context) -> Enqueued:
        """Hand a chore to the internal jobs and go on."""
        request = JobRequest(type=config.type, payload=config.payload, queue=config.queue, delay=config.delay)
        try:
            job = await jobs.enqueue(ctx.tenant_id, request, key=f"step:{ctx.idempotency_key}")
        except InvalidJob as error:
            raise Permanent(str(error), type="job.invalid") from error
        return Enqueued(jobId=job.id)

    return job_enqueue
