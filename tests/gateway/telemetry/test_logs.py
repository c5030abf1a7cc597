"""Logs: one format for everyone, and nothing in them that was not meant to be there."""

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import structlog

from gateway.telemetry.logs import configure_logs


@pytest.fixture(autouse=True)
def keep_configuration() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_our_lines_and_those_of_libraries_have_one_form() -> None:
    stream = io.StringIO()
    configure_logs("json", "info", process="serve", stream=stream)
    structlog.contextvars.bind_contextvars(trace_id="4bf9", tenant_id="ten_1")
    structlog.get_logger("ours").info("thing.done", count=1)
    logging.getLogger("theirs").warning("thing %s", "broke", extra={"color_message": "x", "kind": "y"})
    logging.getLogger("theirs").debug("not shown")
    ours, theirs = [json.loads(line) for line in stream.getvalue().splitlines()]
    for line in (ours, theirs):
        assert (line["process"], line["trace_id"], line["tenant_id"]) == ("serve", "4bf9", "ten_1")
        assert line["timestamp"].endswith("Z")
    assert (ours["event"], ours["level"], ours["logger"], ours["count"]) == ("thing.done", "info", "ours", 1)
    assert (theirs["event"], theirs["level"], theirs["kind"]) == ("thing broke", "warning", "y")
    assert "color_message" not in theirs


def test_a_line_stays_one_line_of_ascii_whatever_is_logged() -> None:
    stream = io.StringIO()
    configure_logs("json", "info", process="serve", stream=stream)
    structlog.get_logger("ours").info("thing.done", text="a\nb\u2028\x9b\udc80", at=datetime(2026, 1, 2, tzinfo=UTC))
    structlog.get_logger("ours").debug("not shown")
    assert stream.getvalue().isascii()
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["text"] == "a\nb\u2028\x9b\udc80"
    assert json.loads(line)["at"] == "2026-01-02 00:00:00+00:00"


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_traceback_shows_where_but_no_variables(format: str) -> None:
    stream = io.StringIO()
    configure_logs(format, "info", process="serve", stream=stream)  # type: ignore[arg-type]
    password = "hunter2"
    try:
        raise ValueError("it broke")
    except ValueError as error:
        structlog.get_logger("ours").error("request.failed", exc_info=error)
        logging.getLogger("theirs").exception("failed")
    assert stream.getvalue().count("it broke") >= 2
    assert "test_a_traceback_shows_where_but_no_variables" in stream.getvalue()
    assert password not in stream.getvalue()
