"""``/v1/endpoints``: where a tenant is told of events by webhook."""

from typing import Annotated

from litestar import Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_200_OK, HTTP_202_ACCEPTED, HTTP_204_NO_CONTENT
from msgspec import Meta, Struct

from gateway.auth.permissions import requires
from gateway.auth.principal import Principal
from gateway.body import NoFields
from gateway.routes.pages import Cursor, Limit, Page, position
from internal_jobs.webhooks.desk import (
    Endpoint,
    EndpointChange,
    EndpointRequest,
    EndpointSecret,
    EventRequest,
    Sending,
    Webhooks,
)
from plugins.host.retry import Duration


class Rotation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    #: for so long the secret before signs, too
    overlap: Annotated[Duration, Meta(description="at most 7d")] = "24h"


class Sendings(Struct, frozen=True):
    items: list[Sending]


@post("/v1/endpoints", opt=requires("webhooks.write"))
async def make_endpoint(
    data: JSONBody[EndpointRequest], principal: NamedDependency[Principal], webhooks: NamedDependency[Webhooks]
) -> Response[EndpointSecret]:
    """Keep an endpoint. Its signing secret is in this answer, and in no other."""
    made = await webhooks.endpoints.create(principal.tenant_id, data)
    return Response(made, headers={"Location": f"/v1/endpoints/{made.id}"})


@get("/v1/endpoints", opt=requires("webhooks.read"))
async def list_endpoints(
    principal: NamedDependency[Principal],
    webhooks: NamedDependency[Webhooks],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Endpoint]:
    """List the endpoints, newest first, each with its health."""
    page = await webhooks.endpoints.list(principal.tenant_id, limit=limit, cursor=position(cursor))
    return Page(items=page.items, next_cursor=page.next_cursor)


@get("/v1/endpoints/{endpoint_id:str}", opt=requires("webhooks.read"))
async def show_endpoint(
    endpoint_id: FromPath[str], principal: NamedDependency[Principal], webhooks: NamedDependency[Webhooks]
) -> Endpoint:
    """Show an endpoint: whether it is enabled, and since when it fails."""
    return await webhooks.endpoints.get(principal.tenant_id, endpoint_id)


@patch("/v1/endpoints/{endpoint_id:str}", opt=requires("webhooks.write"))
async def change_endpoint(
    endpoint_id: FromPath[str],
    data: JSONBody[EndpointChange],
    principal: NamedDependency[Principal],
    webhooks: NamedDependency[Webhooks],
) -> Endpoint:
    """Change an endpoint; with ``enabled`` it is switched off, or on again."""
    return await webhooks.endpoints.change(principal.tenant_id, endpoint_id, data)


@delete("/v1/endpoints/{endpoint_id:str}", opt=requires("webhooks.write"), status_code=HTTP_204_NO_CONTENT)
async def delete_endpoint(
    endpoint_id: FromPath[str], principal: NamedDependency[Principal], webhooks: NamedDependency[Webhooks]
) -> None:
    """Forget an endpoint, and its deliveries."""
    await webhooks.endpoints.delete(principal.tenant_id, endpoint_id)


@post("/v1/endpoints/{endpoint_id:str}/rotate", opt=requires("webhooks.write"), status_code=HTTP_200_OK)
async def rotate_endpoint(
    endpoint_id: FromPath[str],
    principal: NamedDependency[Principal],
    webhooks: NamedDependency[Webhooks],
    data: JSONBody[Rotation | None] = None,
) -> EndpointSecret:
    """Make a new signing secret; for a while deliveries carry a signature by the one before it, too."""
    rotation = data or Rotation()
    return await webhooks.endpoints.rotate(principal.tenant_id, endpoint_id, overlap=rotation.overlap)


@post("/v1/endpoints/{endpoint_id:str}/test", opt=requires("webhooks.write"), status_code=HTTP_202_ACCEPTED)
async def send_test_event(
    endpoint_id: FromPath[str],
    principal: NamedDependency[Principal],
    webhooks: NamedDependency[Webhooks],
    data: JSONBody[NoFields | None] = None,
) -> Sendings:
    """Send an ``endpoint.test`` event, whatever the endpoint subscribed to."""
    event = EventRequest(type="endpoint.test", data={"message": "It works."}, subject=endpoint_id)
    return Sendings([*await webhooks.publisher.publish(principal.tenant_id, event, endpoint_id=endpoint_id)])


ROUTES = [
    make_endpoint,
    list_endpoints,
    show_endpoint,
    change_endpoint,
    delete_endpoint,
    rotate_endpoint,
    send_test_event,
]
