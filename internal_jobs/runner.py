"""Runs one job for one message: begin, invoke the plugin, end. What happens to the message does not matter after."""

import asyncio
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import msgspec
import structlog
from sqlalchemy import Row
from sqlalchemy.exc import SQLAlchemyError

from internal_jobs.attempts import Attempt, Attempts
from internal_jobs.engines import Engines, first_attempts, with_more_to_come
from internal_jobs.jobs import MAX_RESULT
from internal_jobs.leases import Begun, End, Leases, Refusal
from internal_jobs.metrics import LEASES_LOST, duration, finished, start_delay, started
from internal_jobs.store import place, read_retry
from internal_jobs.tickets import Ticket
from plugins.host.invoke import Call, CallFailed, Failure, Host
from plugins.host.registry import Registry
from plugins.storage.database import now
from plugins.trace import logged_trace
from plugins.vault.cipher import Sealer
from plugins.vault.errors import VaultError
from plugins.vault.keys import Vault

_log = structlog.get_logger(__name__)

#: A worker of the next release may know the type: ask again this often, in seconds, for this long.
UNKNOWN_TYPE_PAUSE = 10.0
UNKNOWN_TYPE_PATIENCE = timedelta(days=1)
#: Seconds until a job is tried again that was not tried at all.
PAUSE = 0.5
#: Failures before the plugin was called, which cost no attempt: one that a crash cut short still has its lease on the
#: effect, or the database is away.
NOTHING_TRIED = frozenset({"effect.inProgress", "storage.unavailable"})
#: Seconds for which the end of an attempt is written again and again while the database is away.
RECORD_PATIENCE = 30.0
RECORD_PAUSE = 0.5


