"""What is inferred of an expression holds whenever it is evaluated, and what surely fails is told where it fails."""

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
