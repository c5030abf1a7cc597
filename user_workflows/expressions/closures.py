"""Closures of the operators and literals, made of the closures of their operands."""

from typing import Any

from user_workflows.expressions.budget import ABSORBED, CONTAINER, ELEMENT
from user_workflows.expressions.errors import Absent, EvaluationError, ExpressionError
from user_workflows.expressions.evaluation import Evaluation, Run
from user_workflows.expressions.functions.function import Function
from user_workflows.expressions.operators import Binary, negate
from user_workflows.expressions.paths import Follow
from user_workflows.expressions.syntax import Unary
from user_workflows.expressions.values import as_key, type_name


def operation(first: Run, terms: list[tuple[Binary, Run, int]]) -> Run:
    """``a + b - c``: operators of one precedence, from left to right."""
    if len(terms) == 1:
        ((apply, second, position),) = terms

        def run_one(evaluation: Evaluation) -> Any:
            left, right = first(evaluation), second(evaluation)
            try:
                return apply(evaluation.meter, left, right)
            except ExpressionError as error:
                error.position = position
                raise

        return run_one

    def run(evaluation: Evaluation) -> Any:
        value = first(evaluation)
        for apply, operand, position in terms:
            right = operand(evaluation)
            try:
                value = apply(evaluation.meter, value, right)
            except ExpressionError as error:
                error.position = position
                raise
        return value

    return run


def conditional(branches: list[tuple[Run, Run, int]], otherwise: Run) -> Run:
    """``a ? b : c ? d : e``, each branch with the position of its condition."""

    def run(evaluation: Evaluation) -> Any:
        for condition, value, position in branches:
            chosen = condition(evaluation)
            if chosen is True:
                return value(evaluation)
            if chosen is not False:
                raise EvaluationError(f"a condition must be true or false, not {type_name(chosen)}", position)
        return otherwise(evaluation)

    return run


def bind(slot: int, value: Run, body: Run) -> Run:
    """``cel.bind(x, value, body)``, with x at `slot`."""

    def run(evaluation: Evaluation) -> Any:
        evaluation.variables[slot] = value(evaluation)
        return body(evaluation)

    return run


def call_function(function: Function, arguments: list[Run], position: int) -> Run:
    """``size(x)``."""

    def run(evaluation: Evaluation) -> Any:
        values = [argument(evaluation) for argument in arguments]
        try:
            return function.call(evaluation.meter, *values)
        except ExpressionError as error:
            if error.position is None:
                error.position = position
            raise

    return run


def call_method(function: Function, arguments: list[Run], position: int) -> Follow:
    """``x.trim()``."""

    def follow(evaluation: Evaluation, value: Any) -> Any:
        return function.call(evaluation.meter, value, *[argument(evaluation) for argument in arguments])

    return positioned(follow, position)


def logic(operands: list[Run], *, decisive: bool, position: int) -> Run:
    """``&&`` or ``||``: an operand that fails counts only if no other decides (cel-spec, Logical Operators)."""
    symbol = "||" if decisive else "&&"

    def run(evaluation: Evaluation) -> bool:
        failure: EvaluationError | None = None
        for operand in operands:
            try:
                value = operand(evaluation)
                if type(value) is not bool:
                    raise EvaluationError(f"{symbol!r} needs true or false, not {type_name(value)}", position)
            except EvaluationError as error:
                evaluation.meter.work(ABSORBED)
                failure = failure or error.with_traceback(None)
                continue
            if value is decisive:
                return decisive
        if failure is not None:
            raise failure
        return not decisive

    return run


def unary(operand: Run, node: Unary) -> Run:
    """``!a`` and ``-a``, as often as written."""
    position, count = node.position, node.count

    def invert(evaluation: Evaluation) -> bool:
        value = operand(evaluation)
        if type(value) is not bool:
            raise EvaluationError(f"'!' needs true or false, not {type_name(value)}", position)
        return value if count % 2 == 0 else not value

    def minus(evaluation: Evaluation) -> Any:
        value = operand(evaluation)
        try:
            for _ in range(count):
                value = negate(value)
        except EvaluationError as error:
            error.position = position
            raise
        return value

    return invert if node.operator == "!" else minus


def has(path: Run, positions: frozenset[int]) -> Run:
    """``has(a.b)``: whether nothing at `positions`, those of the path, is absent."""

    def run(evaluation: Evaluation) -> bool:
        try:
            path(evaluation)
        except Absent as error:
            if error.position not in positions:
                raise
            evaluation.meter.work(ABSORBED)
            return False
        return True

    return run


def default(arguments: list[Run]) -> Run:
    """``default(a, b)``: the first that is there and not null; the last as it is."""
    *candidates, last = arguments

    def run(evaluation: Evaluation) -> Any:
        for candidate in candidates:
            try:
                value = candidate(evaluation)
            except Absent:
                evaluation.meter.work(ABSORBED)
                continue
            if value is not None:
                return value
        return last(evaluation)

    return run


def list_of(items: list[Run]) -> Run:
    """``[a, b]``."""

    def run(evaluation: Evaluation) -> list[Any]:
        evaluation.meter.allocate_list(len(items))
        return [item(evaluation) for item in items]

    return run


def map_of(pairs: list[tuple[Run, Run]], position: int) -> Run:
    """``{a: b}``."""

    def run(evaluation: Evaluation) -> dict[Any, Any]:
        evaluation.meter.allocate(CONTAINER + 6 * ELEMENT * len(pairs))
        made: dict[Any, Any] = {}
        for key_of, value_of in pairs:
            value = key_of(evaluation)
            key = as_key(value)
            if key is None or type(key) is float:
                raise EvaluationError(f"a map's key is a string, int or bool, not {type_name(value)}", position)
            if key in made:
                raise EvaluationError("the map has one key twice", position, reason="duplicateKey")
            made[key] = value_of(evaluation)
        return made

    return run


def positioned(follow: Follow, position: int) -> Follow:
    """Say where an error arose that does not know."""

    def run(evaluation: Evaluation, value: Any) -> Any:
        try:
            return follow(evaluation, value)
        except ExpressionError as error:
            if error.position is None:
                error.position = position
            raise

    return run
