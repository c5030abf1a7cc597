from typing import Any

import pytest

from user_workflows.expressions import Absent, EvaluationError, ExpressionSyntaxError, compile_expression

SCOPE: dict[str, Any] = {
    "nodes": {
        "price": {"output": {"symbol": "AAPL", "changePercent": -6.2, "history": [3, 1, 2]}},
        "dropped": {"true": {"ok": True}},
        "odd": {"output": {"content-type": "text/plain", "null": None, "in": 1}},
    },
    "vars": {"threshold": 5, "email": "alerts@example.com"},
    "input": {"users": [{"name": "Ada", "age": 36}, {"name": "Bob", "age": 17}], "empty": []},
    "trigger": None,
}


def evaluate(source: str) -> Any:
    return compile_expression(source).evaluate(SCOPE)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("nodes.price.output.changePercent <= -vars.threshold", True),
        ("nodes['price']['output'].history[1]", 1),
        ("nodes.odd.output.`content-type`", "text/plain"),
        ("nodes.odd.output.in", 1),
        ("input.users.filter(u, u.age >= 18).map(u, u.name)", ["Ada"]),
        ("input.users.exists(u, u.name == 'Bob') ? 'yes' : 'no'", "yes"),
        ("1 + 2 * 3 - 4 / 2", 5),
        ("(1 + 2) * 3 % 4", 1),
        ("7 / 2", 3),
        ("-7 / 2", -3),
        ("-7 % 3", -1),
        ("7 / 2.0", 3.5),
        ("1 + 0.5", 1.5),
        ("2 == 2.0 && 1 != true && '1' != 1", True),
        ("1 < 2 == true", True),
        ("!false && !!true", True),
        ("--1", 1),
        ("-vars.threshold - -1", -4),
        ("'a' + \"b\" + '''c'd''' + r'\\n'", "abc'd\\n"),
        ("'\\u00e9\\x41\\101\\n\\U0001F600'", "éAA\n😀"),
        ("[1, 'two', [3.0], {'four': null},]", [1, "two", [3.0], {"four": None}]),
        ("{'a': 1, 2: 'b', true: []}", {"a": 1, "2": "b", "true": []}),
        ("{true: 1, 1: 2}[true]", 1),
        ("3 in [1, 2, 3.0] && 'a' in {'a': 1} && !(true in [1])", True),
        ("false ? 1 : true ? 2 : 3", 2),
        ("1 // a comment\n + 1", 2),
        ("0x10 + 1e2 + .5", 116.5),
        ("[1, 2, 3].map(x, x > 1, x * x)", [4, 9]),
        ("[1, 2].map(x, [3, 4].map(y, x * y))", [[3, 4], [6, 8]]),
        ("{'a': 1, 'b': 2}.map(k, k)", ["a", "b"]),
        ("[5, 6].transformList(i, v, i * v)", [0, 6]),
        ("{'a': 1}.transformMap(k, v, k + string(v))", {"a": "a1"}),
        ("['x', 'y'].transformMapEntry(i, v, {v: i})", {"x": 0, "y": 1}),
        ("cel.bind(x, 2, cel.bind(y, x + 1, x * y))", 6),
        ("[3, 1, 2].sortBy(x, -x)", [3, 2, 1]),
        ("[1, 2, 3].groupBy(x, x % 2 == 0)", {"false": [1, 3], "true": [2]}),
        ("[[1, 'a'], [1, 'b'], [2, 'c']].distinctBy(x, x[0]).map(x, x[1])", ["a", "c"]),
        ("input.users.find(u, u.age < 18).name", "Bob"),
        ("input.users.find(u, u.age > 99)", None),
        ("[1, 2].exists_one(x, x == 1) && [1, 2].existsOne(x, x == 2)", True),
        ("type(1) == int && type(null) == null_type && type([]) == list", True),
        ("timestamp('2026-05-01T09:00:00Z') + duration('90m')", "2026-05-01T10:30:00Z"),
        ("timestamp('2026-05-02T00:00:00Z') - timestamp('2026-05-01T00:00:00Z')", "86400s"),
        ("duration('1d') == duration('24h')", True),
    ],
)
def test_an_expression_has_its_value(source: str, value: Any) -> None:
    result = evaluate(source)
    assert (result, type(result)) == (value, type(value))


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("nodes.skipped?.output", None),
        ("nodes.skipped.output?.symbol", None),
        ("nodes?.skipped.output.symbol", None),
        ("nodes.skipped?.output.users.map(u, u.name).join(',')", None),
        ("nodes.dropped.output?.x", None),
        ("nodes.price.output?.symbol", "AAPL"),
        ("input?.absent", None),
        ("input.absent?.name", None),
        ("input?.absent.name", None),
        ("input?.[input.users[0].name]", None),
        ("input.users?.[7].name", None),
        ("input.users?.[0].name", "Ada"),
        ("trigger?.body.user", None),
        ("item?.x", None),
        ("[{'a': 1}, {}].map(x, x?.a)", [1, None]),
        ("true ?.5 : 1", 0.5),
    ],
)
def test_optional_selection_gives_null_for_what_is_absent(source: str, value: Any) -> None:
    assert evaluate(source) == value