class Runner:
    """Runs jobs. Every method belongs to the event loop that the database was opened on.

    Args:
        leases: where attempts begin and end.
        attempts: keeps them alive meanwhile.
        host: runs the plugins.
        registry: the job types that this worker knows.
        vault: opens payloads, seals results.
        on_begun: called after each start: there is room in the window.
        on_due: called when a job went back: it is due at once, or at a moment to be waited for.
        on_ended: called after each attempt: a limit may have room again.
        on_promoting: called when a job is to go on as an execution.
        engines: what is set for types of jobs.
    """

    def __init__(
        self,
        *,
        leases: Leases,
        attempts: Attempts,
        host: Host,
        registry: Registry,
        vault: Vault,
        on_begun: Callable[[], None],
        on_due: Callable[[], None],
        on_ended: Callable[[], None],
        on_promoting: Callable[[], None],
        engines: Engines,
    ) -> None:
        self._leases = leases
        self._attempts = attempts
        self._host = host
        self._registry = registry
        self._vault = vault
        self._on_begun = on_begun
        self._on_due = on_due
        self._on_ended = on_ended
        self._on_promoting = on_promoting
        self._engines = engines

    async def run(
        self, ticket: Ticket, on_over: Callable[[], None] = lambda: None, *, alone: bool = False
    ) -> Refusal | None:
        """Run the job a message speaks of; return why it was not begun. Cancelled, it hands the job back.

        Args:
            ticket: what the message says.
            on_over: called when the attempt is over and remains to be written down.
            alone: nothing else runs in this process, so that a suspect may.

        Raises:
            SQLAlchemyError: the database is away; the sweeper will find the job waiting.
        """
        tokens = structlog.contextvars.bind_contextvars(tenant_id=ticket.tenant_id, job_id=ticket.job_id)
        try:
            begun = await self._leases.begin(ticket, alone=alone)
            if isinstance(begun, Refusal):
                return begun
            await self._run(ticket, begun, on_over)
        finally:
            structlog.contextvars.reset_contextvars(**tokens)
        return None

    async def _run(self, ticket: Ticket, begun: Begun, on_over: Callable[[], None]) -> None:
        row = begun.row
        self._on_begun()
        type = row.type if row.type in self._registry else "unknown"
        started(type).inc()
        start_delay(row.queue).observe(max((now() - row.available_at).total_seconds(), 0.0))
        began = time.perf_counter()
        trace = logged_trace(row.traceparent)
        with structlog.contextvars.bound_contextvars(**trace) if trace else nullcontext():
            if self._engines.of(row) == "temporal":
                # Delay, ttl, turns and limits were the relay's; the attempts are the other engine's.
                end = End(ticket=ticket, status="promoting", counts=False)
            else:
                end = await self._attempt(ticket, begun)
            on_over()
            seconds = time.perf_counter() - began
            finished(type, end.status).inc()
            duration(type).observe(seconds)
            # The host logs each call, with its job: what goes as it should needs no second line.
            tell = _log.debug if end.status == "completed" else _log.info
            tell(
                "jobs.attempt",
                type=row.type,
                queue=row.queue,
                attempt=row.attempts,
                outcome=end.status,
                error=end.error_type,
                seconds=round(seconds, 4),
            )
            if not begun.is_leased:
                end = msgspec.structs.replace(end, begun_at=row.begun_at)
            if not await self._record(end):
                LEASES_LOST.inc()
                _log.warning("jobs.outcome_refused", outcome=end.status, reason="the job was taken back meanwhile")
        if end.status in ("queued", "failed"):
            self._on_due()
        else:
            if end.status == "promoting":
                self._on_promoting()
            self._on_ended()

    async def _attempt(self, ticket: Ticket, begun: Begun) -> End:
        """Make the attempt and say how it ended. Raises nothing."""
        row = begun.row
        try:
            sealer = await self._vault.sealer(row.tenant_id)
            payload = sealer.open_json(row.payload_sealed, place("payload", row.id))
        except VaultError:
            return End(ticket=ticket, status="dead", error_type="vault.unreadable")
        except (SQLAlchemyError, OSError):
            return End(ticket=ticket, status="queued", counts=False)
        if row.type not in self._registry:
            return _unknown_type(ticket, row, sealer)
        retry, goes_on = read_retry(row), self._engines.promotes(row)
        attempt, task = Attempt(ticket, sealer, begun), asyncio.current_task()
        if task is None:
            raise RuntimeError("a job runs in a task")
        forget = self._attempts.add(attempt, task)
        call = Call(
            plugin=row.type,
            config=payload,
            tenant_id=row.tenant_id,
            origin=row.id,
            step=row.type,
            generation=row.generation,
            attempt=row.attempts,
            job_id=row.id,
            credentials=row.credentials,
            timeout=row.timeout,
            retry=with_more_to_come(retry) if goes_on else retry,
        )
        try:
            outcome = await self._host.invoke(call, heartbeat=attempt.report, is_cancelled=lambda: attempt.cancelled)
        except CallFailed as failed:
            end = _failed(ticket, row, sealer, failed.failure, attempt.sealed_progress())
            if goes_on and end.status == "failed" and end.counts and row.attempts >= first_attempts(retry):
                end = msgspec.structs.replace(end, status="promoting", delay=0.0)
            # A thread cannot be stopped. What it still does, it does in a process that is not everybody's.
            hung = failed.failure.type == "timeout" and not self._registry.get(row.type).is_async
            return msgspec.structs.replace(end, hung=hung)
        except asyncio.CancelledError:
            # Handed back, or stopped: whoever was asked to stop is closed as canceled.
            return End(ticket=ticket, status="queued", counts=False)
        finally:
            forget()
        return _completed(ticket, row, sealer, outcome.output, attempt.sealed_progress())

    async def _record(self, end: End) -> bool:
        """Write how an attempt ended, also through a short absence of the database."""
        deadline = time.monotonic() + RECORD_PATIENCE
        while True:
            try:
                return await self._leases.end(end)
            except (SQLAlchemyError, OSError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(RECORD_PAUSE)


def failure_end(ticket: Ticket, sealer: Sealer, failure: Failure) -> End:
    """Say that an attempt failed: for good, or until its next one."""
    details = {"message": failure.message, "attempt": failure.attempt, "status": failure.status}
    return End(
        ticket=ticket,
        status="dead" if failure.retry_in is None else "failed",
        delay=failure.retry_in or 0.0,
        error_type=failure.type,
        error_sealed=sealer.seal_json(details, place("error", ticket.job_id)),
    )


def _completed(ticket: Ticket, row: Row[Any], sealer: Sealer, output: Any, progress: bytes | None) -> End:
    size = len(msgspec.json.encode(output))
    if size > MAX_RESULT:
        message = f"the result is {size} bytes of JSON; at most {MAX_RESULT} are kept. What the job did was done"
        return failure_end(
            ticket, sealer, Failure(type="job.resultTooLarge", message=message, attempt=row.attempts, retry_in=None)
        )
    return End(
        ticket=ticket,
        status="completed",
        result_sealed=sealer.seal_json(output, place("result", row.id)),
        progress_sealed=progress,
    )


def _failed(ticket: Ticket, row: Row[Any], sealer: Sealer, failure: Failure, progress: bytes | None) -> End:
    if failure.type in NOTHING_TRIED:
        waits = msgspec.structs.replace(failure, retry_in=failure.retry_in or PAUSE)
        return msgspec.structs.replace(failure_end(ticket, sealer, waits), counts=False)
    return msgspec.structs.replace(failure_end(ticket, sealer, failure), progress_sealed=progress)


def _unknown_type(ticket: Ticket, row: Row[Any], sealer: Sealer) -> End:
    waited = now() - row.started_at
    failure = Failure(
        type="job.unknownType",
        message=f"no worker here knows the job type {row.type!r}; install its plugin, or correct the type",
        attempt=row.attempts,
        retry_in=None if waited > UNKNOWN_TYPE_PATIENCE else UNKNOWN_TYPE_PAUSE,
    )
    return msgspec.structs.replace(failure_end(ticket, sealer, failure), counts=False)
