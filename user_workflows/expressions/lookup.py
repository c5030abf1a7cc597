"""Finding the function that a call names, and saying at once what can be said about the call."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, Final

from user_workflows.expressions.errors import EvaluationError, ExpressionError
from user_workflows.expressions.functions import FUNCTIONS, METHODS
from user_workflows.expressions.functions.function import Function
from user_workflows.expressions.syntax import Call, Constant, Method, Node

#: unknown functions that get a hint at what may be meant; more than that is no typing error
_MAX_HINTS = 3
_MAX_NAME = 40

#: what people write who know JavaScript, Python or jq
_ELSEWHERE: Final = {
    "every": "all", "some": "exists", "any": "exists", "includes": "contains", "push": "append", "len": "size",
    "length": "size", "count": "size", "isEmpty": "size", "toUpperCase": "upper", "toLowerCase": "lower",
    "toString": "string", "toISOString": "string", "str": "string", "toInt": "int", "parseInt": "int",
    "toNumber": "double", "parseFloat": "double", "Number": "double", "strip": "trim", "substr": "substring",
    "replaceAll": "replace", "unique": "distinct", "uniq": "distinct", "average": "avg", "mean": "avg",
    "stringify": "json.encode", "toJsonString": "json.encode", "fromjson": "json.decode", "ifEmpty": "default",
    "test": "matches", "match": "regex.extract", "forEach": "map", "toDateTime": "timestamp",
}  # fmt: skip


def find_faults(calls: Iterable[Call | Method]) -> tuple[ExpressionError, ...]:
    """Return what fails whenever it is evaluated: unknown functions, wrong numbers of arguments, refused literals."""
    faults: list[ExpressionError] = []
    for call in calls:
        find_function(call.name, call.arguments, call.position, faults, method=isinstance(call, Method))
    return tuple(faults)


def find_function(
    name: str, arguments: Sequence[Node], position: int, faults: list[ExpressionError], *, method: bool
) -> Function:
    """Return the function; for one that is not there, one that always fails.

    `faults` is given what must fail whenever it is evaluated: unknown names, wrong numbers of arguments, literals that
    the function refuses.
    """
    table, others = (METHODS, FUNCTIONS) if method else (FUNCTIONS, METHODS)
    function, count = table.get(name), len(arguments)
    if function is not None and function.least <= count <= function.most:
        _check_literals(function, arguments, faults)
        return function
    if function is not None:
        message = f"{name}() takes {function.takes()}, not {count}"
    elif name in others:
        message = f"write {name}(value, …)" if method else f"write value.{name}(…)"
    else:
        hint = _hint(name, list(table)) if len(faults) < _MAX_HINTS else ""
        message = f"there is no function {name!r}{hint}"
    fault = EvaluationError(message, position, reason="noSuchFunction")
    faults.append(fault)

    def fail(*_: Any) -> Any:
        raise EvaluationError(fault.message, position, reason=fault.reason)

    return Function(fail, count, count)


def _check_literals(function: Function, arguments: Sequence[Node], faults: list[ExpressionError]) -> None:
    for number, check in function.checks:
        argument = arguments[number]
        if isinstance(argument, Constant):
            try:
                check(argument.value)
            except EvaluationError as error:
                error.position = argument.position
                faults.append(error)


def _hint(name: str, known: list[str]) -> str:
    if len(name) > _MAX_NAME:
        return ""
    if name in _ELSEWHERE:
        return f"; write {_ELSEWHERE[name]}()"
    close = get_close_matches(name, known, 1)
    return f"; {close[0]!r} is near" if close else ""
