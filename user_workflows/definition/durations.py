"""Which durations and moments a definition may hold."""

from datetime import datetime

from plugins.sdk.duration import parse_duration

#: longer than any wait that makes sense, shorter than what Temporal's timers can count
MAX_SECONDS = 10 * 365 * 86400.0


def range_fault(text: object) -> str | None:
    """Return what is wrong with the length of a duration, to be read after its key; ``None``: nothing.

    What is not a duration at all is left to the check of its type.
    """
    if not isinstance(text, str):
        return None
    try:
        seconds = parse_duration(text)
    except ValueError:
        return None
    return None if 0 < seconds <= MAX_SECONDS else "must be longer than nothing and at most ten years"


def is_moment(text: str) -> bool:
    """Return whether `text` is a moment with an offset, as RFC 3339 writes it."""
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
