"""``/v1/workflows``: drafts that may hold anything, and triggers that are on or off."""

import re
from datetime import datetime
from typing import Any

from litestar import Request, Response, delete, get, patch, post, put
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED, HTTP_204_NO_CONTENT
from msgspec import Struct

from gateway.auth.permissions import requires
from gateway.auth.principal import Principal
from gateway.body import NoFields
from gateway.errors import BadRequest, BodyFault
from gateway.routes.faults import FaultBody, show_faults
from gateway.routes.pages import Cursor, Limit, Page, position
from gateway.settings import Settings
from gateway.text import Name
from user_workflows.workflows.workflows import TriggerState, Workflow, Workflows

_ETAG = re.compile(r'(?:W/)?"(\d{1,9})"')


class NewWorkflow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    #: any object: what is wrong with it is in the answer's `faults`
    definition: dict[str, Any]


class WorkflowChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name


class TriggerBody(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    id: str
    type: str
    #: webhook: where to send to
    url: str | None = None
    #: cron, while active
    next_fire_at: datetime | None = None


class WorkflowBody(Struct, frozen=True, kw_only=True, rename="camel"):
    id: str
    name: str
    draft: Any
    #: of the draft; also its ETag
    revision: int
    published_version: int | None
    active: bool
    triggers: list[TriggerBody]
    faults: list[FaultBody]
    created_at: datetime
    updated_at: datetime


@post("/v1/workflows", opt=requires("workflows.write"))
async def make_workflow(
    data: JSONBody[NewWorkflow],
    principal: NamedDependency[Principal],
    workflows: NamedDependency[Workflows],
    settings: NamedDependency[Settings],
) -> Response[WorkflowBody]:
    """Store a workflow with its first draft, and say what is wrong with the draft."""
    workflow = await workflows.create(principal.tenant_id, name=data.name, definition=data.definition)
    response = _with_etag(workflow, settings, status_code=HTTP_201_CREATED)
    response.headers["Location"] = f"/v1/workflows/{workflow.id}"
    return response


@get("/v1/workflows", opt=requires("workflows.read"))
async def list_workflows(
    principal: NamedDependency[Principal],
    workflows: NamedDependency[Workflows],
    settings: NamedDependency[Settings],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[WorkflowBody]:
    """List workflows, newest first."""
    page = await workflows.list(principal.tenant_id, limit=limit, cursor=position(cursor))
    return Page(items=[_body(workflow, settings) for workflow in page.items], next_cursor=page.next_cursor)


@get("/v1/workflows/{workflow_id:str}", opt=requires("workflows.read"))
async def show_workflow(
    workflow_id: FromPath[str],
    principal: NamedDependency[Principal],
    workflows: NamedDependency[Workflows],
    settings: NamedDependency[Settings],
) -> Response[WorkflowBody]:
    """Show a workflow."""
    return _with_etag(await workflows.get(principal.tenant_id, workflow_id), settings)


@patch("/v1/workflows/{workflow_id:str}", opt=requires("workflows.write"))
async def rename_workflow(
    workflow_id: FromPath[str],
    data: JSONBody[WorkflowChange],
    principal: NamedDependency[Principal],
    workflows: NamedDependency[Workflows],
    settings: NamedDependency[Settings],
) -> Response[WorkflowBody]:
    """Give a workflow another name."""
    return _with_etag(await workflows.rename(principal.tenant_id, workflow_id, data.name), settings)


@delete("/v1/workflows/{workflow_id:str}", opt=requires("workflows.write"), status_code=HTTP_204_NO_CONTENT)
async def delete_workflow(
    workflow_id: FromPath[str], principal: NamedDependency[Principal], workflows: NamedDependency[Workflows]
) -> None:
    """Delete a workflow and its triggers; the records of its executions stay."""
    await workflows.delete(principal.tenant_id, workflow_id)


@get("/v1/workflows/{workflow_id:str}/draft", opt=requires("workflows.read"))
async def show_draft(
    workflow_id: FromPath[str], principal: NamedDependency[Principal], workflows: NamedDependency[Workflows]
) -> Response[Any]:
    """Show the draft: the definition as it was put, with its ETag."""
    workflow = await workflows.get(principal.tenant_id, workflow_id)
    return Response(workflow.draft, headers={"ETag": f'"{workflow.revision}"'})


@put("/v1/workflows/{workflow_id:str}/draft", opt=requires("workflows.write"))
async def put_draft(
    *,
    request: Request[Principal, Principal, State],
    workflow_id: FromPath[str],
    data: JSONBody[dict[str, Any]],
    principal: NamedDependency[Principal],
    workflows: NamedDependency[Workflows],
    settings: NamedDependency[Settings],
) -> Response[WorkflowBody]:
    """Replace the draft; with ``If-Match`` only when it is the one that was read."""
    revision = _read_if_match(request.headers.get("if-match"))
    return _with_etag(await workflows.put_draft(principal.tenant_id, workflow_id, data, revision), settings)


@post("/v1/workflows/{workflow_id:str}/activate", opt=requires("workflows.write"), status_code=HTTP_200_OK)
async def activate_workflow(
    workflow_id: FromPath[str],
    principal: NamedDependency[Principal],
    workflows: NamedDependency[Workflows],
    settings: NamedDependency[Settings],
    data: JSONBody[NoFields | None] = None,
) -> Response[WorkflowBody]:
    """Turn the triggers of the published version on."""
    return _with_etag(await workflows.activate(principal.tenant_id, workflow_id), settings)


@post("/v1/workflows/{workflow_id:str}/deactivate", opt=requires("workflows.write"), status_code=HTTP_200_OK)
async def deactivate_workflow(
    workflow_id: FromPath[str],
    principal: NamedDependency[Principal],
    workflows: NamedDependency[Workflows],
    settings: NamedDependency[Settings],
    data: JSONBody[NoFields | None] = None,
) -> Response[WorkflowBody]:
    """Turn the triggers off."""
    return _with_etag(await workflows.deactivate(principal.tenant_id, workflow_id), settings)


def _read_if_match(header: str | None) -> int | None:
    if header is None or header.strip() == "*":
        return None
    match = _ETAG.fullmatch(header.strip())
    if match is None:
        detail = 'must be the ETag of the draft, e.g. "3"'
        raise BadRequest(f"If-Match {detail}.", errors=[BodyFault("If-Match", detail)])
    return int(match.group(1))


def _with_etag(workflow: Workflow, settings: Settings, status_code: int = HTTP_200_OK) -> Response[WorkflowBody]:
    return Response(_body(workflow, settings), status_code=status_code, headers={"ETag": f'"{workflow.revision}"'})


def _body(workflow: Workflow, settings: Settings) -> WorkflowBody:
    return WorkflowBody(
        id=workflow.id,
        name=workflow.name,
        draft=workflow.draft,
        revision=workflow.revision,
        published_version=workflow.published_version,
        active=workflow.active,
        triggers=[_trigger(trigger, settings) for trigger in workflow.triggers],
        faults=show_faults(workflow.faults),
        created_at=workflow.created_at,
        updated_at=workflow.updated_at,
    )


def _trigger(trigger: TriggerState, settings: Settings) -> TriggerBody:
    url = None if trigger.token is None else f"{settings.public_url}/hooks/{trigger.token}"
    return TriggerBody(id=trigger.id, type=trigger.type, url=url, next_fire_at=trigger.next_fire_at)


ROUTES = [
    make_workflow,
    list_workflows,
    show_workflow,
    rename_workflow,
    delete_workflow,
    show_draft,
    put_draft,
    activate_workflow,
    deactivate_workflow,
]
