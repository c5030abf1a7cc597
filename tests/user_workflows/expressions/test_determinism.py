import os
import subprocess
import sys

_PROGRAM = """
import json
from user_workflows.expressions import compile_expression, compile_template
scope = {"input": {name: [name, {"k" + name: 1}] for name in ("b", "a", "d", "c", "e", "f")}, "vars": {}}
sources = [
    "input.map(k, k)", "input.keys()",
    "input.entries()", "input.values().flatten().distinct()",
    "input.omit('a')",
    "input.merge({'z': 1, 'y': 2, true: 3, 1: 4})", "'%s'.format([input])", "json.encode(input)",
    "input.keys().groupBy(k, k < 'c')", "input.map(k, k).sortBy(k, size(k))", "input.transformMap(k, v, size(v))",
    "['x', 1, 'x', 1.0, true].distinct()", "regex.extractAll('a1b2', '[a-z]')", "input.pick(['f', 'a'])",
    "timestamp('2026-05-01T00:00:00Z').format('%c')", "nope.x", "fooo(1)", "input.a.nope",
    "sets.contains(['a'], ['b'])",
]
for source in sources:
    try:
        print(json.dumps(compile_expression(source).evaluate(scope)))
    except Exception as error:
        print(type(error).__name__, error)
try:
    compile_template(["{{ nope.x + fooo(1) + siz(2) }}", "{{ 1 + }}"])
except Exception as error:
    print(error)
"""


def _output(seed: str) -> bytes:
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    command = [sys.executable, "-c", _PROGRAM]
    return subprocess.run(command, env=environment, check=True, capture_output=True).stdout


def test_values_errors_and_their_order_are_the_same_in_every_process() -> None:
    first = _output("1")
    assert first.count(b"\n") == 20
    assert _output("2") == first
    assert _output("4000000000") == first
