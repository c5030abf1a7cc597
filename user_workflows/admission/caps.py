"""Caps: how much of everything a tenant, or one workflow, may have."""

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Scope = Literal["tenant", "workflow"]
Cap = Literal["concurrentExecutions", "startsPerMinute", "payloadBytes", "monthlyExecutions"]
Policy = Literal["queue", "reject", "replaceOldest", "skip"]

_Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class Caps(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """``None``: no cap."""

    #: admitted and not closed
    concurrent_executions: _Count | None = None
    #: let in within any sixty seconds
    starts_per_minute: _Count | None = None
    #: of one input, as JSON
    payload_bytes: _Count | None = None
    #: new ones since the first of the month, in UTC
    monthly_executions: _Count | None = None

    def over(self, others: "Caps") -> "Caps":
        """Return these caps, and those of `others` where there are none."""
        return Caps(**{name: _first(getattr(self, name), getattr(others, name)) for name in Caps.__struct_fields__})


class Rate(Struct, frozen=True, kw_only=True):
    """How a tenant stands with its starts per minute."""

    limit: int
    remaining: int
    #: seconds until one more is allowed than now
    reset: float


class Obstacle(Struct, frozen=True, kw_only=True):
    """The cap that keeps an execution outside."""

    cap: Cap
    scope: Scope
    limit: int
    #: when time alone takes it away; ``None``: when an execution ends
    until: datetime | None = None

    @property
    def reason(self) -> str:
        whose = "the tenant" if self.scope == "tenant" else "the workflow"
        match self.cap:
            case "concurrentExecutions":
                return f"{whose} has its {self.limit:,} executions under way"
            case "startsPerMinute":
                return f"{whose} has had its {self.limit:,} starts within a minute"
            case "monthlyExecutions":
                return f"{whose} has had its {self.limit:,} executions of this month"
            case "payloadBytes":
                return f"{whose} takes inputs of {self.limit:,} bytes at most"


def read_caps(row: Any, prefix: str = "") -> Caps:
    """Return the caps in the columns of a row, whose names begin with `prefix`."""
    return Caps(**{name: getattr(row, prefix + name) for name in Caps.__struct_fields__})


def month_of(at: datetime) -> str:
    return f"{at:%Y-%m}"


def next_month(at: datetime) -> datetime:
    first = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return first.replace(year=at.year + 1, month=1) if at.month == 12 else first.replace(month=at.month + 1)


def _first(value: int | None, other: int | None) -> int | None:
    return other if value is None else value
