"""The macros at work: what each does with the elements of a list, or the keys and values of a map."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from user_workflows.expressions.budget import ABSORBED, ELEMENT
from user_workflows.expressions.errors import EvaluationError
from user_workflows.expressions.evaluation import Evaluation, Run
from user_workflows.expressions.functions.order import order_by
from user_workflows.expressions.paths import Follow
from user_workflows.expressions.values import as_key, equal, from_key, type_name

#: binds the variables to each element in turn and gives the first of them: the element, or the index or key of two
Each = Callable[[Evaluation, Any], Iterator[Any]]
Macro = Callable[[Each, Sequence[Run]], Follow]


def bind_each(slots: Sequence[int], cost: int) -> Each:
    """Return the iteration over a receiver, with its variables at `slots` and `cost` steps per round."""
    first, last = slots[0], slots[-1]

    def one(evaluation: Evaluation, receiver: Any) -> Iterator[Any]:
        meter, variables = evaluation.meter, evaluation.variables
        for item in _elements(receiver):
            meter.steps -= cost
            if meter.steps < 0:
                meter.work(0)
            variables[first] = item
            yield item

    def two(evaluation: Evaluation, receiver: Any) -> Iterator[Any]:
        meter, variables = evaluation.meter, evaluation.variables
        for key, item in _pairs(receiver):
            meter.steps -= cost
            if meter.steps < 0:
                meter.work(0)
            variables[first] = key
            variables[last] = item
            yield key

    return one if len(slots) == 1 else two


def _elements(receiver: Any) -> Iterator[Any]:
    if type(receiver) is list:
        return iter(receiver)
    if type(receiver) is dict:
        return map(from_key, receiver)
    raise EvaluationError(f"a list or a map is needed to loop over, not {type_name(receiver)}")


def _pairs(receiver: Any) -> Iterator[tuple[Any, Any]]:
    if type(receiver) is list:
        return enumerate(receiver)
    if type(receiver) is dict:
        return ((from_key(key), value) for key, value in receiver.items())
    raise EvaluationError(f"a list or a map is needed to loop over, not {type_name(receiver)}")


def _truth(value: Any) -> bool:
    if type(value) is bool:
        return value
    raise EvaluationError(f"a condition must be true or false, not {type_name(value)}")


def _any_is(wanted: bool) -> Macro:
    """``exists`` and ``all``: an error in one round counts only if no other round decides."""

    def make(each: Each, bodies: Sequence[Run]) -> Follow:
        (condition,) = bodies

        def run(evaluation: Evaluation, receiver: Any) -> bool:
            failure: EvaluationError | None = None
            for _ in each(evaluation, receiver):
                try:
                    if _truth(condition(evaluation)) is wanted:
                        return wanted
                except EvaluationError as error:
                    evaluation.meter.work(ABSORBED)
                    failure = failure or error.with_traceback(None)
            if failure is not None:
                raise failure
            return not wanted

        return run

    return make


def _exists_one(each: Each, bodies: Sequence[Run]) -> Follow:
    (condition,) = bodies

    def run(evaluation: Evaluation, receiver: Any) -> bool:
        return sum(_truth(condition(evaluation)) for _ in each(evaluation, receiver)) == 1

    return run


def _filter(each: Each, bodies: Sequence[Run]) -> Follow:
    (condition,) = bodies

    def run(evaluation: Evaluation, receiver: Any) -> Any:
        found = [item for item in each(evaluation, receiver) if _truth(condition(evaluation))]
        evaluation.meter.allocate_list(len(found))
        return found

    return run


def _find(each: Each, bodies: Sequence[Run]) -> Follow:
    (condition,) = bodies

    def run(evaluation: Evaluation, receiver: Any) -> Any:
        return next((item for item in each(evaluation, receiver) if _truth(condition(evaluation))), None)

    return run


def _map(each: Each, bodies: Sequence[Run]) -> Follow:
    *conditions, expression = bodies

    def run(evaluation: Evaluation, receiver: Any) -> list[Any]:
        made = []
        for _ in each(evaluation, receiver):
            if all(_truth(condition(evaluation)) for condition in conditions):
                made.append(expression(evaluation))
        evaluation.meter.allocate_list(len(made))
        return made

    return run


def _transform_map(each: Each, bodies: Sequence[Run]) -> Follow:
    *conditions, expression = bodies

    def run(evaluation: Evaluation, receiver: Any) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for key in each(evaluation, receiver):
            if all(_truth(condition(evaluation)) for condition in conditions):
                made[as_key(key)] = expression(evaluation)
                evaluation.meter.allocate(ELEMENT * 6)
        return made

    return run


def _transform_map_entry(each: Each, bodies: Sequence[Run]) -> Follow:
    *conditions, expression = bodies

    def run(evaluation: Evaluation, receiver: Any) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for _ in each(evaluation, receiver):
            if not all(_truth(condition(evaluation)) for condition in conditions):
                continue
            entry = expression(evaluation)
            if type(entry) is not dict:
                raise EvaluationError(f"transformMapEntry() needs a map like {{key: value}}, not {type_name(entry)}")
            for key, value in entry.items():
                evaluation.meter.work(1)
                if key in made:
                    raise EvaluationError("transformMapEntry() made one key twice", reason="duplicateKey")
                made[key] = value
            evaluation.meter.allocate(ELEMENT * 6 * len(entry))
        return made

    return run


def _sort_by(each: Each, bodies: Sequence[Run]) -> Follow:
    (expression,) = bodies

    def run(evaluation: Evaluation, receiver: Any) -> list[Any]:
        keyed = [(expression(evaluation), item) for item in each(evaluation, receiver)]
        return order_by(evaluation.meter, [key for key, _ in keyed], [item for _, item in keyed])

    return run


def _group_by(each: Each, bodies: Sequence[Run]) -> Follow:
    (expression,) = bodies

    def run(evaluation: Evaluation, receiver: Any) -> dict[Any, list[Any]]:
        groups: dict[Any, list[Any]] = {}
        for item in each(evaluation, receiver):
            value = expression(evaluation)
            key = as_key(value)
            if key is None:
                raise EvaluationError(f"groupBy() needs a string, int or bool, not {type_name(value)}")
            groups.setdefault(key, []).append(item)
            evaluation.meter.allocate(ELEMENT * 8)
        return groups

    return run


def _distinct_by(each: Each, bodies: Sequence[Run]) -> Follow:
    (expression,) = bodies

    def run(evaluation: Evaluation, receiver: Any) -> list[Any]:
        seen: list[Any] = []
        found = []
        for item in each(evaluation, receiver):
            key = expression(evaluation)
            evaluation.meter.work(len(seen))
            if not any(equal(evaluation.meter, key, other) for other in seen):
                seen.append(key)
                found.append(item)
        evaluation.meter.allocate_list(2 * len(found))
        return found

    return run


LOOPS: Final[dict[str, Macro]] = {
    "all": _any_is(False),
    "exists": _any_is(True),
    "exists_one": _exists_one,
    "existsOne": _exists_one,
    "filter": _filter,
    "find": _find,
    "map": _map,
    "transformList": _map,
    "transformMap": _transform_map,
    "transformMapEntry": _transform_map_entry,
    "sortBy": _sort_by,
    "groupBy": _group_by,
    "distinctBy": _distinct_by,
}
