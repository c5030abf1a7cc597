"""What commands print: tables for people, JSON for scripts."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import wraps
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

R = TypeVar("R")

_WIDE = 240
#: C0 but for tab and newline, DEL, and C1
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_COLORS = {
    **dict.fromkeys(("completed", "active", "ready", "ok", "published"), "green"),
    **dict.fromkeys(("running", "starting", "restarting", "waiting", "paused", "promoting", "promoted"), "cyan"),
    **dict.fromkeys(("failed", "dead", "timedOut", "terminated", "error", "down"), "red"),
    **dict.fromkeys(("queued", "scheduled", "pending", "skipped", "canceled", "expired", "warning"), "yellow"),
}


def error_of(found: Mapping[str, Any]) -> str | None:
    """Return the error of what the API showed, if it has one, as it is printed."""
    error = found.get("error")
    return f"{error['type']}: {error['message']}" if error else None


class Output:
    """Prints to standard output, for people unless `as_json`."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = make_console()
        #: where progress is shown: standard output belongs to the JSON
        self.watching = make_console(stderr=True) if as_json else self.console

    def json(self, value: Any) -> None:
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))

    def line(self, text: str) -> None:
        """Print a line for people; in JSON there is none."""
        if not self.as_json:
            self.console.print(text, soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, raw: Any, empty: str) -> None:
        """Print rows, or `raw` as JSON."""
        if self.as_json:
            self.json(raw)
        elif rows:
            self.console.print(make_table(columns, rows))
        else:
            self.line(f"[dim]{escape(empty)}[/]")

    def fields(self, fields: dict[str, Any], *, raw: Any) -> None:
        """Print names and values, those without a value left out, or `raw` as JSON."""
        if self.as_json:
            self.json(raw)
            return
        table = Table.grid(padding=(0, 2))
        for name, value in fields.items():
            if value not in (None, "", [], {}):
                table.add_row(Text(name, style="dim"), cell(value))
        self.console.print(table)


def make_console(*, stderr: bool = False) -> Console:
    """Make a console as wide as its terminal; what is no terminal has no width and gets whole lines."""
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = _WIDE
    return console


def with_output(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command an `Output` as its next positional argument, and the option ``--json``."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
    @wraps(command)
    def wrapped(*args: Any, as_json: bool, **options: Any) -> R:
        return command(*args, Output(as_json=as_json), **options)

    return wrapped


def make_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for index, column in enumerate(columns):
        # What people copy, an id, is never cut; the other columns give way.
        whole = max((len(str(row[index])) for row in rows), default=0) if index == 0 else None
        table.add_column(column, no_wrap=index == 0, min_width=whole)
    for row in rows:
        table.add_row(*(cell(value) for value in row))
    return table


def cell(value: Any) -> Text:
    """Show one value: states in their colour, times as local time, the rest of JSON compactly."""
    if isinstance(value, Text):
        return value
    if value is None:
        return Text("–", style="dim")
    if isinstance(value, str):
        return Text(printable(value), style=_COLORS.get(value, ""))
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    return Text(shortened(value))


def printable(text: str) -> str:
    """Return `text` without the characters that would command the terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def shortened(value: Any, limit: int = 80) -> str:
    """Return a value as JSON on one line, cut at `limit` characters."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def moment(value: str | None) -> str | None:
    """Show a time of the API in this machine's time zone, to the second."""
    return None if value is None else datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def seconds_between(start: str | None, end: str | None) -> str | None:
    """Show how long something took, or takes by now."""
    if start is None:
        return None
    began = datetime.fromisoformat(start)
    ended = datetime.fromisoformat(end) if end else datetime.now(UTC)
    return f"{max(0.0, (ended - began).total_seconds()):.2f} s"
