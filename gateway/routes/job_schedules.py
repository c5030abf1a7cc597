"""``/v1/job-schedules``: jobs that are made again and again."""

from litestar import Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_200_OK, HTTP_202_ACCEPTED, HTTP_204_NO_CONTENT

from gateway.auth.permissions import requires
from gateway.auth.principal import Principal
from gateway.body import NoFields
from gateway.errors import BodyFault
from gateway.routes.jobs import job_faults, refuse_job
from gateway.routes.pages import Cursor, Limit, Page, position
from internal_jobs.schedules.client import Firing, Schedule, ScheduleRequest, Schedules
from plugins.host.registry import Registry


@post("/v1/job-schedules", opt=requires("jobs.write"))
async def make_job_schedule(
    data: JSONBody[ScheduleRequest],
    principal: NamedDependency[Principal],
    job_schedules: NamedDependency[Schedules],
    registry: NamedDependency[Registry],
) -> Response[Schedule]:
    """Keep a schedule: it makes its job by a cron expression, or at an interval."""
    _check_job(data, registry)
    made = await job_schedules.create(principal.tenant_id, data)
    return Response(made, headers={"Location": f"/v1/job-schedules/{made.id}"})


@get("/v1/job-schedules", opt=requires("jobs.read"))
async def list_job_schedules(
    principal: NamedDependency[Principal],
    job_schedules: NamedDependency[Schedules],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Schedule]:
    """List the schedules, newest first, each with its next and its last firing."""
    page = await job_schedules.list(principal.tenant_id, limit=limit, cursor=position(cursor))
    return Page(items=page.items, next_cursor=page.next_cursor)


@get("/v1/job-schedules/{schedule_id:str}", opt=requires("jobs.read"))
async def show_job_schedule(
    schedule_id: FromPath[str], principal: NamedDependency[Principal], job_schedules: NamedDependency[Schedules]
) -> Schedule:
    """Show a schedule."""
    return await job_schedules.get(principal.tenant_id, schedule_id)


@put("/v1/job-schedules/{schedule_id:str}", opt=requires("jobs.write"))
async def replace_job_schedule(
    schedule_id: FromPath[str],
    data: JSONBody[ScheduleRequest],
    principal: NamedDependency[Principal],
    job_schedules: NamedDependency[Schedules],
    registry: NamedDependency[Registry],
) -> Schedule:
    """Change a schedule: it fires by the new one from now on."""
    # Whether it is there comes first: a foreign one is not told apart from an absent one by a fault of the body.
    await job_schedules.get(principal.tenant_id, schedule_id)
    _check_job(data, registry)
    return await job_schedules.replace(principal.tenant_id, schedule_id, data)


@delete("/v1/job-schedules/{schedule_id:str}", opt=requires("jobs.write"), status_code=HTTP_204_NO_CONTENT)
async def delete_job_schedule(
    schedule_id: FromPath[str], principal: NamedDependency[Principal], job_schedules: NamedDependency[Schedules]
) -> None:
    """Forget a schedule; the jobs that it made go on."""
    await job_schedules.delete(principal.tenant_id, schedule_id)


@post("/v1/job-schedules/{schedule_id:str}/pause", opt=requires("jobs.write"), status_code=HTTP_200_OK)
async def pause_job_schedule(
    schedule_id: FromPath[str],
    principal: NamedDependency[Principal],
    job_schedules: NamedDependency[Schedules],
    data: JSONBody[NoFields | None] = None,
) -> Schedule:
    """Let it fire no more; the jobs that it made go on."""
    return await job_schedules.pause(principal.tenant_id, schedule_id)


@post("/v1/job-schedules/{schedule_id:str}/resume", opt=requires("jobs.write"), status_code=HTTP_200_OK)
async def resume_job_schedule(
    schedule_id: FromPath[str],
    principal: NamedDependency[Principal],
    job_schedules: NamedDependency[Schedules],
    data: JSONBody[NoFields | None] = None,
) -> Schedule:
    """Let it fire again from now on; what fell into the pause is not made up for."""
    return await job_schedules.resume(principal.tenant_id, schedule_id)


@post("/v1/job-schedules/{schedule_id:str}/run", opt=requires("jobs.write"), status_code=HTTP_202_ACCEPTED)
async def run_job_schedule(
    schedule_id: FromPath[str],
    principal: NamedDependency[Principal],
    job_schedules: NamedDependency[Schedules],
    data: JSONBody[NoFields | None] = None,
) -> Response[Firing]:
    """Make its job now, also while it is paused or an earlier job is open."""
    firing = await job_schedules.run(principal.tenant_id, schedule_id)
    return Response(firing, headers={"Location": f"/v1/jobs/{firing.job_id}"})


@get("/v1/job-schedules/{schedule_id:str}/firings", opt=requires("jobs.read"))
async def list_job_schedule_firings(
    schedule_id: FromPath[str],
    principal: NamedDependency[Principal],
    job_schedules: NamedDependency[Schedules],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Firing]:
    """List what became of its firings, newest first: the job of each, or why there is none."""
    page = await job_schedules.firings(principal.tenant_id, schedule_id, limit=limit, cursor=position(cursor))
    return Page(items=page.items, next_cursor=page.next_cursor)


def _check_job(schedule: ScheduleRequest, registry: Registry) -> None:
    faults = job_faults(schedule.job, registry)
    refuse_job(BodyFault(f"/job{fault.pointer}", fault.detail) for fault in faults)


ROUTES = [
    make_job_schedule,
    list_job_schedules,
    show_job_schedule,
    replace_job_schedule,
    delete_job_schedule,
    pause_job_schedule,
    resume_job_schedule,
    run_job_schedule,
    list_job_schedule_firings,
]
