"""What a function is to the compiler."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct


class Function(Struct, frozen=True):
    #: called with the meter and the values; a method's receiver is the first
    call: Callable[..., Any]
    #: how many arguments it takes, a method's receiver not counted
    least: int
    most: int
    #: checks of arguments that are literals: index, and what raises EvaluationError when such a call must fail
    checks: tuple[tuple[int, Callable[[Any], object]], ...] = ()

    def takes(self) -> str:
        """Return how many arguments it takes, in words."""
        if self.least == self.most:
            return f"{self.least} argument{'' if self.least == 1 else 's'}"
        return f"{self.least} to {self.most} arguments"


#: as many as the budget of nodes allows
MANY = 2_000