def test_optional_selection_does_not_hide_what_is_absent_earlier_or_elsewhere() -> None:
    with pytest.raises(Absent, match="'absent'"):
        evaluate("input.absent.more.still?.x")
    with pytest.raises(Absent, match="'absent'"):
        evaluate("input?.[vars.absent]")


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("has(nodes.price.output)", True),
        ("has(nodes.skipped.output)", False),
        ("has(nodes.dropped.output)", False),
        ("has(nodes.skipped)", False),
        ("has(nodes.odd.output.null)", True),
        ("has(nodes.odd.output.null.x)", False),
        ("has(input.users[0].name)", True),
        ("has(input.users[9])", False),
        ("has(index.x)", False),
        ("default(nodes.skipped.output.n, 7)", 7),
        ("default(nodes.odd.output.null, 'none')", "none"),
        ("coalesce(trigger, input.absent, input.empty)", []),
        ("default(input.users[0].name, 'x')", "Ada"),
    ],
)
def test_absence_can_be_asked_for(source: str, value: Any) -> None:
    assert evaluate(source) == value


def test_a_skipped_node_is_named() -> None:
    with pytest.raises(Absent, match=r"node 'skipped' has no output: it was skipped") as caught:
        evaluate("nodes.skipped.output.symbol == 'AAPL'")
    assert (caught.value.type, caught.value.node_id, caught.value.position) == ("expression.nodeAbsent", "skipped", 6)
    with pytest.raises(Absent, match=r"node 'dropped' did not leave by 'false'"):
        evaluate("nodes.dropped.false.ok")
    with pytest.raises(Absent, match=r"node 'skipped'"):
        evaluate("size(nodes['skipped']['output'])")


@pytest.mark.parametrize(
    "source",
    ["1/0 == 1 || true", "true || 1/0 == 1", "!(1/0 == 1 && false)", "[0, 1].exists(x, 1/x == 1)", "nodes.b.c || true"],
)
def test_logic_absorbs_an_error_that_does_not_matter(source: str) -> None:
    assert evaluate(source) is True


