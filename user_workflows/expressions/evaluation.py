"""One evaluation under way: its scope, its loop variables and its meter."""

from collections.abc import Callable, Mapping
from typing import Any

from user_workflows.expressions.budget import Meter


class Evaluation:
    """What every compiled piece of an expression is called with."""

    __slots__ = ("meter", "scope", "variables")

    def __init__(self, scope: Mapping[str, Any], meter: Meter, variables: int) -> None:
        self.scope = scope
        self.meter = meter
        #: the values of loop variables, each at the place its compiler gave it
        self.variables: list[Any] = [None] * variables


#: a compiled piece
Run = Callable[[Evaluation], Any]
