"""Evaluate expressions with Google's CEL: a JSON list of sources on stdin, a JSON line of each outcome on stdout.

It is a process of its own because some inputs hang that library while it holds the GIL. Its errors are values, and are
told from strings by their type alone.
"""

import json
import sys
from typing import Any

from cel_expr_python import cel  # type: ignore[import-untyped]  # it has none

_ENV = cel.NewEnv()


def _outcome(source: str) -> dict[str, Any]:
    try:
        value = _ENV.compile(source).eval()
    except Exception as error:  # it raises whatever its C++ threw
        return {"refused": str(error)}
    if value.type() == cel.Type.ERROR:
        return {"error": str(value.value())}
    return {"value": value.plain_value()}


if __name__ == "__main__":
    for text in json.load(sys.stdin):
        print(json.dumps(_outcome(text)), flush=True)
