"""Hostile input: whatever is written, the answer comes soon, in little memory, and is a value or a typed error."""

import time
import tracemalloc
from typing import Any

import pytest

from tests.figures import Figures
from user_workflows.expressions import ExpressionError, compile_expression


def _context() -> dict[str, Any]:
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    return {
        "s": "a" * 1_000_000,
        "t": "a" * 2_400,
        "u": "é" * 500_000,
        "w": "a " * 300_000,
        "l": list(range(100_000)),
        "ls": ["x" * 50 + str(number) for number in range(20_000)],
        "lf": [number * 1.5 for number in range(50_000)],
        "same": ["p" * 10_000 + str(number % 3) for number in range(300)],
        "m": {f"k{number}": number for number in range(50_000)},
        "mm": [{"a": number, "b": str(number)} for number in range(20_000)],
        "deep": deep,
    }


SCOPE = {"input": _context(), "vars": {}}


def _nest(left: str, right: str, count: int, core: str = "1") -> str:
    return left * count + core + right * count


def _doubling(first: str, step: str, last: str) -> str:
    """Return an expression that builds eight times more in each of six rounds."""
    source = last
    for name, before in ("gf", "fe", "ed", "dc", "cb", "ba"):
        source = f"cel.bind({name}, {step.replace('_', before)}, {source})"
    return f"cel.bind(a, {first}, {source})"


SOURCE = {
    "parentheses": _nest("(", ")", 4_000),
    "lists": _nest("[", "]", 4_000),
    "maps": _nest("{1:", "}", 2_000),
    "calls": _nest("size(", ")", 1_300),
    "loops": _nest("[1].map(a,", ")", 600, "a"),
    "nested loops": _nest("range(10).map(a,", ")", 40, "a"),
    "not": "!" * 8_000 + "true",
    "minus": "-" * 8_000 + "1",
    "not and minus": "!-" * 4_000 + "1",
    "ternaries": "true?" * 1_000 + "1" + ":1" * 1_000,
    "flat ternaries": "false?1:" * 1_000 + "1",
    "sum": "+".join(["1"] * 4_000),
    "selections": "input" + ".a" * 4_000,
    "indexes": "input" + "[0]" * 2_700,
    "a long name": "a" * 8_190,
    "many digits": "1" * 8_000,
    "unclosed strings": '"""' * 2_700,
    "backslashes": "'" + "\\" * 8_000,
    "unknown functions": "[" + ",".join(f"siz{number}()" for number in range(700)) + "]",
    "items": "[" + ",".join("1" for _ in range(4_000)) + "]",
    "entries": "{" + ",".join(f"{number}:1" for number in range(1_200)) + "}",
    "too long": "1+" * 100_000 + "1",
}

