from typing import Any

import pytest

from user_workflows.expressions import EvaluationError, compile_expression
from user_workflows.expressions.functions import FUNCTIONS, METHODS
from user_workflows.expressions.macros import MACROS

T = "timestamp('2026-05-01T09:05:07.123456789Z')"

VALUES: list[tuple[str, Any]] = [
    # conversions
    ("int('42') + int(1.9) + int(timestamp('1970-01-01T00:00:10Z'))", 53),
    ("double('1.5e2') + double(1)", 151.0),
    ("string(1) + string(1.0) + string(0.1) + string(true) + string(duration('1m'))", "110.1true60s"),
    ("string(1e21) + ' ' + string(1.5e-7) + ' ' + string(0.00001) + ' ' + string(-0.0)", "1e+21 1.5e-7 0.00001 -0"),
    ("bool('true') && !bool('F')", True),
    ("string(timestamp(0))", "1970-01-01T00:00:00Z"),
    ("duration('1h30m') + duration('-2.5s') + duration('1ms')", "5397.501s"),
    ("type(1) == int && type(type(1)) == type", True),
    ("dyn(1)", 1),
    # numbers
    ("[abs(-3), abs(-3.5), math.abs(-1)]", [3, 3.5, 1]),
    ("[ceil(1.2), floor(-1.2), trunc(-1.9), round(2.5), round(-2.5), round(7)]", [2, -2, -1, 3, -3, 7]),
    ("[round(1.005, 2), round(2.675, 2), round(-1.25, 1), round(3, 2)]", [1.01, 2.68, -1.3, 3]),
    ("round(0.1 + 0.2, 4)", 0.3),
    ("[math.ceil(1.2), math.floor(-1.2), math.trunc(-1.9), math.round(-1.5)]", [2.0, -2.0, -1.0, -2.0]),
    ("[sign(-5), sign(2.5), math.sign(0)]", [-1, 1.0, 0]),
    ("[sqrt(9), math.sqrt(2.25), pow(2, 10), pow(2, -1), math.pow(4.0, 0.5)]", [3.0, 1.5, 1024, 0.5, 2.0]),
    ("[pow(-1, 1000001), pow(1, 9000000000), pow(0, 0)]", [-1, 1, 1]),
    ("[log(1), log(1000, 10), math.log(8, 2)]", [0.0, 3.0, 3.0]),
    ("[math.greatest(1, 2.5), math.least([3, 1, 2])]", [2.5, 1]),
    ("[math.isNaN(0.0 / 0.0), math.isInf(1.0 / 0.0), math.isFinite(1.0)]", [True, True, True]),
    ("[math.bitAnd(6, 3), math.bitOr(6, 3), math.bitXor(6, 3), math.bitNot(0)]", [2, 7, 5, -1]),
    ("[math.bitShiftLeft(1, 63), math.bitShiftRight(-1, 63), math.bitShiftLeft(1, 64)]", [-(2**63), 1, 0]),
    ("[min(3, 1, 2), max([3, 1, 2]), min('b', 'a')]", [1, 3, "a"]),
    # strings
    ("['abc'.startsWith('ab'), 'abc'.endsWith('bc'), 'abc'.contains('b'), [1, 2].contains(2)]", [True] * 4),
    ("'abc'.matches('^a.c$') && matches('abc', 'b') && regex.matches('abc', 'c$')", True),
    ("['abc'.charAt(1), 'abc'.substring(1), 'abc'.substring(0, 2)]", ["b", "bc", "ab"]),
    ("['abcab'.indexOf('b'), 'abcab'.indexOf('b', 2), 'abcab'.lastIndexOf('b'), 'a'.indexOf('z')]", [1, 4, 4, -1]),
    ("[[1, 2, 1].indexOf(1), [1, 2, 1].lastIndexOf(1), [1].indexOf('1')]", [0, 2, -1]),
    ("'a-b-c'.replace('-', '+') + 'a-b-c'.replace('-', '', 1)", "a+b+cab-c"),
    ("'a,b,c'.split(',') + 'a,b,c'.split(',', 2) + 'ab'.split('')", ["a", "b", "c", "a", "b,c", "a", "b"]),
    ("['a', 'b'].join('-') + ['c', 'd'].join()", "a-bcd"),
    ("['ÄbC'.lowerAscii(), 'äbC'.upperAscii(), 'ÄB'.lower(), 'äb'.upper()]", ["Äbc", "äBC", "äb", "ÄB"]),
    ("['hello wORLD'.title(), 'hello world'.capitalize()]", ["Hello World", "Hello world"]),
    ("[' a '.trim(), ' a '.trimStart(), ' a '.trimEnd()]", ["a", "a ", " a"]),
    ("['7'.padStart(3, '0'), '7'.padEnd(3), 'long'.padStart(2)]", ["007", "7  ", "long"]),
    ("'ab'.repeat(3)", "ababab"),
    ("'a\\r\\nb\\nc'.lines()", ["a", "b", "c"]),
    ("'abc'.reverse() + [1, 2].reverse().map(x, string(x)).join()", "cba21"),
    ("'a\"b'.quote() == strings.quote('a\"b')", True),
    ("'%s is %.2f %% of %d: %x %e'.format(['a', 1.5, 42, 255, 12345.678])", "a is 1.50 % of 42: ff 1.234568e+04"),
    ("'%s'.format([{'b': [1, null], 'a': 2.0}])", "{a: 2, b: [1, null]}"),
    # regular expressions
    ("regex.extract('order 42', '[0-9]+') + regex.extract('a=1', 'a=(.)')", "421"),
    ("regex.extract('none', '[0-9]+')", None),
    ("regex.extractAll('a1b22', '[0-9]+')", ["1", "22"]),
    (r"regex.replace('2026-05-01', '(\\d+)-(\\d+)-(\\d+)', '\\3.\\2.\\1')", "01.05.2026"),
    (r"regex.replace('aaa', 'a', '\\\\', 2)", "\\\\a"),
    # lists
    ("[size('äb'), size([1]), 'abc'.size(), {'a': 1}.size()]", [2, 1, 3, 1]),
    ("[[1, 2].first(), [1, 2].last(), [].first(), [].last()]", [1, 2, None, None]),
    ("[[1, [2, [3]]].flatten(), [1, [2, [3]]].flatten(5)]", [[1, 2, [3]], [1, 2, 3]]),
    ("[[1, 2, 3].slice(1), [1, 2, 3].slice(0, 1), [1, 2].take(5), [1, 2].skip(1)]", [[2, 3], [1], [1, 2], [2]]),
    ("[3, 1.5, 2].sort() == [1.5, 2, 3] && ['b', 'a'].sort() == ['a', 'b']", True),
    ("[1, 1.0, '1', [1], [1], true, 1, '1'].distinct()", [1, "1", [1], True]),
    ("[[1, 2].sum(), sum([1, 0.5]), [].sum(), avg([1, 2]), [2].avg()]", [3, 1.5, 0, 1.5, 2.0]),
    ("[duration('1s'), duration('2s')].sum()", "3s"),
    ("[[1, 3, 2].min(), [1, 3, 2].max()]", [1, 3]),
    ("[1].concat([2], [3]) + [4].append(5) + [null, 6].compact()", [1, 2, 3, 4, 5, 6]),
    ("[[1, 2, 3].chunk(2), [1, 2].zip(['a', 'b'])]", [[[1, 2], [3]], [[1, "a"], [2, "b"]]]),
    ("[range(3), range(1, 3), range(3, 0, -2), lists.range(2), range(0)]", [[0, 1, 2], [1, 2], [3, 1], [0, 1], []]),
    ("sets.contains([1, 2], [2]) && sets.intersects([1], [1, 2]) && sets.equivalent([1, 1], [1])", True),
    # macros
    ("[1, 2].all(x, x > 0) && [1, 2].exists(i, x, i == 1) && [1].exists_one(x, true) && [1].existsOne(x, true)", True),
    ("[1, 2, 3].filter(x, x > 1).map(x, x * 2)", [4, 6]),
    ("[1, 2].find(x, x > 1)", 2),
    ("['bb', 'a'].sortBy(s, s.size())", ["a", "bb"]),
    ("['a', 'bb', 'c'].groupBy(s, s.size())", {"1": ["a", "c"], "2": ["bb"]}),
    ("['a', 'bb', 'c'].distinctBy(s, s.size())", ["a", "bb"]),
    ("[5].transformList(i, v, v > 1, i + v)", [5]),
    ("[5].transformMap(i, v, v)", {"0": 5}),
    ("[5].transformMapEntry(i, v, {string(v): i})", {"5": 0}),
    # maps
    ("[{'a': 1}.keys(), {'a': 1}.values(), {'a': 1}.entries()]", [["a"], [1], [{"key": "a", "value": 1}]]),
    ("[{'key': 'a', 'value': 1}].fromEntries()", {"a": 1}),
    ("{'a': 1, 'b': 1}.merge({'b': 2}, {'c': 3})", {"a": 1, "b": 2, "c": 3}),
    ("[{'a': 1, 'b': 2}.pick('a', 'z'), {'a': 1, 'b': 2}.omit(['a'])]", [{"a": 1}, {"b": 2}]),
    ("[{'a': 1}.get('a'), {'a': 1}.get('b', 0), [7].get(0), [7].get(1)]", [1, 0, 7, None]),
    # times
    (f"[{T}.getFullYear(), {T}.getMonth(), {T}.getDate(), {T}.getDayOfMonth()]", [2026, 4, 1, 0]),
    (f"[{T}.getDayOfWeek(), {T}.getDayOfYear(), {T}.getHours(), {T}.getMinutes()]", [5, 120, 9, 5]),
    (f"[{T}.getSeconds(), {T}.getMilliseconds()]", [7, 123]),
    (f"[{T}.getHours('Asia/Kolkata'), {T}.getMinutes('+05:30'), {T}.getHours('-10:00')]", [14, 35, 23]),
    ("[duration('100m').getHours(), duration('-100m').getHours(), duration('90s').getMinutes()]", [1, -1, 1]),
    ("[duration('2m').getSeconds(), duration('1.5s').getMilliseconds()]", [120, 500]),
    (f"{T}.format('%Y-%m-%d %H:%M:%S.%L %z')", "2026-05-01 09:05:07.123 +00:00"),
    (f"{T}.format('%A %e %B %y, %I:%M %p', 'America/New_York')", "Friday 1 May 26, 05:05 AM"),
    (f"{T}.format('%a %b %j %V %G %u %f %%')", "Fri May 121 18 2026 5 123456 %"),
    (f"{T}.format('%F %T %s')", "2026-05-01 09:05:07 1777626307"),
    ("timestamp.parse('01.05.2026 09:05', '%d.%m.%Y %H:%M')", "2026-05-01T09:05:00Z"),
    ("timestamp.parse('May 1, 2026 9:05 PM', '%b %d, %Y %I:%M %p', 'Europe/Berlin')", "2026-05-01T19:05:00Z"),
    ("timestamp.parse('2026-05-01T09:05:00.25+0200', '%FT%T.%f%z')", "2026-05-01T07:05:00.25Z"),
    # encodings
    ("json.encode({'a': [1, null, 1.5, 'ü'], 'b': duration('1s')})", '{"a":[1,null,1.5,"ü"],"b":"1s"}'),
    ("json.decode('{\"a\": [1, 2.0]}').a", [1, 2.0]),
    ("[base64.encode('hi?'), base64.encodeUrl('hi?')]", ["aGk/", "aGk_"]),
    ("[base64.decode('aGk/'), base64.decode('aGk_')]", ["hi?", "hi?"]),
    ("[url.encode('a b/ü'), url.decode('a+b%2F%C3%BC')]", ["a%20b%2F%C3%BC", "a b/ü"]),
    ("url.query({'q': 'a b', 'n': [1, 2], 'none': null})", "q=a%20b&n=1&n=2"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "value"), VALUES)
