"""The attempts that run in this process: those that last are put under leases, and kept under them."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError

from internal_jobs.leases import Begun, Leases
from internal_jobs.metrics import LEASES_LOST
from internal_jobs.store import place
from internal_jobs.tickets import Ticket
from plugins.vault.cipher import Sealer

_log = structlog.get_logger(__name__)

#: Seconds that an attempt may take before it is put under a lease.
UNWRITTEN = 0.25
#: Seconds between two looks for such attempts.
_LOOK = 0.05
#: Seconds for which a plugin that is asked to stop may do so by itself.
STOP_PATIENCE = 5.0
#: Bytes of JSON that a progress may have.
MAX_PROGRESS = 16 * 1024


class Attempt:
    """One attempt, as its plugin and its lease see it."""

    def __init__(self, ticket: Ticket, sealer: Sealer, begun: Begun) -> None:
        self.ticket = ticket
        self.begun = begun
        #: whether someone asked the job to stop
        self.cancelled = False
        self._sealer = sealer
        self._progress: msgspec.Raw | None = None
        self._stops_at: float | None = None
        self._began = time.monotonic()

    @property
    def lasts(self) -> bool:
        """Whether it is time to put it under a lease."""
        return not self.begun.is_leased and time.monotonic() - self._began >= UNWRITTEN

    def report(self, progress: Any) -> None:
        """Keep the latest progress; it is stored when the lease is renewed. What cannot be kept is left out."""
        try:
            encoded = msgspec.json.encode(progress)
        except (TypeError, ValueError, RecursionError) as error:
            _log.warning("jobs.progress_refused", job_id=self.ticket.job_id, reason=str(error))
            return
        if len(encoded) > MAX_PROGRESS:
            _log.warning("jobs.progress_refused", job_id=self.ticket.job_id, reason=f"{len(encoded)} bytes")
            return
        self._progress = msgspec.Raw(encoded)

    def sealed_progress(self) -> bytes | None:
        """Return the progress if it was not stored yet."""
        if self._progress is None:
            return None
        progress, self._progress = self._progress, None
        return self._sealer.seal_json(progress, place("progress", self.ticket.job_id))

    def ask_to_stop(self) -> bool:
        """Ask the plugin to stop; return whether it has had long enough to do so."""
        self.cancelled = True
        if self._stops_at is None:
            self._stops_at = time.monotonic() + STOP_PATIENCE
        return time.monotonic() >= self._stops_at


class Attempts:
    """Sees to the leases of all attempts of this process, and brings them the wish to stop.

    Args:
        leases: where they are.
        interval: seconds between two renewals.
    """

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
        """Take and renew leases until cancelled."""
        renews_at = time.monotonic() + self._interval
        while True:
            await asyncio.sleep(_LOOK)
            try:
                await self._hold()
                if time.monotonic() >= renews_at:
                    renews_at = time.monotonic() + self._interval
                    await self._renew()
            except (SQLAlchemyError, OSError) as error:
                _log.warning("jobs.renewal_failed", error=str(error), running=len(self._running))

    async def _hold(self) -> None:
        """Put attempts that last under leases. Whose job is not theirs any more, for it was cancelled, is to stop."""
        lasting = [(attempt, task) for attempt, task in self._running.values() if attempt.lasts]
        holds = [self._leases.hold(attempt.ticket, attempt.begun.row.begun_at) for attempt, _ in lasting]
        for (attempt, task), is_held in zip(lasting, await asyncio.gather(*holds), strict=True):
            if is_held:
                attempt.begun.is_leased = True
            elif attempt.ticket in self._running and attempt.ask_to_stop():
                task.cancel()

    async def _renew(self) -> None:
        tickets = [ticket for ticket, (attempt, _) in self._running.items() if attempt.begun.is_leased]
        if not tickets:
            return
        held = await self._leases.renew(tickets)
        for ticket in tickets:
            if ticket not in self._running:
                continue
            attempt, task = self._running[ticket]
            if ticket in held:
                if held[ticket] and attempt.ask_to_stop():
                    task.cancel()
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
