"""Logs: one format for our own lines and those of every library, as JSON or for people."""

import json
import logging
import sys
from typing import Any, TextIO

import structlog
from structlog.typing import Processor

from gateway.settings import LogFormat, LogLevel

#: of ASCII alone, whatever a caller made us log
_encode = json.JSONEncoder(default=str).encode

#: libraries that say too much at our level
_QUIETER = {
    "uvicorn.access": logging.WARNING,
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    # Debugging, it tells the message of each failure, which users write.
    "temporalio.worker._workflow_instance": logging.INFO,
}


def configure_logs(format: LogFormat, level: LogLevel, *, process: str, stream: TextIO = sys.stderr) -> None:
    """Send our own lines and those of libraries to `stream`, in one form.

    Ours are rendered by structlog alone: the way through the standard library's logging costs several times as much.

    Args:
        format: a JSON object a line, or coloured text.
        level: of the least line that is shown.
        process: what this process is, e.g. ``serve``; on every line.
        stream: where the lines go.
    """

    def name_process(_logger: object, _method: str, event: Any) -> Any:
        event.setdefault("process", process)
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_process,
    ]
    # Local variables may hold what nobody should read: tracebacks show none.
    rendering: list[Processor] = (
        [
            structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(serializer=lambda event, **_: _encode(event)),
        ]
        if format == "json"
        else [structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(), _drop_markup],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name, quieter in _QUIETER.items():
        logging.getLogger(name).setLevel(max(quieter, root.level))
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        logger_factory=lambda name="": _Lines(stream, name),
        cache_logger_on_first_use=True,
    )


class _Lines(structlog.WriteLogger):
    """Writes the lines of one logger."""

    def __init__(self, stream: TextIO, name: str) -> None:
        super().__init__(stream)
        self.name = name


def _drop_markup(_logger: object, _method: str, event: Any) -> Any:
    # uvicorn tells each line twice, once for terminals.
    event.pop("color_message", None)
    return event
