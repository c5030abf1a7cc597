"""What limits still allow at one moment; the relay asks for each job before it publishes it."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from msgspec import Struct

from internal_jobs.inflight import InFlight
from plugins.storage.tenants import INSTALLATION

#: Starts that fell due while the relay was elsewhere are made up for, as far back as this.
CREDIT = timedelta(seconds=0.1)


class Rule(Struct, frozen=True, kw_only=True):
    """One limit, as the relay sees it."""

    tenant_id: str
    #: ``tenant``, ``type:…`` or ``host:…``
    id: str
    #: jobs in flight
    max_concurrent: int | None = None
    #: from one start to the next
    interval: timedelta | None = None
    #: the earliest moment of the next start; ``None``: any
    next_at: datetime | None = None


class Blocked(Struct, frozen=True):
    """What a tenant may not start now."""

    everything: bool
    types: frozenset[str]
    destinations: frozenset[str]


class Allowances:
    """Counts down what the limits allow, job by job."""

    def __init__(self, rules: Iterable[Rule], flight: Iterable[InFlight], present: datetime) -> None:
        self._rules = {(rule.tenant_id, rule.id): rule for rule in rules}
        self._present = present
        self._held: Counter[tuple[str, str]] = Counter()
        #: rules whose next start has moved, to be stored
        self.spent: dict[tuple[str, str], datetime] = {}
        if self._rules:
            for some in flight:
                for key in self._concern(some.tenant_id, some.type, some.destination):
                    self._held[key] += some.count

    def __bool__(self) -> bool:
        return bool(self._rules)

    def admit(self, tenant_id: str, type: str, destination: str | None) -> bool:
        """Take one start from every limit that concerns a job, or, where one of them allows none, from no limit."""
        keys = list(self._concern(tenant_id, type, destination))
        if any(self._is_spent(key) for key in keys):
            return False
        for key in keys:
            self._held[key] += 1
            if (interval := self._rules[key].interval) is not None:
                self.spent[key] = max(self._next_at(key) or self._present, self._present - CREDIT) + interval
        return True

    def blocked(self, tenant_id: str) -> Blocked:
        everything, types, destinations = False, set(), set()
        for owner, id in self._rules:
            if owner in (tenant_id, INSTALLATION) and self._is_spent((owner, id)):
                scope, _, subject = id.partition(":")
                if scope == "type":
                    types.add(subject)
                elif scope == "host":
                    destinations.add(subject)
                else:
                    everything = everything or owner == tenant_id
        return Blocked(everything, frozenset(types), frozenset(destinations))

    def again_in(self) -> float | None:
        """Return the seconds until a rate allows a start that it does not allow now."""
        waits = [at - self._present for key in self._rules if (at := self._next_at(key)) and at > self._present]
        return min(waits).total_seconds() if waits else None

    def _concern(self, tenant_id: str, type: str, destination: str | None) -> Iterator[tuple[str, str]]:
        host = f"host:{destination}"
        keys = (
            (tenant_id, "tenant"),
            (tenant_id, f"type:{type}"),
            (tenant_id, host),
            (INSTALLATION, f"type:{type}"),
            (INSTALLATION, host),
        )
        return (key for key in dict.fromkeys(keys) if key in self._rules)

    def _is_spent(self, key: tuple[str, str]) -> bool:
        most, next_at = self._rules[key].max_concurrent, self._next_at(key)
        return (most is not None and self._held[key] >= most) or (next_at is not None and next_at > self._present)

    def _next_at(self, key: tuple[str, str]) -> datetime | None:
        return self.spent.get(key, self._rules[key].next_at)
