"""What the interpreter asks of activities, and what they answer.

These travel in histories and outlive releases: fields are only added, each with a default.
"""

from typing import Any, Literal

from msgspec import Struct, field

from plugins.host.retry import Retry
from user_workflows.interpreter.messages import ExecutionError, StepOutcome, TriggerCall
from user_workflows.plan.model import PlanGraph, PlanNode


class StepCall(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The input of a step's activity: one plugin call, with its expressions rendered."""

    tenant_id: str
    execution_id: str
    origin_id: str
    node_id: str
    plugin: str
    config: Any
    path: tuple[int, ...] = ()
    generation: int = 1
    credentials: dict[str, str] = field(default_factory=dict)
    timeout: float = 30.0
    retry: Retry | None = None
    on_unknown: Literal["fail", "retry"] = "fail"
    #: of the record that says the step is running; attempts are recorded just above it, without it not at all
    seq: int = 0
    traceparent: str | None = None
    #: what its idempotency key names instead of `node_id`
    acts_as: str | None = None


class StepResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result of a step's activity."""

    port: str
    output: Any
    attempt: int


class GraphCall(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every activity needs that walks a part of a graph."""

    tenant_id: str
    execution_id: str
    workflow_id: str
    version: int
    origin_id: str
    graph: PlanGraph
    #: what expressions see besides `nodes` and `input`, as far as they ask for it
    seen: dict[str, Any]
    #: outputs of nodes before it, as far as expressions ask for them: node → port → value
    outer: dict[str, dict[str, Any]]
    path: tuple[int, ...] = ()
    generation: int = 1
    traceparent: str | None = None


class SegmentCall(GraphCall, frozen=True, kw_only=True, omit_defaults=True):
    """The input of a segment's activity: a chain of nodes."""

    #: the input of its first node
    given: Any
    #: of the record that says the first step is running
    seq: int = 0
    #: give up after `LOCAL_BUDGET`, and let an ordinary activity go on
    local: bool = False
    #: what earlier calls of the same segment have settled
    outcomes: tuple[StepOutcome, ...] = ()
    #: the attempt of the next step
    attempt: int = 1
    #: of a local call: an earlier attempt may have left no trace, for the workflow task itself may be repeated
    may_be_repeated: bool = False
    #: make one step and come back: a worker was lost over these steps, and the one that did it is to be found
    is_careful: bool = False


class SegmentResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a segment came."""

    outcomes: tuple[StepOutcome, ...]
    #: ``None``: it is at its end; else call again after so many seconds, from `attempt` of the next step
    resume_in: float | None = None
    attempt: int = 1
    #: a worker was lost over these steps
    is_careful: bool = False


class BatchCall(GraphCall, frozen=True, kw_only=True, omit_defaults=True):
    """The input of a batch's activity: items of a `foreach` whose body is cheap."""

    #: the loop itself, for its `result`
    loop: PlanNode
    #: the number of the first item
    first: int
    items: tuple[Any, ...]
    concurrency: int
    #: whether an item's error is collected, or ends the batch
    collects: bool = False


class BatchResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The items that were walked: the first ones of the call, as many as there are results."""

    results: tuple[Any, ...]
    #: number of an item → its error
    errors: dict[int, ExecutionError] = field(default_factory=dict)
    #: the execution is paused: the next batch begins when it goes on
    is_held: bool = False


class CallStart(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The input of the activities that start one execution for another."""

    tenant_id: str
    #: what is started
    workflow_id: str
    trigger: TriggerCall
    #: an equal one stands for the first execution
    key: str
    #: instead of the published one
    version: int | None = None
