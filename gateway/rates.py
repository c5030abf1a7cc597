"""``RateLimit`` and ``RateLimit-Policy``, as the IETF's draft on rate limit headers for HTTP has them."""

import math

from user_workflows.admission.caps import Rate


def rate_headers(rate: Rate | None) -> dict[str, str]:
    """Return the headers that say how a tenant stands with its starts per minute; none where they are not capped."""
    if rate is None:
        return {}
    return {
        "RateLimit-Policy": f'"starts";q={rate.limit};w=60',
        "RateLimit": f'"starts";r={rate.remaining};t={math.ceil(rate.reset)}',
    }
