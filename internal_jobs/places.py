"""The places of one queue: a window for everybody, and a few express ones for tenants that hold hardly any."""

from collections import Counter
from collections.abc import Iterable

from internal_jobs.inflight import InFlight
from internal_jobs.jobs import Queue


class Places:
    """Who holds places of a queue, and how many are free.

    Args:
        queue: whose places.
        flight: what is in flight, of any queue.
        window: places for what is published and not begun.
        express: the same, in the express lane; also how many jobs in flight a tenant may have to take that.
    """

    def __init__(self, queue: Queue, flight: Iterable[InFlight], *, window: int, express: int) -> None:
        self._most = express
        #: tenant → jobs in flight
        self.held: Counter[str] = Counter()
        waiting = {False: 0, True: 0}
        for some in flight:
            if some.queue == queue:
                self.held[some.tenant_id] += some.count
                if not some.is_running:
                    waiting[some.express] += some.count
        self.free = window - waiting[False]
        self._free_express = express - waiting[True]
        self._is_contended = waiting[False] > 0

    def express_for(self, tenant_id: str) -> int:
        """Return how many express places a tenant may have: none where nobody has to wait anyway."""
        if not self._is_contended:
            return 0
        return max(0, min(self._free_express, self._most - self.held[tenant_id]))

    def take(self, tenant_id: str, count: int, *, express: bool) -> None:
        self.held[tenant_id] += count
        if express:
            self._free_express -= count
        else:
            self.free -= count