@pytest.mark.parametrize(
    ("source", "type", "position"),
    [
        ("1 + 1/0", "expression.divisionByZero", 5),
        ("9223372036854775807 + 1", "expression.overflow", 20),
        ("'a' + 1", "expression.noSuchOverload", 4),
        ("1 < 'a'", "expression.noSuchOverload", 2),
        ("input.users[2]", "expression.indexOutOfRange", 11),
        ("input.users[-1]", "expression.indexOutOfRange", 11),
        ("input.nope", "expression.noSuchKey", 6),
        ("vars.email.length", "expression.noSuchOverload", 11),
        ("trigger.body", "expression.nullValue", 8),
        ("item + 1", "expression.unknownName", 0),
        ("0.0 / 0.0", "expression.notANumber", 0),
        ("[1e308 * 10.0]", "expression.notANumber", 0),
        ("{'a': 1, 'a': 2}", "expression.duplicateKey", 0),
        ("{1: 1, '1': 2}", "expression.duplicateKey", 0),
        ("frobnicate(1)", "expression.noSuchFunction", 0),
        ("'a'.uper()", "expression.noSuchFunction", 4),
        ("'a'.matches('(')", "expression.invalidPattern", 4),
        ("timestamp('yesterday')", "expression.invalidArgument", 0),
        ("vars.threshold ? 1 : 2", "expression.noSuchOverload", 0),
        ("vars.email && true", "expression.noSuchOverload", 11),
        ("vars.email.upper(1, 2)", "expression.noSuchFunction", 11),
        ("input.users.map(u, u.nope)", "expression.noSuchKey", 21),
    ],
)
def test_a_failure_has_a_type_and_a_position(source: str, type: str, position: int) -> None:
    with pytest.raises(EvaluationError) as caught:
        evaluate(source)
    assert (caught.value.type, caught.value.position) == (type, position)


@pytest.mark.parametrize(
    ("source", "message", "position"),
    [
        ("", "empty", 0),
        ("1 +", "ends too early", 3),
        ("(1", "')' is needed", 2),
        ("1 2", "unexpected 2", 2),
        ("a = 1", "write ==", 2),
        ("a and b", "write &&", 2),
        ("1u", "no unsigned", 1),
        ("b'x'", "bytes", 0),
        ("'abc", "not closed", 0),
        ("'\\q'", "\\q is no escape", 0),
        ("'\\ud800'", "no Unicode character", 0),
        ("9223372036854775808", "64 bits", 0),
        ("a.", "field name", 2),
        ("has(a)", "one selection", 0),
        ("[1].map(x)", "write map(variable, expression)", 4),
        ("[1].map(1, 2)", "plain variable name", 8),
        ("for", "reserved", 0),
        ("$json.x", "not part of this language", 0),
        ("{1}", "':' is needed", 2),
        ("f(1,)", "unexpected", 4),
    ],
)
def test_a_syntax_error_says_where_and_how_to_mend_it(source: str, message: str, position: int) -> None:
    with pytest.raises(ExpressionSyntaxError) as caught:
        compile_expression(source)
    assert message in caught.value.message
    assert caught.value.position == position


def test_an_unknown_function_is_a_fault_before_it_is_evaluated() -> None:
    (fault,) = compile_expression("true || uppper('a')").faults
    assert "uppper" in fault.message
    (fault,) = compile_expression("'a'.uper()").faults
    assert "'upper' is near" in fault.message
    (fault,) = compile_expression("'a'.toUpperCase()").faults
    assert "write upper()" in fault.message
    (fault,) = compile_expression("upper('a')").faults
    assert "write value.upper" in fault.message
    (fault,) = compile_expression("x.matches('[')").faults
    assert fault.type == "expression.invalidPattern"
    assert compile_expression("size(input) > 0").faults == ()


def test_data_that_is_not_of_json_is_refused() -> None:
    for source in (
        "x",
        "type(x)",
        "x + 1",
        "x.a",
        "x[0]",
        "string(x)",
        "x == 1 ? x : x",
        "'%s'.format([x])",
        "x.size()",
    ):
        with pytest.raises(EvaluationError):
            compile_expression(source).evaluate({"x": (1, 2)})


def test_half_a_character_is_refused() -> None:
    with pytest.raises(EvaluationError, match="half a character"):
        compile_expression("input").evaluate({"input": ["\ud800"]})


def test_the_result_shares_nothing_with_the_input() -> None:
    result = evaluate("input")
    result["users"].append(1)
    assert len(SCOPE["input"]["users"]) == 2


def test_host_attributes_are_out_of_reach() -> None:
    for source in ("''.__class__", "input.__class__", "vars.keys", "[].append", "{}.__init__.__globals__"):
        with pytest.raises(EvaluationError):
            evaluate(source)
