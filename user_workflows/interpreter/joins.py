"""When a node runs and when it can no longer run (design §6, Joins and dead paths)."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from user_workflows.plan.model import PlanEdge, PlanNode


class EdgeState(Struct):
    """One edge in one execution."""

    edge: PlanEdge
    status: Literal["pending", "fired", "ruledOut"] = "pending"
    #: why it was ruled out
    reason: str = ""


class Ready(Struct, frozen=True):
    """The join holds: run it."""


class Dead(Struct, frozen=True):
    """The join can no longer hold: skip it, for this reason."""

    reason: str


def decide(node: PlanNode, incoming: Sequence[EdgeState]) -> Ready | Dead | None:
    """Return what the states of a node's incoming edges mean for it; ``None``: wait for more.

    A node without incoming edges is ready at once.
    """
    if not incoming:
        return Ready()
    fired = sum(state.status == "fired" for state in incoming)
    pending = sum(state.status == "pending" for state in incoming)
    match node.join:
        case "any":
            needed, may_decide = 1, pending == 0
        case "first":
            needed, may_decide = 1, True
        case "all":
            needed, may_decide = len(incoming), True
        case count:
            needed, may_decide = count, True
    if fired >= needed and may_decide:
        return Ready()
    if fired + pending < needed:
        return Dead(_why_dead(incoming, needed))
    return None


def _why_dead(incoming: Sequence[EdgeState], needed: int) -> str:
    reasons = [state.reason for state in incoming if state.status == "ruledOut"]
    missing = "" if needed == 1 else f"join needs {needed} of {len(incoming)} edges; "
    return missing + "; ".join(reasons)
