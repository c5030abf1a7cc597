"""W3C Trace Context (https://www.w3.org/TR/trace-context/): one trace id through every hop."""

import re
import secrets
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


class Trace(Struct, frozen=True):
    """Where we are in a distributed trace."""

    trace_id: str
    span_id: str
    flags: str = "01"

    @property
    def traceparent(self) -> str:
        """The header value that names us as the parent of what we call."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def continue_trace(traceparent: str | None) -> Trace:
    """Return a new span of the caller's trace; of a new trace where there is none or it is malformed."""
    match = _FORM.fullmatch(traceparent or "")
    if match is not None:
        version, trace_id, parent_id, flags, rest = match.groups()
        valid = version != "ff" and not (version == "00" and rest)
        if valid and trace_id != "0" * 32 and parent_id != "0" * 16:
            return Trace(trace_id, secrets.token_hex(8), flags)
    return Trace(secrets.token_hex(16), secrets.token_hex(8))


def trace_of(scope: Mapping[str, Any]) -> Trace:
    """Return the trace that a request is part of, as `telemetry.access` found it."""
    trace: Trace = scope["trace"]
    return trace
