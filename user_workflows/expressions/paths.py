"""Selection: from a value to a field or element of it, and what is said when it is not there."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from user_workflows.expressions.budget import ABSORBED
from user_workflows.expressions.errors import Absent, EvaluationError
from user_workflows.expressions.evaluation import Evaluation, Run
from user_workflows.expressions.values import as_key, type_name

#: one link of a path, compiled: from the value so far to the next
Follow = Callable[[Evaluation, Any], Any]


def static_path(keys: Sequence[str], positions: Sequence[int]) -> Run:
    """Compile the path ``root.field.field…``, where nothing is called or computed."""

    def run(evaluation: Evaluation) -> Any:
        value: Any = evaluation.scope
        try:
            for key in keys:
                value = value[key]
        except (KeyError, TypeError):
            raise _explain(evaluation.scope, keys, positions) from None
        return value

    return run


def _explain(scope: Mapping[str, Any], keys: Sequence[str], positions: Sequence[int]) -> EvaluationError:
    """Walk again, slowly, to say where the path ends."""
    value: Any = scope
    try:
        for number, (key, position) in enumerate(zip(keys, positions, strict=True)):
            value = lookup_root(scope, key, position) if number == 0 else select(value, key, position)
    except Absent as error:
        return absent_node(error, keys, number) or error
    except EvaluationError as error:
        return error
    raise AssertionError("the path is there after all")


def absent_node(error: Absent, keys: Sequence[Any], number: int) -> Absent | None:
    """Return an error that names the node, when ``nodes.<id>`` or ``nodes.<id>.<port>`` is what is absent."""
    if keys[0] != "nodes" or number not in (1, 2) or not isinstance(keys[1], str):
        return None
    node_id = keys[1]
    what = f"node {node_id!r} has no output" if number == 1 else f"node {node_id!r} did not leave by {keys[2]!r}"
    message = f"{what}: it was skipped or has not finished; has(…), ?. and default(…) bear that"
    return Absent(message, error.position, reason="nodeAbsent", node_id=node_id)


def lookup_root(scope: Mapping[str, Any], name: str, position: int) -> Any:
    """Return a root of the scope; raises Absent."""
    try:
        return scope[name]
    except KeyError:
        raise Absent(f"there is no {name!r} here", position, reason="unknownName") from None


def select(value: Any, field: str, position: int) -> Any:
    """Return a field of a map; raises Absent where there is none, EvaluationError where there can be none."""
    if type(value) is dict or isinstance(value, Mapping):
        try:
            return value[field]
        except KeyError:
            raise Absent(f"there is no field {field!r}", position) from None
    if value is None:
        raise Absent(f"there is no field {field!r} in null", position, reason="nullValue")
    hint = "; write size()" if field == "length" else ""
    raise EvaluationError(f"a value of type {type_name(value)} has no field {field!r}{hint}", position)


def element(value: Any, key: Any, position: int) -> Any:
    """Return an element of a list, or of a map by its key; raises as `select` does."""
    if type(value) is list:
        if type(key) is float and key.is_integer():
            key = int(key)
        if type(key) is not int:
            raise EvaluationError(f"a list is indexed by an int, not by {type_name(key)}", position)
        if 0 <= key < len(value):
            return value[key]
        raise Absent(f"the list has {len(value)} elements; there is none at {key}", position, reason="indexOutOfRange")
    if type(value) is dict or isinstance(value, Mapping):
        found = as_key(key)
        if found is not None and found in value:
            return value[found]
        raise Absent("there is no such key", position)
    if value is None:
        raise Absent("there is no element in null", position, reason="nullValue")
    raise EvaluationError(f"a value of type {type_name(value)} has no elements", position)


def bear_absence(base: Run, links: Sequence[Follow], first: int, positions: frozenset[int]) -> Run:
    """Compile a path with ``?.``: null, as soon as anything from link `first` on is absent or null.

    `positions` are those of what may be absent; absence within an argument of a call is none of this path's.
    """

    def run(evaluation: Evaluation) -> Any:
        try:
            value = base(evaluation)
            for number, follow in enumerate(links):
                if value is None and number >= first:
                    return None
                value = follow(evaluation, value)
        except Absent as error:
            if error.position not in positions:
                raise
            evaluation.meter.work(ABSORBED)
            return None
        return value

    return run


def follow_links(base: Run, links: Sequence[Follow]) -> Run:
    """Compile a path in which something is called or computed."""
    if len(links) == 1:
        (only,) = links
        return lambda evaluation: only(evaluation, base(evaluation))

    def run(evaluation: Evaluation) -> Any:
        value = base(evaluation)
        for follow in links:
            value = follow(evaluation, value)
        return value

    return run
