"""The state of one node in one execution."""

from datetime import datetime
from typing import Any, Protocol

from msgspec import UNSET, Struct, field

from user_workflows.interpreter.messages import Compensation, StepError, StepRecord, StepStatus
from user_workflows.plan.model import PlanNode


class NodeState(Struct):
    """One node in one execution."""

    node: PlanNode
    #: item and round numbers of the loops around it
    path: tuple[int, ...] = ()
    status: StepStatus = "pending"
    seq: int = 0
    attempt: int = 0
    input: Any = None
    #: what it left by, port → value; also ``error`` for a node that failed and went on
    ports: dict[str, Any] = field(default_factory=dict)
    error: StepError | None = None
    reason: str | None = None
    started_at: datetime | None = None
    closed_at: datetime | None = None
    #: what its performer needs to go on in a later run of the execution, such as a deadline; plain JSON data
    kept: dict[str, Any] = field(default_factory=dict)
    #: how it went to undo it
    compensation: Compensation | None = None

    @property
    def is_settled(self) -> bool:
        return self.status not in ("pending", "running", "waiting")

    @property
    def port(self) -> str | None:
        """The port it left by; with several, the first."""
        return next(iter(self.ports), None) if self.status in ("completed", "failed") else None

    @property
    def output(self) -> Any:
        return self.ports.get(self.port) if self.port is not None else None

    def record(self) -> StepRecord:
        return StepRecord(
            node_id=self.node.id,
            path=self.path,
            seq=self.seq,
            status=self.status,
            attempt=self.attempt,
            input=self.input,
            output=self.output,
            port=self.port,
            ports=self.ports if self.status == "completed" and len(self.ports) > 1 else UNSET,
            error=self.error,
            reason=self.reason,
            started_at=self.started_at,
            closed_at=self.closed_at,
            compensation=self.compensation or UNSET,
        )


class Waiting(Protocol):
    """What a node lies in that waits."""

    def wait(self, state: NodeState, reason: str) -> None:
        """Note that a node waits, and for what."""
        ...
