"""Every function, by name: what an expression can call."""

from typing import Final

from user_workflows.expressions.functions import (
    arithmetic,
    clock,
    conversions,
    encoding,
    lists,
    maps,
    patterns,
    strings,
)
from user_workflows.expressions.functions.function import Function

#: called as ``name(value)``, those with a namespace as ``math.abs(value)``
FUNCTIONS: Final[dict[str, Function]] = {
    **conversions.FUNCTIONS,
    **arithmetic.FUNCTIONS,
    **strings.FUNCTIONS,
    **lists.FUNCTIONS,
    **patterns.FUNCTIONS,
    **clock.FUNCTIONS,
    **encoding.FUNCTIONS,
}
#: called as ``value.name()``
METHODS: Final[dict[str, Function]] = {
    **strings.METHODS,
    **lists.METHODS,
    **maps.METHODS,
    **patterns.METHODS,
    **clock.METHODS,
}
