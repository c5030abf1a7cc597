"""Random text, random expressions and random data: a value in JSON, or a typed error."""

from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from user_workflows.expressions import ExpressionError, TemplateError, compile_expression, compile_template
from user_workflows.expressions.functions import FUNCTIONS, METHODS
from user_workflows.expressions.macros import MACROS

_SETTINGS = settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
_PIECES = [
    *"()[]{}.,:?!+-*/%<>=&|'\"`\\ \n09aé_$", "?.", "==", "&&", "||", "in ", "has(", "true", "null", "input",
    "nodes.", "'''", "{{", "}}", "r'", "b'", "1.5e3", "0x", "[0]", ".map(x, ", ".all(", "cel.bind(x, ",
    "timestamp('2026-05-01T00:00:00Z')", "duration('1s')",
]  # fmt: skip
_LEAVES = [
    "1", "-1", "0", "2.5", "1e308", "9223372036854775807", "'a'", "''", "'é😀'", "true", "null", "[]", "{}", "x",
    "[1, 'a', null]", "{'a': 1, 'b': [2]}", "input", "input?.a", "timestamp(0)", "duration('1.5s')", "type(1)",
    "'%Y %s'", "'[a-z]+'",
]  # fmt: skip


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def call(name: str, receiver: str, arguments: list[str]) -> str:
        return f"({receiver}).{name}({', '.join(arguments)})"

    operators = st.sampled_from(["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "in", "&&", "||"])
    return st.one_of(
        st.builds(lambda left, operator, right: f"({left} {operator} {right})", inner, operators, inner),
        st.builds(lambda operator, operand: f"{operator}({operand})", st.sampled_from("!-"), inner),
        st.builds(lambda a, b, c: f"({a} ? {b} : {c})", inner, inner, inner),
        st.builds(lambda value, key: f"({value})[{key}]", inner, inner),
        st.builds(lambda a, b: f"[{a}, {b}]", inner, inner),
        st.builds(lambda a, b: f"{{{a}: {b}}}", inner, inner),
        st.builds(call, st.sampled_from(sorted(METHODS)), inner, st.lists(inner, max_size=2)),
        st.builds(
            lambda name, arguments: f"{name}({', '.join(arguments)})",
            st.sampled_from(sorted(FUNCTIONS)),
            st.lists(inner, min_size=1, max_size=3),
        ),
        st.builds(
            lambda name, list_, body: f"({list_}).{name}(x, {body})", st.sampled_from(sorted(MACROS)), inner, inner
        ),
        st.builds(
            lambda name, list_, body: f"({list_}).{name}(k, x, {body})", st.sampled_from(sorted(MACROS)), inner, inner
        ),
    )


def _outcome(source: str, data: Any) -> Any:
    try:
        value = compile_expression(source).evaluate({"input": data, "x": data})
    except ExpressionError as error:
        return type(error), error.type, error.position, error.message
    msgspec.json.encode(value)
    return value


@_SETTINGS
@given(st.lists(st.sampled_from(_PIECES) | st.text(max_size=3), max_size=30).map("".join))
def test_any_text_compiles_or_is_refused(source: str) -> None:
    _outcome(source, {"a": 1})
    try:
        compile_template({"a": source, "b": "{{" + source, "c": "{{" + source + "}}"}).render({"input": 1, "nodes": {}})
    except (TemplateError, ExpressionError) as error:
        pointers = [pointer for pointer, _ in error.faults] if isinstance(error, TemplateError) else [error.pointer]
    else:
        pointers = []
    assert {*pointers} <= {"/a", "/b", "/c"}


@_SETTINGS
@given(st.recursive(st.sampled_from(_LEAVES), _grown, max_leaves=8), _JSON)
def test_any_expression_over_any_data_has_a_value_or_a_typed_error(source: str, data: Any) -> None:
    assert repr(_outcome(source, data)) == repr(_outcome(source, data))


@_SETTINGS
@given(_JSON)
def test_data_passes_through_unchanged(data: Any) -> None:
    result = compile_template("{{ input }}").render({"input": data})
    assert (repr(result), type(result)) == (repr(data), type(data))
    assert compile_expression("input == x").evaluate({"input": data, "x": data}) is True
    assert compile_expression("json.decode(json.encode(input)) == input").evaluate({"input": data}) is True
