"""The attempts that run in this process, kept under their leases."""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from internal_jobs.leases import Leases, Ticket
from internal_jobs.metrics import LEASES_LOST
from internal_jobs.store import place
from plugins.vault.cipher import Sealer

_log = structlog.get_logger(__name__)


class Attempt:
    """One attempt, as its plugin and its lease see it."""

    def __init__(self, ticket: Ticket, sealer: Sealer) -> None:
        self.ticket = ticket
        #: whether someone asked the job to stop
        self.cancelled = False
        self._sealer = sealer
        self._progress: Any = None
        self._is_new = False

    def report(self, progress: Any) -> None:
        """Keep the latest progress; it is stored when the lease is renewed."""
        self._progress, self._is_new = progress, True

    def sealed_progress(self) -> bytes | None:
        """Return the progress if it was not stored yet."""
        if not self._is_new:
            return None
        self._is_new = False
        return self._sealer.seal_json(self._progress, place("progress", self.ticket.job_id))


class Attempts:
    """Renews the leases of all attempts of this process together, and brings them the wish to stop."""

    def __init__(self, leases: Leases, *, interval: float) -> None:
        self._leases = leases
        self._interval = interval
        self._running: dict[Ticket, tuple[Attempt, asyncio.Task[Any]]] = {}

    def __len__(self) -> int:
        return len(self._running)

    def add(self, attempt: Attempt, task: "asyncio.Task[Any]") -> Callable[[], None]:
        """Keep an attempt, run by `task`, alive until the returned function is called."""
        self._running[attempt.ticket] = (attempt, task)
        return lambda: self._forget(attempt)

    def abandon(self) -> int:
        """Cancel what still runs; each attempt hands its job back. Return how many there were."""
        for _, task in self._running.values():
            task.cancel()
        return len(self._running)

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            if not self._running:
                continue
            try:
                await self._renew()
            except (SQLAlchemyError, OSError) as error:
                _log.warning("jobs.renewal_failed", error=str(error), running=len(self._running))

    async def _renew(self) -> None:
        tickets = list(self._running)
        held = await self._leases.renew(tickets)
        for ticket in tickets:
            if ticket not in self._running:
                continue
            attempt, _ = self._running[ticket]
            if ticket in held:
                attempt.cancelled = held[ticket]
            else:
                # The ledger guards its effect; what it brings will be refused.
                LEASES_LOST.inc()
                _log.warning("jobs.lease_lost", tenant_id=ticket.tenant_id, job_id=ticket.job_id)
                self._forget(attempt)
        reports = [(ticket, attempt.sealed_progress()) for ticket, (attempt, _) in self._running.items()]
        if new := [(ticket, sealed) for ticket, sealed in reports if sealed is not None]:
            await self._leases.report(new)

    def _forget(self, attempt: Attempt) -> None:
        self._running.pop(attempt.ticket, None)
