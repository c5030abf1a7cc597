"""How many starts of one tenant are treated well, by one process: so many at once, and so many each second."""

import time
from collections.abc import Callable

from msgspec import Struct

from user_workflows.recent import Recent


class Allowance(Struct, frozen=True, kw_only=True):
    """Starts that one process lets pass at once, and each second from then on."""

    burst: float
    rate: float


#: of urgent starts, which somebody waits for: as many as people make. What is urgent goes before everything that is
#: not, of every tenant, so nobody's programs may flood that lane
URGENT = Allowance(burst=20, rate=5)

#: of others: beyond it they are a flood, of which each weighs less (`LESSER`)
MODEST = Allowance(burst=50, rate=5)

#: what a start of a flood weighs, as a part of its tenant's weight: sixteen executions of a tenant that starts few are
#: taken before one of a flood, for what those few wait for is mostly their turn to begin. Floods among themselves share
#: by their tenants' weights as ever, and none is starved. Of a tenant that has, or had, a tier of its own the weight
#: that the queue was given counts instead (`Shares`).
LESSER = 1 / 16


class Allowances:
    """Counts the starts of each tenant against its allowance."""

    def __init__(self, each: Allowance, clock: Callable[[], float] = time.monotonic) -> None:
        self._each = each
        self._clock = clock
        #: tenant → what is left, and when that was
        self._left: Recent[str, tuple[float, float]] = Recent(10_000)

    def take(self, tenant_id: str) -> bool:
        """Return whether one more start of a tenant is within its allowance now, and count it."""
        at = self._clock()
        left, since = self._left.get(tenant_id) or (self._each.burst, at)
        left = min(self._each.burst, left + (at - since) * self._each.rate)
        self._left.put(tenant_id, (left - 1 if left >= 1 else left, at))
        return left >= 1