TIME = {
    "loops in loops": "range(1000).map(a,range(1000).map(b,range(1000).map(c,a*b*c)))",
    "a huge range": "range(1000000000000)",
    "errors absorbed": "range(60000).exists(x,1/0==x)",
    "errors within": "range(20000).exists(x,input.l.nope==x)",
    "absence asked for": "range(60000).filter(x,has(input.nope))",
    "absence borne": "range(60000).filter(x,input.nope?.a.b.c==x)",
    "defaults": "range(60000).map(x,default(input.nope,x))",
    "all": "input.l.all(x,x>=0)",
    "filter": "input.l.filter(x,x%2==0)",
    "sort": "input.l.sort().size()",
    "sort equal prefixes": "range(100).map(x,input.same.sort())",
    "sortBy": "input.l.sortBy(x,-x)",
    "distinct": "input.l.distinct()",
    "distinctBy": "input.l.distinctBy(x,x)",
    "in, squared": "input.l.map(x,x in input.l)",
    "in strings": "range(3000).map(x,'x' in input.ls)",
    "equal strings": "range(20000).map(x,input.s==input.s)",
    "equal copies": "range(20000).map(x,input.s+'a'==input.s+'a')",
    "equal lists": "range(100).map(x,input.l==input.l)",
    "equal by sharing": _doubling("[1,1,1,1,1,1,1,1]", "[_,_,_,_,_,_,_,_]", "g==[f,f,f,f,f,f,f,f]"),
    "less": "range(20000).map(x,input.s<input.s)",
    "search": "range(20000).map(x,input.s.contains('aaaaaaaaaaaab'))",
    "search, middling": "cel.bind(n,'a'.repeat(600)+'b'+'a'.repeat(600),range(20000).map(x,input.t.contains(n)))",
    "search, long": "cel.bind(n,'a'.repeat(5000)+'b'+'a'.repeat(5000),range(20000).map(x,input.s.contains(n)))",
    "search, periodic": "cel.bind(n,'ab'.repeat(500)+'b',range(20000).map(x,input.s.contains(n)))",
    "startsWith": "range(20000).map(x,input.s.startsWith(input.s))",
    "many conditions": "||".join(["input.s.contains('zzzzzzzzzzzzzzzzzzz')"] * 100),
    "characters": "range(40000).map(x,input.s.charAt(x)).join()",
    "trim": "range(20000).map(x,input.w.trim().size())",
    "sums": "range(30).map(x,input.l.sum())",
    "averages": "range(30).map(x,input.lf.avg())",
    "powers": "range(30000).map(x,pow(1.0001,x))",
    "a huge power": "pow(2,100000000)",
    "groups": "input.l.groupBy(x,x%1000)",
    "sets": "sets.equivalent(input.l,input.l)",
    "indexOf": "range(1000).map(x,input.l.indexOf(99999))",
    "flatten": "input.deep.flatten(1000000)",
    "zones": "range(5000).map(x,timestamp(x).getHours('Europe/Berlin'))",
    "no zones": "range(5000).exists(x,timestamp(x).getHours('Nope/Zone')==3)",
    "times": "range(60000).map(x,timestamp(x))",
    "times as text": "range(3000).map(x,timestamp(x).format('%Y-%m-%dT%H:%M:%S%z','Europe/Berlin'))",
    "times from text": "range(3000).map(x,timestamp.parse('2024-01-01 10:00','%Y-%m-%d %H:%M'))",
    "names of days": "timestamp.parse('a'.repeat(199)+'1','%A'.repeat(33))",
    "a format of clauses": "'%d'.repeat(100000).format(range(100000))",
    "percent signs": "'%'.repeat(1000000).format([])",
    "stars": "input.s.matches('(a*)*b')",
    "a blow-up of states": "input.s.matches('((a{1,30}){1,30})b')",
    "alternatives": "range(500).map(x,input.s.matches('(a|aa)+$'))",
    "patterns": "range(3000).map(x,'a'.matches('a{'+string(x%900+1)+'}'))",
    "optional letters": "input.s.matches('(?:a?){300}a{300}')",
    "classes": "input.u.matches('(\\\\pL+\\\\pL+)+[^é]$')",
    "replaced matches": "regex.replace(input.s,'a','bbbbbbbbbb')",
    "empty matches": "regex.replace(input.s,'','b')",
    "all matches": "regex.extractAll(input.u,'.')",
    "an evil email": "range(2000).map(x,input.t.matches('^(([a-z])+.)+[A-Z]([a-z])+$'))",
    "encode": "range(10).map(x,json.encode(input.mm).size())",
    "numbers of digits": "json.decode('1'.repeat(100000))",
    "url": "range(10).map(x,url.encode(input.u).size())",
}

