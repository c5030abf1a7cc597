"""``/v1/workflows/{id}/versions``: what was published, and never changes."""

import asyncio
from typing import Annotated, Literal

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK
from msgspec import structs

from gateway.auth.permissions import requires
from gateway.auth.principal import Principal
from gateway.body import NoFields
from gateway.routes.pages import Limit, Page
from gateway.routes.plans import PlanBody, show_plan
from user_workflows.codegen.export import export_python
from user_workflows.workflows.workflows import Version, Workflows

VersionCursor = Annotated[str | None, QueryParameter(pattern=r"^\d{1,9}$", description="`nextCursor` of a page")]
ExportFormat = Annotated[Literal["python"], QueryParameter(description="the language")]


class PlannedVersion(Version, frozen=True, kw_only=True, rename="camel"):
    """A version, and what its executions are predicted to cost: theirs say what they did."""

    plan: PlanBody


@post("/v1/workflows/{workflow_id:str}/versions", opt=requires("workflows.write"))
async def publish_draft(
    workflow_id: FromPath[str],
    principal: NamedDependency[Principal],
    workflows: NamedDependency[Workflows],
    data: JSONBody[NoFields | None] = None,
) -> Response[Version]:
    """Publish the draft as the next version; refused with every fault when it has any."""
    version = await workflows.publish(principal.tenant_id, workflow_id)
    return Response(version, headers={"Location": f"/v1/workflows/{workflow_id}/versions/{version.version}"})


@get("/v1/workflows/{workflow_id:str}/versions", opt=requires("workflows.read"))
async def list_versions(
    workflow_id: FromPath[str],
    principal: NamedDependency[Principal],
    workflows: NamedDependency[Workflows],
    limit: Limit = 50,
    cursor: VersionCursor = None,
) -> Page[Version]:
    """List the versions, newest first."""
    page = await workflows.versions(principal.tenant_id, workflow_id, limit=limit, cursor=cursor)
    return Page(items=page.items, next_cursor=page.next_cursor)


@get("/v1/workflows/{workflow_id:str}/versions/{version:int}", opt=requires("workflows.read"))
async def show_version(
    workflow_id: FromPath[str],
    version: FromPath[int],
    principal: NamedDependency[Principal],
    workflows: NamedDependency[Workflows],
) -> PlannedVersion:
    """Show a version and its plan."""
    found = await workflows.version(principal.tenant_id, workflow_id, version)
    plan = (await workflows.recorded_plan(principal.tenant_id, workflow_id, version)).plan
    # In a thread, as when it is validated: a thousand nodes take long enough for others to notice.
    shown = await asyncio.to_thread(show_plan, plan)
    return PlannedVersion(**structs.asdict(found), plan=shown)


@get(
    "/v1/workflows/{workflow_id:str}/versions/{version:int}/export",
    opt=requires("workflows.read"),
    media_type="text/x-python",
)
async def export_version(
    workflow_id: FromPath[str],
    version: FromPath[int],
    principal: NamedDependency[Principal],
    workflows: NamedDependency[Workflows],
    format: ExportFormat = "python",
) -> str:
    """Write a version as code: one Python module with a plain Temporal workflow that does the same."""
    published = await workflows.plan(principal.tenant_id, workflow_id, version)
    return export_python(published.plan, workflow_id=workflow_id, version=version, name=published.definition.name)


@post(
    "/v1/workflows/{workflow_id:str}/versions/{version:int}/publish",
    opt=requires("workflows.write"),
    status_code=HTTP_200_OK,
)
async def publish_version(
    workflow_id: FromPath[str],
    version: FromPath[int],
    principal: NamedDependency[Principal],
    workflows: NamedDependency[Workflows],
    data: JSONBody[NoFields | None] = None,
) -> Version:
    """Make an earlier version the published one again."""
    return await workflows.publish_version(principal.tenant_id, workflow_id, version)


ROUTES = [publish_draft, list_versions, show_version, export_version, publish_version]
