"""What a command ends with when it cannot do its work, each with its exit code.

click.ClickException
├── Failed          1   it was tried and did not work
├── Missing         3   there is no such thing
├── Refusal             the API answered with a problem: 3 for 404, 5 for 503, 1 for other 5xx, else 4
└── Unreachable     5   no API answers, or none is known
"""

from collections.abc import Sequence
from typing import IO, Any

import click
from rich.console import Console
from rich.markup import escape

from gateway.cli.output import printable


class Failed(click.ClickException):
    exit_code = 1


class Missing(click.ClickException):
    exit_code = 3


class Unreachable(click.ClickException):
    exit_code = 5


class Refusal(click.ClickException):
    """A problem document, shown with every pointer that it names."""

    def __init__(self, status: int, title: str, detail: str, errors: Sequence[dict[str, Any]] = ()) -> None:
        super().__init__(detail or title)
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = tuple(errors)

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # click declares a class variable and only reads it
        return {404: 3, 503: 5}.get(self.status, 1 if self.status >= 500 else 4)

    def show(self, file: IO[Any] | None = None) -> None:
        console = Console(stderr=True, file=file, highlight=False)
        console.print(f"[bold red]{_shown(self.title)}[/] [dim]({self.status})[/]")
        if self.detail and self.detail != self.title:
            console.print(_shown(self.detail))
        for error in self.errors:
            console.print(f"  [bold]{_shown(error.get('pointer') or '/')}[/]  {_shown(error.get('detail'))}")


def _shown(value: object) -> str:
    return escape(printable(str(value)))
