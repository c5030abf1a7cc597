"""The public CEL conformance suite, as far as the profile goes.

The profile: JSON's types, timestamps and durations; every operator, macro and function on them. Outside of it, by
feature: uint, bytes, protobuf messages, enums and their wrappers, optional values (`?.` gives null instead),
containers and names with dots, IP addresses, `cel.block`, and results that JSON has no form for (NaN, infinity).
"""

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest

from user_workflows.expressions import ExpressionError, compile_expression

_CASES = Path(__file__).parents[4] / "shared" / "data" / "cel-spec.json"

#: files of the suite that are about a feature outside of the profile
_OUTSIDE = {
    "proto2": "messages",
    "proto3": "messages",
    "enums": "enums",
    "wrappers": "messages",
    "dynamic": "messages",
    "optionals": "optional values",
    "network_ext": "IP addresses",
    "block_ext": "cel.block",
}
_LITERAL = re.compile(r"""([rRbB]*)("{3}.*?"{3}|'{3}.*?'{3}|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""", re.DOTALL)
_FEATURES = {
    "uint": re.compile(r"\b(?:0x[0-9a-fA-F]+|\d+)[uU]\b|\buint\b"),
    "bytes": re.compile(r"\bBYTES\b|\bbytes\b"),
    "messages": re.compile(r"\b(?!in\b)\w+\s*\{|google\.protobuf\.(?!Timestamp|Duration)|conformance"),
}

#: cases of the profile that differ on purpose: name of the case → why. There are none today.
_EXCEPTIONS: dict[str, str] = {}


def _value(tagged: Any) -> Any:
    """Return what a value of the suite is in JSON, where a map's keys are strings."""
    if isinstance(tagged, list):
        return [_value(item) for item in tagged]
    if not isinstance(tagged, dict):
        return tagged
    ((tag, inner),) = tagged.items()
    match tag:
        case "$i":
            return int(inner)
        case "$d":
            return float(inner)
        case "$m":
            return {json.dumps(_value(key)).strip('"'): _value(item) for key, item in inner}
    raise AssertionError(tag)


def _outside(case: dict[str, Any]) -> str | None:
    """Return the feature that puts a case outside of the profile."""
    if case["file"] in _OUTSIDE:
        return _OUTSIDE[case["file"]]
    data = json.dumps([case["b"], case["r"]])
    code = _LITERAL.sub(lambda match: " BYTES " if "b" in match[1].lower() else '""', case["expr"])
    if '"$u"' in data:
        return "uint"
    if '"$b"' in data:
        return "bytes"
    if case["container"] or any("." in name for name in case["b"]):
        return "containers"
    if re.search(r'"\$d": "(-?inf|nan)"', data):
        return "NaN and infinity in results"
    return next((feature for feature, form in _FEATURES.items() if form.search(code)), None)


def _same(left: Any, right: Any) -> bool:
    """Compare exactly: 1 is not 1.0, and -0.0 is not 0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, float):
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    return bool(left == right)


def _scope(case: dict[str, Any]) -> dict[str, Any]:
    return {name: _value(item) for name, item in case["b"].items()}


def cases_of_the_profile() -> list[tuple[str, dict[str, Any]]]:
    """Return the expressions of the suite that the profile covers, each with its scope; skip where there are none."""
    if not _CASES.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{_CASES} is absent")
        pytest.skip("the conformance cases are not beside the project")
    return [(case["expr"], _scope(case)) for case in json.loads(_CASES.read_text()) if _outside(case) is None]


def _passes(case: dict[str, Any]) -> bool:
    try:
        value = compile_expression(case["expr"]).evaluate(_scope(case))
    except ExpressionError:
        return "e" in case["r"]
    return "v" in case["r"] and _same(value, _value(case["r"]["v"]))


def test_the_profile_agrees_with_the_public_suite(capsys: pytest.CaptureFixture[str]) -> None:
    if not _CASES.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{_CASES} is absent")
        pytest.skip("the conformance cases are not beside the project")
    cases = json.loads(_CASES.read_text())
    inside = [case for case in cases if _outside(case) is None]
    failed = [case for case in inside if not _passes(case)]
    with capsys.disabled():
        share = 100 * (len(inside) - len(failed)) / len(inside)
        print(f"\nCEL conformance: {len(inside) - len(failed)} of {len(inside)} cases in the profile, {share:.2f} %")
    assert [f"{case['name']}: {case['expr']}" for case in failed if case["name"] not in _EXCEPTIONS] == []
    assert len(inside) > 850
    assert len(failed) <= len(inside) * 0.005
