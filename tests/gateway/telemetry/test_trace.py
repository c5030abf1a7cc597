"""W3C Trace Context: a caller's trace is continued, whatever else it sends starts a new one."""

import pytest

from gateway.telemetry.trace import continue_trace

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_callers_trace_is_continued_in_a_span_of_our_own() -> None:
    trace = continue_trace(PARENT)
    assert trace.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert trace.span_id != "00f067aa0ba902b7"
    assert trace.traceparent == f"00-{trace.trace_id}-{trace.span_id}-01"


def test_a_later_version_may_say_more() -> None:
    assert continue_trace("01" + PARENT[2:] + "-more").trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    "traceparent",
    [
        None,
        "",
        "x",
        PARENT.upper(),
        PARENT + "-more",
        "ff" + PARENT[2:],
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        PARENT + "\n",
    ],
)
def test_anything_else_starts_a_new_trace(traceparent: str | None) -> None:
    trace = continue_trace(traceparent)
    assert trace.trace_id != "4bf92f3577b34da6a3ce929d0e0e4736"
    assert len(trace.trace_id) == 32
    assert continue_trace(traceparent) != trace
