"""``/v1/deliveries``: events on their way to a tenant's endpoints, and how each attempt went."""

from typing import Annotated

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_202_ACCEPTED

from gateway.auth.permissions import requires
from gateway.auth.principal import Principal
from gateway.body import NoFields
from gateway.routes.endpoints import Sendings
from gateway.routes.pages import Cursor, Limit, Page, position
from gateway.text import PRINTABLE, Filter
from internal_jobs.webhooks.desk import Delivery, DeliveryDetail, DeliveryStatus, EventRequest, Webhooks

OfEndpoint = Annotated[str | None, QueryParameter(name="endpointId", pattern=PRINTABLE)]


@post("/v1/deliveries", opt=requires("webhooks.publish"), status_code=HTTP_202_ACCEPTED)
async def publish_event(
    data: JSONBody[EventRequest], principal: NamedDependency[Principal], webhooks: NamedDependency[Webhooks]
) -> Sendings:
    """Tell every endpoint that subscribed to its type of an event of your own; the answer lists the deliveries."""
    return Sendings([*await webhooks.publisher.publish(principal.tenant_id, data)])


@get("/v1/deliveries", opt=requires("webhooks.read"))
async def list_deliveries(
    *,
    principal: NamedDependency[Principal],
    webhooks: NamedDependency[Webhooks],
    endpoint_id: OfEndpoint = None,
    status: FromQuery[DeliveryStatus | None] = None,
    type: Filter = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Delivery]:
    """List deliveries, newest first."""
    page = await webhooks.deliveries.list(
        principal.tenant_id, endpoint_id=endpoint_id, status=status, type=type, limit=limit, cursor=position(cursor)
    )
    return Page(items=page.items, next_cursor=page.next_cursor)


@get("/v1/deliveries/{delivery_id:str}", opt=requires("webhooks.read"))
async def show_delivery(
    delivery_id: FromPath[str], principal: NamedDependency[Principal], webhooks: NamedDependency[Webhooks]
) -> DeliveryDetail:
    """Show a delivery: what is sent, and every attempt with its answer and latency."""
    return await webhooks.deliveries.get(principal.tenant_id, delivery_id)


@post("/v1/deliveries/{delivery_id:str}/redeliver", opt=requires("webhooks.write"), status_code=HTTP_202_ACCEPTED)
async def redeliver(
    delivery_id: FromPath[str],
    principal: NamedDependency[Principal],
    webhooks: NamedDependency[Webhooks],
    data: JSONBody[NoFields | None] = None,
) -> Delivery:
    """Deliver again what is closed, under the same ``webhook-id``."""
    return await webhooks.deliveries.redeliver(principal.tenant_id, delivery_id)


ROUTES = [publish_event, list_deliveries, show_delivery, redeliver]
