"""``/v1/temporal/codec``: shows owners in Temporal's UI what is sealed on Temporal of their tenant.

Off unless a setting names where that UI is; no other page of a browser may read the answers.
"""

from typing import Annotated, Any

from litestar import Request, Response, post, route
from litestar.di import NamedDependency
from litestar.params import JSONBody
from litestar.status_codes import HTTP_200_OK, HTTP_204_NO_CONTENT
from msgspec import Meta, Struct

from gateway.auth.permissions import PUBLIC, requires
from gateway.auth.principal import Principal
from gateway.errors import Absent
from gateway.problems import Problem, answer
from gateway.settings import Settings
from user_workflows.payloads import Payloads, ShownPayload

_PATH = "/v1/temporal/codec/decode"
#: of a page, in the UI
_MOST = 1_000


class ShownPayloads(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As the SDKs' codec servers take and give them."""

    payloads: Annotated[tuple[ShownPayload, ...], Meta(max_length=_MOST)] = ()


@route(_PATH, http_method=["OPTIONS"], opt=requires(PUBLIC), include_in_schema=False, status_code=HTTP_204_NO_CONTENT)
async def allow_temporal_ui(settings: NamedDependency[Settings]) -> Response[None]:
    """Let the UI ask, and no other origin."""
    origin = _origin(settings)
    allowed = {
        "Access-Control-Allow-Methods": "POST",
        "Access-Control-Allow-Headers": "Authorization, Content-Type, X-Namespace",
        "Access-Control-Max-Age": "600",
    }
    return Response(None, headers=origin | allowed)


def tell_temporal_ui(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Answer with the problem, and let the UI read it: without the header a browser shows its page nothing."""
    problem = answer(request, error)
    settings: Settings = request.app.state.platform.settings
    if settings.temporal_ui_origin is not None:
        problem.headers.update(_origin(settings))
    return problem


@post(
    _PATH,
    opt=requires("payloads.read"),
    status_code=HTTP_200_OK,
    exception_handlers={Exception: tell_temporal_ui},
)
async def decode_payloads(
    data: JSONBody[ShownPayloads],
    principal: NamedDependency[Principal],
    payloads: NamedDependency[Payloads],
    settings: NamedDependency[Settings],
) -> Response[ShownPayloads]:
    """Open payloads of the own tenant's executions, for Temporal's UI; 404 where it is switched off."""
    origin = _origin(settings)
    opened = await payloads.open(principal.tenant_id, data.payloads)
    return Response(ShownPayloads(payloads=opened), headers=origin | {"Cache-Control": "no-store"})


def _origin(settings: Settings) -> dict[str, str]:
    if settings.temporal_ui_origin is None:
        raise Absent("There is nothing under this path.")
    return {"Access-Control-Allow-Origin": settings.temporal_ui_origin, "Vary": "Origin"}


ROUTES = [allow_temporal_ui, decode_payloads]
