"""What is inferred of an expression holds whenever it is evaluated, and what surely fails is told where it fails."""

import random
import time
from collections.abc import Mapping
from typing import Any

import pytest

from tests.user_workflows.expressions.test_conformance import cases_of_the_profile
from tests.user_workflows.expressions.test_differential import sources
from tests.user_workflows.expressions.test_functions import VALUES
from user_workflows.expressions import ExpressionError, Finding, Inference, compile_expression
from user_workflows.expressions.kinds import Kinds, as_json, describe, kinds_of, list_of

PRICE = {"symbol": "AAPL", "price": 1.5, "tags": ["a"], "close": None, "venue": {"id": 7}}


def infer(source: str, scope: Mapping[str, Kinds] | None = None) -> tuple[Kinds, list[Finding]]:
    inference = Inference(scope or {})
    return as_json(inference.kinds(compile_expression(source).tree)), inference.findings


def holds(value: Any, kinds: Kinds) -> bool:
    """Return whether a value is one of those that are claimed."""
    if kinds is None:
        return True
    (actual,) = kinds_of(value) or ()
    for kind in kinds:
        if kind.name != actual.name:
            continue
        if kind.name == "list":
            if all(holds(item, kind.element) for item in value):
                return True
        elif kind.name != "map" or all(
            holds(item, kind.fields.get(key, kind.others)) and (kind.is_open or key in kind.fields)
            for key, item in value.items()
        ):
            return True
    return False


def check_sound(source: str, scope: Mapping[str, Any]) -> bool:
    """Hold what is inferred against a value; return whether there was one."""
    try:
        value = compile_expression(source).evaluate(scope)
    except ExpressionError:
        return False
    kinds, findings = infer(source, {name: kinds_of(each) for name, each in scope.items()})
    assert holds(value, kinds), f"{source} is {value!r}, not {describe(kinds)}"
    # What is never evaluated, or absorbed, has no part in the value.
    assert findings == [] or any(sign in source for sign in ("&&", "||", "?", "all(", "exists(")), (
        f"{source}: {findings}"
    )
    return True


@pytest.mark.parametrize(("source", "value"), VALUES)
def test_what_is_inferred_of_every_function_holds(source: str, value: Any) -> None:
    assert check_sound(source, {})


def test_what_is_inferred_of_random_expressions_holds() -> None:
    assert sum(check_sound(source, {}) for source in sources(seed=1)) > 2_000


def test_what_is_inferred_of_the_conformance_cases_holds() -> None:
    assert sum(check_sound(source, scope) for source, scope in cases_of_the_profile()) > 500


SCOPE = {"price": kinds_of(PRICE), "rows": list_of(kinds_of(PRICE)), "any": None}


def test_whatever_is_written_is_looked_at_without_a_fault() -> None:
    """Forms filled without regard to types, over a scope of which some is known."""
    choice = random.Random(7)
    for _ in range(3_000):
        source = choice.choice(mixed(choice, 3))
        inference = Inference(SCOPE)
        inference.kinds(compile_expression(source).tree)


def mixed(choice: random.Random, depth: int) -> list[str]:
    """Return expressions that grow out of one another, whatever their types."""
    grown = ["price", "rows", "any", "1", "'a'", "null", "1.5", "price.close", "timestamp(0)", "x"]
    for _ in range(depth * 4):
        one, other = choice.choice(grown), choice.choice(grown)
        form = choice.choice(MIXED)
        if len(one) + len(other) < 300:
            grown.append(form.replace("$1", f"({one})").replace("$2", f"({other})"))
    return grown


MIXED = [
    "$1 + $2", "$1 - $2", "$1 < $2", "$1 == $2", "$1 in $2", "$1 && $2", "$1 || $2", "!$1", "-$1", "$1 ? $2 : $1",
    "[$1, $2]", "{'k': $1}", "{$2: $1}", "$1.symbol", "$1?.symbol", "$1[0]", "$1['symbol']", "$1[$2]", "$1?.[$2]",
    "has($1.price)", "default($1, $2)", "$1.size()", "size($1)", "$1.lower()", "$1.map(x, $2)", "$1.filter(x, $2)",
    "$1.all(x, $2)", "$1.find(x, $2)", "$1.groupBy(x, $2)", "$1.transformMap(x, y, $2)",
    "$1.transformMapEntry(x, y, {$2: $1})", "cel.bind(x, $1, $2)", "type($1)", "string($1)", "int($1)",
    "$1.format([$2])", "max($1, $2)", "$1.contains($2)", "$1.sum()", "$1.sortBy(x, $2)", "$1.getHours($2)",
    "math.abs($1)", "dyn($1)",
]  # fmt: skip


def test_a_value_that_holds_another_many_times_over_is_looked_at_in_no_time() -> None:
    source = "{'x': 1, 'y': timestamp(0)}"
    for level in range(20):
        source = f"cel.bind(v{level}, {source}, {{'x': v{level}, 'y': v{level}}})"
    started = time.thread_time()
    infer(source)
    assert time.thread_time() - started < 0.1


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("price.price + price.venue.id", "a number"),
        ("price.price", "a number"),
        ("price.venue.id", "a whole number"),
        ("price.close", "null"),
        ("[price.symbol, 'x'][0]", "a string"),
        ("rows.map(r, r.venue.id)[0]", "a whole number"),
        ("rows.find(r, r.price > 1.0)", "a map or null"),
        ("rows.filter(r, r.price > 1.0)[0].symbol", "a string"),
        ("price.price > 1.0 ? price.symbol : price.venue.id", "a string or a whole number"),
        ("default(price.close, 1)", "a whole number"),
        ("price?.symbol", "a string or null"),
        ("{'a': 1}.a", "a whole number"),
        ("any", "a value"),
        ("string(any) + 'x'", "a string"),
        ("any == 1", "true or false"),
        ("timestamp('2026-01-01T00:00:00Z') - timestamp(0)", "a string"),
    ],
)
def test_what_is_known_goes_through_an_expression(source: str, says: str) -> None:
    kinds, findings = infer(source, SCOPE)
    assert describe(kinds) == says
    assert findings == []


def test_a_deep_or_large_literal_is_not_looked_at_to_its_end() -> None:
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    assert describe(kinds_of(deep)) == "a list"
    assert describe(kinds_of({str(number): number for number in range(10_000)})) == "a map"
