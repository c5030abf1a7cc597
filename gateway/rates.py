"""``RateLimit`` and ``RateLimit-Policy``, as the IETF's draft on rate limit headers for HTTP has them."""

import math
from typing import Any

from litestar.openapi.spec import OpenAPIHeader, Schema
from litestar.openapi.spec.enums import OpenAPIType

from user_workflows.admission.caps import Rate

#: in the ``opt`` of a route that starts executions: its answers say how the tenant stands with its starts per minute
PACED: dict[str, Any] = {"paced": True}

_TEXT = Schema(type=OpenAPIType.STRING)

#: of the answers of such a route, in the OpenAPI document
RATE_HEADERS = {
    "RateLimit-Policy": OpenAPIHeader(schema=_TEXT, description="The starts per minute of the tenant, if capped."),
    "RateLimit": OpenAPIHeader(schema=_TEXT, description="Starts that are left, and seconds until there is one more."),
}


def rate_headers(rate: Rate | None) -> dict[str, str]:
    """Return the headers that say how a tenant stands with its starts per minute; none where they are not capped."""
    if rate is None:
        return {}
    return {
        "RateLimit-Policy": f'"starts";q={rate.limit};w=60',
        "RateLimit": f'"starts";r={rate.remaining};t={math.ceil(rate.reset)}',
    }
