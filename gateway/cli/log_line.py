"""Log lines for people: what our processes write as JSON, in one readable line."""

import json
from datetime import datetime
from typing import Any

from gateway.cli.output import printable

#: shown before the rest, or the same on every line of a process
_APART = ("timestamp", "level", "event", "process", "logger", "exception")


def readable(line: str) -> str:
    """Return a JSON log line as time, level, event and fields; any other line as it is, fit for a terminal."""
    try:
        entry = json.loads(line)
    except ValueError:
        return printable(line)
    if not isinstance(entry, dict) or "event" not in entry:
        return printable(line)
    fields = " ".join(
        f"{name}={_value(value)}" for name, value in entry.items() if name not in _APART and value is not None
    )
    text = f"{_time(entry.get('timestamp'))} {entry.get('level', ''):<7} {entry['event']}  {fields}".rstrip()
    return printable(text + _exception(entry.get("exception")))


def _value(value: Any) -> str:
    return value if isinstance(value, str) and value and " " not in value else json.dumps(value, ensure_ascii=False)


def _time(timestamp: Any) -> str:
    try:
        return datetime.fromisoformat(str(timestamp)).astimezone().strftime("%H:%M:%S.%f")[:-3]
    except ValueError:
        return "--:--:--.---"


def _exception(exceptions: Any) -> str:
    """Show the innermost error of a traceback that was logged as data; the raw line has all of it."""
    if not isinstance(exceptions, list) or not exceptions:
        return ""
    first = exceptions[0]
    frames = first.get("frames") or []
    where = f" at {frames[-1].get('filename')}:{frames[-1].get('lineno')}" if frames else ""
    return f"\n    {first.get('exc_type')}: {first.get('exc_value')}{where}"
