import time
from typing import Any

from user_workflows.expressions import compile_expression

_CONDITION = "nodes.price.output.changePercent <= -vars.threshold && nodes.price.output.symbol in ['AAPL', 'MSFT']"


def _microseconds(scope: dict[str, Any]) -> float:
    """Return the CPU time of one evaluation, the best of several rounds."""
    expression = compile_expression(_CONDITION)
    best = float("inf")
    for _ in range(7):
        started = time.thread_time()
        for _ in range(500):
            assert expression.evaluate(scope) is True
        best = min(best, (time.thread_time() - started) / 500 * 1e6)
    return best


def test_a_condition_takes_microseconds_whatever_the_size_of_the_context() -> None:
    output = {"changePercent": -6.2, "symbol": "AAPL"}
    small = _microseconds({"nodes": {"price": {"output": output}}, "vars": {"threshold": 5}})
    nodes = {f"node{number}": {"output": {"rows": list(range(100))}} for number in range(2_000)}
    large = _microseconds({"nodes": {**nodes, "price": {"output": output}}, "vars": {"threshold": 5}})
    assert small < 40
    assert large < 3 * small
