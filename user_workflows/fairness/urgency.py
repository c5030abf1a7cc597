"""Which starts are urgent: those that somebody waits for, as many as people make."""

import time
from collections.abc import Callable

from user_workflows.recent import Recent

#: urgent starts of one tenant that one process lets pass at once, and each second from then on: what is urgent goes
#: before everything that is not, of every tenant, so nobody's programs may flood that lane
BURST = 20.0
RATE = 5.0


class Urgency:
    """Counts the urgent starts of each tenant; those beyond the allowance are ordinary, and fairness orders them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: tenant → what is left, and when that was
        self._left: Recent[str, tuple[float, float]] = Recent(10_000)

    def take(self, tenant_id: str) -> bool:
        """Return whether one more start of a tenant may be urgent now, and count it."""
        at = self._clock()
        left, since = self._left.get(tenant_id) or (BURST, at)
        left = min(BURST, left + (at - since) * RATE)
        self._left.put(tenant_id, (left - 1 if left >= 1 else left, at))
        return left >= 1
