import json
import re

from gateway.cli.log_line import readable


def test_a_json_line_becomes_time_level_event_and_fields() -> None:
    entry = {
        "event": "plugin.call",
        "level": "info",
        "timestamp": "2026-11-23T14:54:21.995002Z",
        "process": "user-workflows",
        "logger": "plugins.host.invoke",
        "plugin": "stock.price",
        "job_id": None,
        "seconds": 0.0347,
        "detail": "two words",
    }
    line = readable(json.dumps(entry))
    assert re.fullmatch(
        r"\d\d:\d\d:21\.995 info    plugin\.call  plugin=stock\.price seconds=0\.0347 detail=\"two words\"", line
    )


def test_a_logged_traceback_is_shown_by_its_error_and_where_it_was_raised() -> None:
    exception = {"exc_type": "KeyError", "exc_value": "'x'", "frames": [{"filename": "a.py", "lineno": 3}]}
    line = readable(json.dumps({"event": "it broke", "level": "error", "exception": [exception]}))
    assert line.splitlines() == ["--:--:--.--- error   it broke", "    KeyError: 'x' at a.py:3"]


def test_other_lines_stay_as_they_are_but_cannot_command_the_terminal() -> None:
    assert readable("12:M Ready to accept connections") == "12:M Ready to accept connections"
    assert readable('["no object"]') == '["no object"]'
    assert readable("\x1b[2Jgone") == "\N{REPLACEMENT CHARACTER}[2Jgone"
