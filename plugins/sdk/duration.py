"""Durations as users write them: ``500ms``, ``30s``, ``5m``, ``2h``, ``7d``."""

import re

_FORM = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

#: the same form as a JSON Schema pattern, for `msgspec.Meta`; in Python alone `$` would let a final newline through
DURATION_PATTERN = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$(?!\n)"


def parse_duration(text: str) -> float:
    """Return seconds.

    Raises:
        ValueError: `text` is not a number followed by ms, s, m, h or d.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f'{text!r} is not a duration; write a number and ms, s, m, h or d, like "30s"')
    number, unit = match.groups()
    return float(number) * _SECONDS[unit]
