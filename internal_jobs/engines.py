"""Which engine does a job, and what follows when its attempts are used up (README, Decisions)."""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct, field
from msgspec.structs import replace
from sqlalchemy import Row

from plugins.host.retry import DEFAULT, Retry

#: dramatiq  a worker of internal jobs: cheap and quick
#: temporal  a durable execution of one step
Engine = Literal["dramatiq", "temporal"]

#: deadLetter  it is kept until somebody decides
#: promote     it goes on as a durable execution
OnExhausted = Literal["deadLetter", "promote"]

#: How long an execution goes on that a job was promoted to: tries for about five days, at the end every six hours.
PROMOTED = Retry(max_attempts=30, initial_interval="1m", backoff=2.0, max_interval="6h")


class Engines(Struct, frozen=True, kw_only=True):
    """What is set for types of jobs; a job's own word comes first."""

    #: type → engine, where it is not ``dramatiq``
    by_type: Mapping[str, Engine] = field(default_factory=dict)
    #: types whose jobs are promoted when their attempts are used up
    promoted: frozenset[str] = frozenset()

    def of(self, row: Row[Any]) -> Engine:
        """Return the engine of a job."""
        engine: Engine = row.lane or self.by_type.get(row.type, "dramatiq")
        return engine

    def promotes(self, row: Row[Any]) -> bool:
        """Return whether a job is promoted when its attempts are used up."""
        if row.on_exhausted is None:
            return row.type in self.promoted
        return bool(row.on_exhausted == "promote")


#: Nothing is set.
NOTHING_SET = Engines()


def first_attempts(retry: Retry | None) -> int:
    """Return how many attempts a job has before it is promoted."""
    return (retry or DEFAULT).max_attempts


def with_more_to_come(retry: Retry | None) -> Retry:
    """Return the policy under which those attempts are made: none of them is the last, for others follow elsewhere.

    So a failure that may be repeated leaves the effect ledger open for a repeat, and one that may not is final, on
    either engine. Who said nothing about retries has not agreed to act twice.
    """
    policy = retry or replace(DEFAULT, repeat_unsafe=False)
    return replace(policy, max_attempts=first_attempts(retry) + 1)


def after_promotion(retry: Retry | None) -> Retry:
    """Return the policy of the execution that a job is promoted to."""
    policy = retry or replace(DEFAULT, repeat_unsafe=False)
    return replace(PROMOTED, non_retryable=policy.non_retryable, repeat_unsafe=policy.repeat_unsafe)
