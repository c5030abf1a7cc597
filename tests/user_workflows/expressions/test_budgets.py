import pytest

from user_workflows.expressions import BudgetExceeded, EvaluationError, ExpressionSyntaxError, Meter, compile_expression
from user_workflows.expressions.budget import MAX_STEPS
from user_workflows.expressions.errors import (
    ChainTooLong,
    OutputTooLarge,
    PatternTooLong,
    SourceTooLong,
    TooDeep,
    TooManyNodes,
    TooManySteps,
    TooMuchMemory,
)


@pytest.mark.parametrize(
    ("within", "beyond", "error"),
    [
        ("'" + "a" * 8_190 + "'", "'" + "a" * 8_191 + "'", SourceTooLong),
        ("'" + "é" * 4_095 + "'", "'" + "é" * 4_096 + "'", SourceTooLong),
        ("[" + "1," * 1_999 + "]", "[" + "1," * 2_000 + "]", TooManyNodes),
        ("(" * 47 + "1" + ")" * 47, "(" * 48 + "1" + ")" * 48, TooDeep),
        ("[" * 47 + "1" + "]" * 47, "[" * 48 + "1" + "]" * 48, TooDeep),
        ("1" + "+1" * 200, "1" + "+1" * 201, ChainTooLong),
        ("!" * 200 + "true", "!" * 201 + "true", ChainTooLong),
        ("{}" + "?.a" * 200, "{}" + "?.a" * 201, ChainTooLong),
        ("true?1:" * 200 + "1", "true?1:" * 201 + "1", ChainTooLong),
    ],
)
def test_the_source_has_bounds(within: str, beyond: str, error: type[ExpressionSyntaxError]) -> None:
    compile_expression(within).evaluate({})
    with pytest.raises(error) as caught:
        compile_expression(beyond)
    assert caught.value.position is not None
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("range(1000).map(x, range(1000).map(y, x))", TooManySteps),
        ("range(1000).all(x, s.contains('b') == false)", TooManySteps),
        ("range(1000).all(x, s == s)", TooManySteps),
        ("range(1000).all(x, x in l) == range(100000000).exists(x, false)", BudgetExceeded),
        ("s + s + s + s + s", TooMuchMemory),
        ("'a'.repeat(5000000)", TooMuchMemory),
        ("s.replace('a', 'bbbbb')", TooMuchMemory),
        ("range(1000).map(x, 'y'.repeat(9000)).size()", TooMuchMemory),
        ("[s, s]", OutputTooLarge),
        ("cel.bind(a, range(30), cel.bind(b, a.map(x, a), cel.bind(c, b.map(x, b), c.map(x, c))))", OutputTooLarge),
        ("deep", OutputTooLarge),
        ("deep == deep", OutputTooLarge),
    ],
)  # fmt: skip
def test_an_evaluation_has_bounds(source: str, error: type[BudgetExceeded]) -> None:
    deep: list[object] = []
    for _ in range(500):
        deep = [deep]
    scope = {"s": "a" * 1_000_000, "l": list(range(1_000)), "deep": deep}
    with pytest.raises(error):
        compile_expression(source).evaluate(scope)


def test_a_budget_is_not_absorbed_by_logic() -> None:
    with pytest.raises(TooManySteps):
        compile_expression("range(1000).all(x, range(1000).all(y, true)) || true").evaluate({})
    with pytest.raises(TooMuchMemory):
        compile_expression("default('a'.repeat(100000000), 1)").evaluate({})


def test_a_regular_expression_has_bounds() -> None:
    assert compile_expression("'a'.matches(p)").evaluate({"p": "a" + "b*" * 255}) is True
    with pytest.raises(PatternTooLong) as caught:
        compile_expression("'a'.matches(p)").evaluate({"p": "a" * 513})
    assert (caught.value.type, caught.value.position) == ("expression.patternTooLong", 4)
    with pytest.raises(EvaluationError, match=r"RE2|repeats too much"):
        compile_expression("'a'.matches(p)").evaluate({"p": "((a{1,100}){1,100}){1,100}"})


def test_steps_do_not_depend_on_the_size_of_the_context() -> None:
    expression = compile_expression("nodes.price.output.changePercent <= -vars.threshold")
    used = []
    for size in (1, 100_000):
        meter = Meter()
        output = {"changePercent": -6.2, "history": list(range(size))}
        assert expression.evaluate({"nodes": {"price": {"output": output}}, "vars": {"threshold": 5}}, meter) is True
        used.append(MAX_STEPS - meter.steps)
    assert used[0] == used[1] < 20


def test_straight_code_and_loops_are_charged_by_what_they_do() -> None:
    def steps(source: str) -> int:
        meter = Meter()
        compile_expression(source).evaluate({}, meter)
        return MAX_STEPS - meter.steps

    assert steps("1") == 1
    assert steps("1 + 2") == 3
    assert steps("range(2000).map(x, x)") - steps("range(1000).map(x, x)") in range(4_000, 5_000)
    assert steps("false && range(1000).all(x, true)") < 20
