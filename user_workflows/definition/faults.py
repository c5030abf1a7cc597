"""Collecting what is wrong with a definition, so that no fault hides another."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Literal, TypeAlias

from user_workflows.definition.model import Fault

Severity: TypeAlias = Literal["error", "warning"]

#: How many names may be compared for suggestions in one validation: a definition full of faults must not cost seconds.
_MAX_COMPARISONS = 20_000


def pointer(*path: str | int) -> str:
    """Return the JSON Pointer (RFC 6901) of a path of keys and indices."""
    return "".join([f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path])


class Faults:
    """The faults found so far, in the order found."""

    def __init__(self) -> None:
        self.found: list[Fault] = []
        self._comparisons = 0

    def add(
        self,
        code: str,
        where: str | Iterable[str | int],
        message: str,
        *,
        node_id: str | None = None,
        severity: Severity = "error",
        position: int | None = None,
    ) -> None:
        """Add a fault; `where` is a JSON Pointer, or the path of keys and indices to make one of."""
        place = where if isinstance(where, str) else pointer(*where)
        self.found.append(
            Fault(code=code, severity=severity, pointer=place, message=message, node_id=node_id, position=position)
        )

    def suggest(self, name: str, known: Collection[str]) -> str:
        """Return the end of a message about an unknown `name`: the nearest known one, or the few there are."""
        nearest = self.nearest(name, known)
        if nearest is not None:
            return f"; did you mean {nearest!r}?"
        if 0 < len(known) <= 8:
            return f"; known: {', '.join(sorted(known))}"
        return ""

    def nearest(self, name: str, known: Collection[str]) -> str | None:
        """Return the known name most like `name`, if any is like it."""
        self._comparisons += len(known)
        if self._comparisons > _MAX_COMPARISONS or len(name) > 100:
            return None
        matches = get_close_matches(name, known, n=1, cutoff=0.6)
        return matches[0] if matches else None

    @property
    def has_errors(self) -> bool:
        return any(fault.severity == "error" for fault in self.found)
