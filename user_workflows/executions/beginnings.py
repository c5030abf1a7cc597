"""What an execution begins with: what was asked for, and the row that keeps it (design §9)."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from plugins.storage.database import now
from plugins.storage.ids import new_id
from plugins.vault.cipher import Sealer
from user_workflows.admission.reception import Entrant
from user_workflows.executions.callers import keep_trigger
from user_workflows.inbox.event import RawEvent
from user_workflows.inbox.store import Place, event_row
from user_workflows.interpreter.messages import Earlier, Seed, TriggerCall
from user_workflows.workflows.versions import PublishedPlan


def input_place(execution_id: str) -> str:
    return f"execution.input:{execution_id}"


def seed_place(execution_id: str) -> str:
    return f"execution.seed:{execution_id}"


class ActsFor(Struct, frozen=True, kw_only=True):
    """The job that an execution goes on with: its effects are the job's, under the same idempotency keys."""

    job_id: str
    #: of the job
    generation: int


#: writes in the transaction that makes an execution; is given its id, and by raising undoes it
Joining = Callable[[AsyncConnection, str], Awaitable[None]]


class StartRequest(Struct, frozen=True, kw_only=True):
    """One execution to be started."""

    workflow_id: str
    trigger: TriggerCall
    #: who asks for it, as the audit trail calls them, where the trail itself says nothing of it
    actor: str | None = None
    #: instead of the published one
    version: int | None = None
    #: the version, where whoever asks has just looked it up
    published: PublishedPlan | None = None
    tags: tuple[str, ...] = ()
    #: seconds
    delay: float | None = None
    #: unique per tenant: an equal one stands for the first execution
    key: str | None = None
    #: what came in and asks for it: kept with it; needs a `key`, by which it is known when it comes again
    event: RawEvent | None = None
    #: somebody waits for it
    is_urgent: bool = False
    #: of a rerun or replay: the execution that it repeats, and what is kept of it
    origin_id: str | None = None
    seed: Seed | None = None
    acts_for: ActsFor | None = None
    joining: Joining | None = None


def as_entrant(request: StartRequest, row: Mapping[str, Any]) -> Entrant:
    """Return an execution as the gate sees it."""
    return Entrant(
        id=row["id"],
        workflow_id=row["workflow_id"],
        due_at=row["due_at"],
        payload=request.trigger.payload,
        # Whoever draws a workflow must not make another's sender fail; the sender of a webhook sends again.
        is_refusable=request.trigger.type in ("manual", "webhook") or request.origin_id is not None,
    )


class Begin(Struct, frozen=True, kw_only=True):
    """What an execution begins with, sealed in its row, so that a start can be repeated."""

    seed: Seed | None = None
    #: of a retry
    earlier: Earlier | None = None
    acts_for: ActsFor | None = None


def first_row(sealer: Sealer, request: StartRequest, version: int) -> dict[str, Any]:
    execution_id, at = new_id("ex"), now()
    return {
        "tenant_id": sealer.tenant_id,
        "id": execution_id,
        "workflow_id": request.workflow_id,
        "version": version,
        "status": "queued",
        "seq": 0,
        "origin_id": request.origin_id,
        "generation": 1,
        "seed_sealed": seal_begin(sealer, execution_id, Begin(seed=request.seed, acts_for=request.acts_for)),
        "start_key": request.key,
        "awaited_by": request.trigger.awaited_by,
        "admission": None,
        "admitted_at": None,
        "trigger": keep_trigger(request.trigger),
        "actor": request.actor,
        "input_sealed": sealer.seal_json(request.trigger.payload, input_place(execution_id)),
        "created_at": at,
        "due_at": _due(at, request.delay),
        "checked_at": at,
    }


def first_event(sealer: Sealer, event: RawEvent, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row that keeps what came in, beside the `row` of the execution that it starts."""
    place = Place(
        workflow_id=row["workflow_id"],
        trigger_id=row["trigger"]["id"],
        delivery_key=row["start_key"],
        received_at=row["created_at"],
        execution_id=row["id"],
    )
    return event_row(sealer, event, place)


def seal_begin(sealer: Sealer, execution_id: str, begin: Begin) -> bytes | None:
    return None if begin == Begin() else sealer.seal_json(begin, seed_place(execution_id))


def open_begin(sealer: Sealer, row: "Row[Any]") -> Begin:
    """Return what the row of an execution keeps of its beginning."""
    if row.seed_sealed is None:
        return Begin()
    return msgspec.convert(sealer.open_json(row.seed_sealed, seed_place(row.id)), Begin)


def origin_of(execution_id: str, acts_for: ActsFor | None) -> str:
    """Return what the idempotency keys of an execution's effects are made of, besides the generation."""
    return execution_id if acts_for is None else acts_for.job_id


def generation_of(generation: int, acts_for: ActsFor | None) -> int:
    """Return that generation: what an execution redoes it redoes after the job."""
    return generation if acts_for is None else acts_for.generation + generation - 1


def _due(at: datetime, delay: float | None) -> datetime:
    return at if delay is None else at + timedelta(seconds=delay)
