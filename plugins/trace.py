"""W3C trace context on its way through both engines (https://www.w3.org/TR/trace-context/)."""


def logged_trace(traceparent: str | None) -> dict[str, str]:
    """Return what log lines say of a traceparent, ``version-traceid-spanid-flags``."""
    if traceparent is None or traceparent.count("-") != 3:
        return {}
    return {"trace_id": traceparent.split("-")[1]}
