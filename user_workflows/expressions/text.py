"""Values as text: how doubles are written, and what a template puts into a string."""

import math
from decimal import Decimal
from typing import Any

import msgspec


def double_text(value: float) -> str:
    """Return the shortest text that reads back as `value`, a zero fraction left out: ``5``, ``0.1``, ``1e+21``."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == math.floor(value) and abs(value) < 1e21:
        return "-0" if value == 0 and math.copysign(1.0, value) < 0 else str(int(value))
    digits, _, exponent = repr(value).partition("e")
    if not exponent:
        return digits
    if 1e-6 <= abs(value) < 1:
        return format(Decimal(repr(value)), "f")
    return f"{digits}e{exponent[0] if exponent[0] in '+-' else '+'}{exponent.lstrip('+-').lstrip('0')}"


def render_text(value: Any) -> str:
    """Return a JSON value as a template writes it into text: null as nothing, lists and maps as JSON."""
    if type(value) is str:
        return value
    if value is None:
        return ""
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is float:
        return double_text(value)
    if type(value) is int:
        return str(value)
    return msgspec.json.encode(value).decode()
