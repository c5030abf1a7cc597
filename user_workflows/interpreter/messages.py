"""What crosses the border of the interpreter: its input, its state between two runs, and the records it emits.

These travel in histories and outlive releases: fields are only added, each with a default.
"""

from datetime import datetime
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType, field

from user_workflows.plan.model import Plan

ExecutionStatus = Literal["queued", "running", "paused", "completed", "failed", "canceled", "terminated", "timedOut"]
StepStatus = Literal["pending", "running", "waiting", "completed", "failed", "skipped", "canceled"]

#: the workflow types in which an execution runs, and in which it waits for long
EXECUTION = "execution"
PARKED = "execution.parked"

#: the signal by which a parked execution that waits for a slot is told that it has one
ADMITTED = "admitted"

#: Temporal warns at 10,240 events of one run, and what is under way when a run drains still adds some.
HISTORY_LIMIT = 4_000

#: seconds that everything which remains has to wait at least, for the execution to be parked
PARK_AFTER = 3_600.0

#: A change of a step is numbered in steps of this size; an activity numbers its attempts in between.
SEQ_STRIDE = 1_000


class TriggerCall(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What started an execution."""

    type: Literal["manual", "cron", "webhook", "event", "call", "error", "job"]
    #: the trigger's id in the definition; of a ``job``, the job that goes on as this execution
    id: str | None = None
    #: what expressions see as `trigger`, and `input` at roots
    payload: Any = None
    #: W3C trace context that it is part of
    traceparent: str | None = None
    #: of a ``call``, the execution that called; of an ``error``, the one that failed
    execution_id: str | None = None
    #: workflow ids of the executions that it is inside of, the outermost first
    callers: tuple[str, ...] = ()
    #: whether that execution waits to be told of the end
    is_awaited: bool = False

    @property
    def awaited_by(self) -> str | None:
        """The execution that waits to be told of the end."""
        return self.execution_id if self.is_awaited else None


class StepError(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a step failed, for people and for expressions (``nodes.<id>.error``)."""

    type: str
    message: str
    #: what a remote server answered, where there was one
    status: int | None = None
    attempts: int = 1


class Compensation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How it went to undo a completed step of a failed execution."""

    status: Literal["running", "completed", "failed"]
    error: StepError | None = None


class StepOutcome(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one step ended that is not made again, or not here: by ports, port → value, or with an error."""

    node_id: str
    started_at: datetime
    closed_at: datetime
    ports: dict[str, Any] | None = None
    error: StepError | None = None
    attempt: int = 1
    #: where it was reused from, if another execution made it
    reason: str | None = None


class Seed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an execution begins with instead of nothing: what is kept of the one before it."""

    #: none before one that it depends on
    outcomes: tuple[StepOutcome, ...] = ()
    #: nodes that were skipped by request
    skipped: tuple[str, ...] = ()
    #: what nodes see as `input` instead of what arrives
    inputs: dict[str, Any] = field(default_factory=dict)
    #: of the reused steps
    reason: str | None = None


class Earlier(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the execution had come to when it was retried, or went on in another run."""

    started_at: datetime
    #: of its last record
    seq: int
    history_events: int = 0
    billable_actions: int = 0


class StartExecution(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The input of the interpreter."""

    tenant_id: str
    execution_id: str
    workflow_id: str
    version: int
    trigger: TriggerCall
    plan: Plan
    #: what the idempotency keys of its effects are made of, with `generation`: its own id, or that of the job that it
    #: goes on with
    origin_id: str
    #: one more with each retry, so that what is made again acts again; counted from the job's, where there is one
    generation: int = 1
    seed: Seed | None = None
    #: of a retry, or of a further run
    earlier: Earlier | None = None
    #: of a further run: the state that the one before it came to
    carried: "Carried | None" = None
    #: signals that came before it began, in order
    received: "tuple[Received, ...]" = ()
    #: events after which a run drains and hands over to the next
    history_limit: int = HISTORY_LIMIT
    #: what waits longer than so many seconds may be parked
    park_after: float = PARK_AFTER


class Parking(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The input of the workflow in which an execution waits for long."""

    #: of the run that goes on
    start: StartExecution
    #: when that is, though nobody tells the execution anything; RFC 3339
    until: str | None = None
    #: the state of the graph, for Temporal's UI
    details: str = ""
    #: whether it gives its slot back while it waits, and takes one again
    gives_slot: bool = False


class ExecutionError(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    type: str
    message: str
    node_id: str | None = None
    #: what else went wrong on the way to the end, such as an error workflow that could not be started
    note: str | None = None


class CallEnd(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a caller is told of the end of an execution that it waits for."""

    status: ExecutionStatus
    output: Any = None
    error: ExecutionError | None = None


def told_about(execution_id: str) -> str:
    """Return what the end of a called execution is told about."""
    return f"call:{execution_id}"


class CarriedNode(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A node that has begun or settled; its record is written, so only what others still ask for is here."""

    id: str
    status: StepStatus
    #: what it left by; a value that nobody asks for any more is null
    ports: dict[str, Any] = field(default_factory=dict)
    #: from here on of nodes that have not settled, or may yet be undone
    seq: int = 0
    attempt: int = 0
    input: Any = None
    reason: str | None = None
    started_at: datetime | None = None
    closed_at: datetime | None = None
    kept: dict[str, Any] = field(default_factory=dict)
    #: of a loop
    progress: "LoopProgress | None" = None
    #: how it went to undo it
    compensation: Compensation | None = None


class CarriedGraph(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The state of one graph; nodes that are not named have not begun."""

    nodes: tuple[CarriedNode, ...] = ()


class LoopProgress(Struct, kw_only=True, omit_defaults=True):
    """How far a loop has come."""

    #: of a `foreach`: of every item that has begun, null until it has ended
    results: list[Any] = field(default_factory=list)
    #: number of an item → its error
    failures: dict[int, ExecutionError] = field(default_factory=dict)
    #: of a `while`: rounds that have ended, and what the last of them came to
    rounds: int = 0
    last: Any = None
    #: rounds that an earlier run began, to be gone on with: number → graph
    under_way: dict[int, CarriedGraph] = field(default_factory=dict)
    #: of a `foreach` in batches: the execution was paused, and the next batch begins when it is resumed
    is_held: bool = False


class Received(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A signal of Temporal's that came while the execution was parked."""

    name: str
    args: tuple[Any, ...] = ()


class Closing(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an execution ends that was still undoing when its run became long."""

    status: ExecutionStatus
    error: ExecutionError
    #: the nodes that could not be undone
    left: tuple[str, ...] = ()


class Carried(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The state of an execution between two runs of it, beside its input and its figures."""

    graph: CarriedGraph
    #: what nodes see as `input` instead of what arrives
    edited: dict[str, Any] = field(default_factory=dict)
    #: signals that nobody has awaited yet, and what other parts told
    signals: dict[str, list[Any]] = field(default_factory=dict)
    told: dict[str, list[Any]] = field(default_factory=dict)
    is_paused: bool = False
    #: whether what has completed is undone, should the execution be canceled
    is_undone_when_canceled: bool = False
    #: what came while it was parked, in order, and whether it was canceled then
    received: tuple[Received, ...] = ()
    is_cancel_requested: bool = False
    #: of the whole execution, RFC 3339
    deadline: str | None = None
    #: it has ended, but for what is still to be undone
    closing: Closing | None = None


class StepRecord(Struct, frozen=True, kw_only=True):
    """One step as lists and the console show it."""

    node_id: str
    path: tuple[int, ...] = ()
    #: rises with every change of this step; writers keep the highest
    seq: int
    status: StepStatus
    attempt: int = 0
    #: `UNSET` where an activity tells of an attempt: what is stored stays
    input: Any = UNSET
    output: Any = None
    port: str | None = None
    #: where there are several: port → value
    ports: dict[str, Any] | UnsetType = UNSET
    error: StepError | None = None
    reason: str | None = None
    started_at: datetime | None = None
    closed_at: datetime | None = None
    #: where it was undone, or is being
    compensation: Compensation | UnsetType = UNSET


class ExecutionRecord(Struct, frozen=True, kw_only=True):
    """What changed in one execution. Safe to lose and to repeat: a later one tells everything again."""

    tenant_id: str
    execution_id: str
    #: rises with every change; -1 where only steps are told of
    seq: int
    status: ExecutionStatus
    started_at: datetime
    steps: tuple[StepRecord, ...]
    closed_at: datetime | None = None
    output: Any = None
    error: ExecutionError | None = None
    history_events: int | None = None
    billable_actions: int | None = None
    #: of the last record: the execution that is told of the end, where one waits
    awaited_by: str | UnsetType = UNSET


def workflow_id(tenant_id: str, execution_id: str) -> str:
    """Return Temporal's workflow id of an execution; the tenant comes first, the codec reads it from there."""
    return f"{tenant_id}/{execution_id}"