def test_a_function_has_its_value(source: str, value: Any) -> None:
    result = compile_expression(source).evaluate({})
    assert (result, type(result)) == (value, type(value))


def test_every_function_and_macro_is_tried_here() -> None:
    sources = " ".join(source for source, _ in VALUES)
    untried = [name for name in FUNCTIONS if f"{name}(" not in sources]
    untried += [name for name in (*METHODS, *MACROS) if f".{name}(" not in sources]
    assert untried == []


@pytest.mark.parametrize(
    "source",
    [
        "int('1.5')", "int('')", "int(1e30)", "int([])", "double('x')", "double('1e999')", "string([])",
        "bool('yes')", "duration('1 h')", "duration('')", "duration('h')", "timestamp('2026-02-30T00:00:00Z')",
        "timestamp(true)", "timestamp('2026-05-01T00:00:00+25:00')", "duration('300y')", "timestamp('2026-05-01')",
        "sqrt('4')", "pow(2, 64)", "pow(0, -1)", "pow(10.0, 400)", "log(0)", "round(1.5, 99)", "round(0.0 / 0.0)",
        "floor(1e300)", "math.round(1)", "math.bitShiftLeft(1, -1)", "min([])", "max([1, 'a'])", "math.greatest('a')",
        "'abc'.charAt(4)", "'abc'.substring(2, 1)", "'a'.indexOf('a', 5)", "[1].join()", "'a'.repeat(-1)",
        "'a'.padStart(3, 'xx')", "'%s'.format([])", "'%d'.format(['a'])", "'%q'.format([1])", "'%'.format([])",
        "'%.999f'.format([1.0])", "'a'.format('a')", "'a'.matches('(?=x)')", "regex.extract('a', '(a)(b)')",
        r"regex.replace('a', 'a', '\\9')", r"regex.replace('a', 'a', '\\')", "[1, 'a'].sort()", "[[]].sort()",
        "[].avg()", "['a'].sum()", "[1].chunk(0)", "[1].flatten(-1)", "range(1, 2, 0)", "[1].slice(2)",
        "[1.5].groupBy(x, [x])", "[1, 1].transformMapEntry(i, v, {v: i})", "[1].transformMapEntry(i, v, v)",
        "[1].fromEntries()", "1.get('a')", "[].merge([])", "{1.5: 1}", "timestamp(0).getHours('Mars/Base')",
        "timestamp(0).getHours('../../etc/passwd')", "timestamp(0).getHours('localtime')",
        "timestamp(0).format('%Q')", "timestamp.parse('x', '%Y')", "timestamp.parse('2026', '%Q')",
        "timestamp.parse('1 1', '%d %d')", "timestamp.parse('31.02.2026', '%d.%m.%Y')",
        "timestamp(-62135596800).getHours('-10:00')", "json.decode('{')", "json.decode('['.repeat(5000))",
        "base64.decode('*')", "base64.decode('/w==')", "json.encode(0.0 / 0.0)",
    ],
)  # fmt: skip
def test_a_function_refuses_what_it_has_no_value_for(source: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        compile_expression(source).evaluate({})
    assert caught.value.position is not None


def test_methods_of_numbers_strings_and_lists_refuse_other_types() -> None:
    for name, function in METHODS.items():
        arguments = ", ".join(["1"] * function.least)
        with pytest.raises(EvaluationError, match=r"needs|takes|list or a map"):
            compile_expression(f"null.{name}({arguments})").evaluate({})