MEMORY = {
    "strings": _doubling("'xxxxxxxxxxxxxxxx'", "_+_+_+_+_+_+_+_", "g"),
    "lists": _doubling("[1,1,1,1,1,1,1,1]", "[_,_,_,_,_,_,_,_]", "[g,g,g,g,g,g,g,g]"),
    "joined lists": _doubling("[1,1,1,1,1,1,1,1]", "_+_+_+_+_+_+_+_", "g"),
    "json of lists": _doubling("[1,1,1,1,1,1,1,1]", "[_,_,_,_,_,_,_,_]", "json.encode([g,g,g,g,g,g,g,g])"),
    "repeat": "'a'.repeat(100000000)",
    "repeats": "range(10000).map(x,'a'.repeat(1000))",
    "padding": "'a'.padStart(1000000000)",
    "replace": "input.s.replace('a','aaaaaaaaaaaaaaaa')",
    "replace nothing": "input.s.replace('','xxxxxxxx')",
    "split": "input.s.split('')",
    "split words": "input.w.split(' ')",
    "join": "input.ls.join(input.s)",
    "precision": "'%.99999f'.format([1.0])",
    "formats": "'%s'.repeat(100).format(range(100).map(x,input.l))",
    "format a map": "'%s'.format([input.m])",
    "upper": "range(20).map(x,input.s.upper())",
    "quote": "range(20).map(x,input.s.quote())",
    "base64": "range(10).map(x,base64.encode(input.s))",
    "json arrays": "json.decode('['+'[],'.repeat(200000)+'1]')",
    "json objects": "json.decode('['+'{},'.repeat(20000)+'1]').size()",
    "json depth": "json.decode('['.repeat(100000))",
    "maps": "range(40000).map(x,{'a':x})",
    "merges": "range(1000).map(x,input.m.merge(input.m))",
    "entries": "input.m.entries()",
    "chunks": "input.l.chunk(1)",
    "zips": "input.l.zip(input.l)",
    "takes": "range(20000).map(x,input.l.take(50000))",
    "all of it": "input",
    "too deep": "[input.deep,[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[input.deep]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
}

#: Unicode, numbers at their edges, times, macros in macros, long chains
ODD = {
    "a family of emoji": "range(50).map(x,'\U0001f468\u200d\U0001f469'.repeat(x*800).indexOf('\U0001f467'))",
    "marks on one letter": "('e'+'\u0301'.repeat(400000)).upper().matches('^E.*$')",
    "letters that grow": "range(20).map(x,'\u0390\ufb03\u1e9e'.repeat(100000).upper().size())",
    "every second character": "input.u.replace('\u00e9','e\u0301').size()",
    "a turkish i": "range(3000).map(x,'\u0130'.repeat(300).lower()==('i'+string(x)))",
    "a pattern of one class": "input.u.matches('['+'a-z\u00e9'.repeat(100)+']+$')",
    "patterns in patterns": "range(2000).map(x,regex.replace(input.t,'('+'a'.repeat(x%200+1)+')','x$1'))",
    "extract nested": "range(200).map(x,regex.extractAll(input.t,'(?:(?:a{1,9}){1,9}){1,9}').size())",
    "macros in macros": "range(9).map(a,range(9).map(b,range(9).map(c,range(9).map(d,range(9).map(e,range(9))))))",
    "filters in filters": "range(50000).filter(x,range(50).exists(y,y==x&&range(1000).filter(w,w==y).size()>0))",
    "sort by sorted": "range(300).sortBy(x,range(1000).map(y,y*x%97).sort())",
    "groups of groups": "range(30000).groupBy(x,string(x)).groupBy(k,k.size()) ",
    "squares of maps": "range(400).map(x,range(400).transformMap(i,v,v*x)).size()",
    "doubling by reduce": "range(60).map(x,'ab').join('x'.repeat(60000)).split('x').join('y'.repeat(4)).size()",
    "replace grows twice": "'a'.repeat(2000).replace('a','bb'.repeat(500)).replace('b','cc'.repeat(500))",
    "split by what is everywhere": "input.w.split('a').map(x,x+x).join('').split(' ').size()",
    "format wide": "'%1000000d %1000000s %.400e'.format([1,'a',1.5])",
    "format of itself": "'%s%s%s%s'.format([input.l,input.l,input.l,input.l]).size()",
    "huge ints": "range(40000).map(x,9223372036854775807-x).map(y,y*y)",
    "ints that overflow": "range(60000).exists(x,9223372036854775807+x==0)",
    "modulo by nothing": "range(60000).exists(x,x%0==1)",
    "doubles to the edge": "range(40000).map(x,1.7976931348623157e308*double(x))",
    "huge durations": "range(20000).map(x,duration('9223372036s')+duration('9223372036s'))",
    "durations from text": "range(20000).map(x,duration(string(x)+'h'+string(x%60)+'m0.'+'1'.repeat(9)+'s'))",
    "a duration of units": "duration('1h'.repeat(4000))",
    "the end of time": "range(20000).map(x,timestamp('9999-12-31T23:59:59Z')+duration(string(x)+'s'))",
    "days of zones": "range(4000).map(x,timestamp(x*86400).getDayOfYear('Pacific/Apia'))",
    "numbers as text": "range(30000).map(x,int(string(x)+'0'.repeat(x%400))) ",
    "a double of digits": "range(3000).map(x,double('0.'+'3'.repeat(3000)+string(x)))",
    "a deep chain": "input.mm" + ".map(x,x)" * 190,
    "a deep chain of filters": "input.l" + ".filter(x,x>=0)" * 199 + ".size()",
    "optional all the way": "input" + "?.nope" * 199,
    "conditions in conditions": "range(1000).map(x," + "x>1?(x>2?(x>3?x:" * 12 + "0" + "):1):2" * 12 + ")",
    "has in has": "range(30000).all(x,has(input.m.k1)&&!has(input.nope.a)&&has(input.m['k'+string(x)]))",
    "equal deep": "range(3000).map(x,input.deep==input.deep)",
    "json there and back": "range(20).map(x,json.decode(json.encode(input.lf)).size())",
    "json of quotes": "json.encode('\\\\\"'.repeat(300000)).size()",
    "unicode escapes": "json.encode(input.u).size()+url.encode(input.u).size()+base64.encode(input.u).size()",
    "set of lists": "sets.contains(range(2000).map(x,[x]),range(2000).map(x,[x]))",
    "distinct maps": "range(3000).map(x,{'a':x%7,'b':[x%5]}).distinct()",
    "in a list of maps": "range(3000).map(x,{'a':x,'b':string(x)} in input.mm)",
    "pick and omit": "range(3000).map(x,input.m.omit(['k'+string(x)]).size())",
    "last of slices": "range(20000).map(x,input.l.slice(x,x+50000).size())",
    "chars of chars": "range(200).map(x,input.t.split('').map(c,c.repeat(9)).join('').size())",
}

