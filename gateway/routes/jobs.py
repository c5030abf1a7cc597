"""``/v1/jobs``: internal chores, accepted as long as the database is there."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Annotated

from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.status_codes import HTTP_202_ACCEPTED
from msgspec import Meta, Struct

from gateway.audit.middleware import UNAUDITED
from gateway.auth.permissions import requires
from gateway.auth.principal import Principal
from gateway.body import NoFields
from gateway.errors import BodyFault, InvalidBody
from gateway.idempotency.middleware import effect_key, read_key, scoped_key
from gateway.routes.pages import Cursor, Limit, Page, position
from gateway.telemetry.trace import trace_of
from gateway.text import Filter
from internal_jobs.client import Job, JobRequest, Jobs
from internal_jobs.errors import InvalidJob, JobNotFound
from internal_jobs.jobs import Queue, Status
from internal_jobs.promotion.timeline import Timeline, Timelines
from plugins.host.registry import Registry
from plugins.sdk.conform import Nonconforming, conform
from user_workflows.promotion.promotions import Promotions

MAX_BATCH = 1_000


class Batch(Struct, frozen=True, forbid_unknown_fields=True):
    items: Annotated[list[JobRequest], Meta(min_length=1, max_length=MAX_BATCH)]


class Accepted(Struct, frozen=True):
    id: str
    status: Status


class AcceptedBatch(Struct, frozen=True):
    """In the order of the request."""

    items: list[Accepted]


@post("/v1/jobs", opt=requires("jobs.write") | UNAUDITED, status_code=HTTP_202_ACCEPTED)
async def enqueue_job(
    request: Request[Principal, Principal, State],
    data: JSONBody[JobRequest],
    principal: NamedDependency[Principal],
    jobs: NamedDependency[Jobs],
    registry: NamedDependency[Registry],
) -> Response[Job]:
    """Accept a job: it is kept, and runs as soon as it is due and a worker is free."""
    refuse_job(job_faults(data, registry))
    job = await jobs.enqueue(
        principal.tenant_id,
        data,
        key=effect_key(request),
        actor=principal.id,
        traceparent=trace_of(request.scope).traceparent,
    )
    return Response(job, headers={"Location": f"/v1/jobs/{job.id}"})


@post("/v1/jobs/batch", opt=requires("jobs.write") | UNAUDITED, status_code=HTTP_202_ACCEPTED)
async def enqueue_batch(
    request: Request[Principal, Principal, State],
    data: JSONBody[Batch],
    principal: NamedDependency[Principal],
    jobs: NamedDependency[Jobs],
    registry: NamedDependency[Registry],
) -> AcceptedBatch:
    """Accept up to 1,000 jobs, all of them or none."""
    refuse_job(
        BodyFault(f"/items/{index}{fault.pointer}", fault.detail)
        for index, item in enumerate(data.items)
        for fault in job_faults(item, registry)
    )
    key = read_key(request)
    try:
        accepted = await jobs.enqueue_many(
            principal.tenant_id,
            data.items,
            keys=None if key is None else [scoped_key("batch", str(index), key) for index in range(len(data.items))],
            actor=principal.id,
            traceparent=trace_of(request.scope).traceparent,
        )
    except InvalidJob as error:
        raise InvalidJob(f"/items{error.pointer}", error.detail) from None
    return AcceptedBatch([Accepted(job.id, job.status) for job in accepted])


@get("/v1/jobs", opt=requires("jobs.read"))
async def list_jobs(
    *,
    principal: NamedDependency[Principal],
    jobs: NamedDependency[Jobs],
    status: FromQuery[Status | None] = None,
    type: Filter = None,
    queue: FromQuery[Queue | None] = None,
    tag: Filter = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Job]:
    """List jobs, newest first."""
    page = await jobs.list(
        principal.tenant_id, status=status, type=type, queue=queue, tag=tag, limit=limit, cursor=position(cursor)
    )
    return Page(items=page.items, next_cursor=page.next_cursor)


@get("/v1/jobs/{job_id:str}", opt=requires("jobs.read"))
async def show_job(job_id: FromPath[str], principal: NamedDependency[Principal], jobs: NamedDependency[Jobs]) -> Job:
    """Show a job: its status, its attempts, and what came of it."""
    return await _show(jobs, principal, job_id)


@post("/v1/jobs/{job_id:str}/cancel", opt=requires("jobs.write"), status_code=HTTP_202_ACCEPTED)
async def cancel_job(
    job_id: FromPath[str],
    principal: NamedDependency[Principal],
    jobs: NamedDependency[Jobs],
    data: JSONBody[NoFields | None] = None,
) -> Job:
    """Cancel a job that waits; ask a running one to stop, and one that goes on as an execution with that."""
    return await jobs.cancel(principal.tenant_id, job_id)


@post("/v1/jobs/{job_id:str}/retry", opt=requires("jobs.write"), status_code=HTTP_202_ACCEPTED)
async def retry_job(
    job_id: FromPath[str],
    principal: NamedDependency[Principal],
    jobs: NamedDependency[Jobs],
    data: JSONBody[NoFields | None] = None,
) -> Job:
    """Make the next attempt due now; one that is closed starts over."""
    return await jobs.retry(principal.tenant_id, job_id)


@post("/v1/jobs/{job_id:str}/promote", opt=requires("executions.start") | UNAUDITED, status_code=HTTP_202_ACCEPTED)
async def promote_job(
    job_id: FromPath[str],
    principal: NamedDependency[Principal],
    jobs: NamedDependency[Jobs],
    promotions: NamedDependency[Promotions],
    data: JSONBody[NoFields | None] = None,
) -> Job:
    """Start the execution that a job waits for which is ``promoting``; jobs workers ask for it by themselves."""
    await promotions.promote(principal.tenant_id, job_id)
    return await _show(jobs, principal, job_id)


@get("/v1/jobs/{job_id:str}/timeline", opt=requires("jobs.read"))
async def show_timeline(
    job_id: FromPath[str], principal: NamedDependency[Principal], timelines: NamedDependency[Timelines]
) -> Timeline:
    """Show what happened to a job, attempt by attempt, on both engines."""
    return await timelines.read(principal.tenant_id, job_id)


async def _show(jobs: Jobs, principal: Principal, job_id: str) -> Job:
    job = await jobs.get(principal.tenant_id, job_id)
    if job is None:
        raise JobNotFound(job_id)
    return job


def job_faults(job: JobRequest, registry: Registry) -> Iterator[BodyFault]:
    """Find what would make the job fail for sure: a type that is not installed, a payload that does not fit it."""
    plugin = registry.find(job.type)
    if plugin is None:
        close = get_close_matches(job.type, [known.id for known in registry], 1)
        yield BodyFault("/type", f"is no plugin's id{f'; did you mean {close[0]!r}?' if close else ''}")
        return
    try:
        conform(plugin.config, job.payload)
    except Nonconforming as error:
        yield from (BodyFault("/payload" + flaw.pointer, flaw.detail) for flaw in error.flaws)


def refuse_job(faults: Iterable[BodyFault]) -> None:
    """Refuse a job that has faults.

    Raises:
        InvalidBody: naming all of them.
    """
    if found := tuple(faults):
        raise InvalidBody("The job cannot be done as described.", errors=found)


ROUTES = [enqueue_job, enqueue_batch, list_jobs, show_job, cancel_job, retry_job, promote_job, show_timeline]