HOSTILE = {**SOURCE, **TIME, **MEMORY, **ODD}

#: seconds of CPU, where counting to a million takes `COUNTING`; the worst takes two thirds of it
MAX_SECONDS = 0.15
COUNTING = 0.04
#: bytes, and what each may take at most is 64 MiB
MAX_BYTES = 16 * 1024 * 1024


def _run(source: str) -> ExpressionError | None:
    try:
        compile_expression(source).evaluate(SCOPE)
    except ExpressionError as error:
        return error.with_traceback(None)
    return None


def _counting() -> float:
    """Return the seconds that this machine takes for it at the moment."""
    started = time.thread_time()
    number = 0
    while number < 1_000_000:
        number += 1
    return time.thread_time() - started


def test_the_corpus_is_large() -> None:
    assert len(HOSTILE) >= 60


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_input_takes_little_time(name: str, figures: Figures) -> None:
    error, seconds = None, []
    # The best of many: on a busy machine even a thread's own time grows, as that of counting does.
    for _ in range(12):
        started = time.thread_time()
        error = _run(HOSTILE[name])
        taken = time.thread_time() - started
        seconds.append(taken if taken < MAX_SECONDS else taken / max(1.0, _counting() / COUNTING))
        if seconds[-1] < MAX_SECONDS:
            break
    figures("T20", expressions=1, seconds=min(seconds))
    assert min(seconds) < MAX_SECONDS
    assert error is None or (error.type.startswith("expression.") and len(error.message) <= 300)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_input_takes_little_memory(name: str, figures: Figures) -> None:
    tracemalloc.start()
    try:
        _run(HOSTILE[name])
        _, most = tracemalloc.get_traced_memory()
        figures("T20", mebibytes=most / 2**20)
        assert most < MAX_BYTES
    finally:
        tracemalloc.stop()
