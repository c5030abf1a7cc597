"""``gateway up``: everything on this machine, in the foreground."""

import asyncio
import os
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.status import Status

from gateway.cli.demo import run_demo, show_next
from gateway.cli.errors import Failed
from gateway.cli.log_line import readable
from gateway.cli.output import make_console
from gateway.cli.program import command
from gateway.cli.reach import DEFAULT_DATA_DIR
from gateway.up.errors import UpError
from gateway.up.folder import DataFolder, DevFile
from gateway.up.session import Options, Session
from plugins.storage.database import now


class Announcer:
    """Says what happens: a spinner on a terminal, lines elsewhere."""

    def __init__(self) -> None:
        self.console = make_console()
        self._status: Status | None = None

    def progress(self, text: str) -> None:
        if not self.console.is_terminal:
            self.console.print(f"{text} …")
        elif self._status is None:
            self._status = self.console.status(f"{text} …")
            self._status.start()
        else:
            self._status.update(f"{text} …")

    def report(self, text: str) -> None:
        self.console.print(f"[dim]{now():%H:%M:%S}[/] {escape(_readable_lines(text))}", soft_wrap=True)

    def done(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


@click.command()
@click.option("--demo", is_flag=True, help="Run the example once everything is ready, then keep serving.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_DATA_DIR,
    envvar="GATEWAY_DATA_DIR",
    show_default=True,
    help="Where databases, keys and logs are kept.",
)
@click.option("--host", default="127.0.0.1", envvar="GATEWAY_HOST", show_default=True)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8000,
    envvar="GATEWAY_PORT",
    show_default=True,
    help="Of the API; 0 takes a free one.",
)
def up(demo: bool, data_dir: Path, host: str, port: int) -> None:
    """Start everything on this machine, until Ctrl-C.

    Migrates the database, starts Temporal, Valkey, a mail catcher, the API and both workers, and restarts what dies.
    Servers that GATEWAY_DATABASE_URL, GATEWAY_REDIS_URL or TEMPORAL_ADDRESS name are used instead of our own.
    """
    announcer = Announcer()
    options = Options(data_dir=data_dir, host=host, port=port, environ=dict(os.environ))
    session = Session(options, progress=announcer.progress, report=announcer.report)

    async def ready(dev: DevFile) -> None:
        announcer.done()
        _print_overview(announcer.console, dev, session.folder)
        if demo:
            await asyncio.to_thread(_show_demo, session.folder, announcer.console)
        else:
            announcer.console.print(
                f"\n[dim]Try next, in another terminal:[/]\n  {escape(command('demo', session.folder))}"
            )
        announcer.console.print("\nCtrl-C stops everything.")

    try:
        asyncio.run(session.run(ready))
    except UpError as error:
        announcer.done()
        raise Failed(_readable_lines(str(error))) from None
    finally:
        announcer.done()
    announcer.console.print("Stopped. The data is kept; the next `up` finds it.")


def _show_demo(folder: DataFolder, console: Console) -> None:
    try:
        run_demo(folder, console)
    except click.ClickException as error:
        # The demo is a guest: what it was started on keeps serving.
        error.show()
    else:
        show_next(folder, console)


def _print_overview(console: Console, dev: DevFile, folder: DataFolder) -> None:
    places = {
        "API": dev.url,
        "Key": dev.api_key,
        "Mails": dev.mail_url,
        "Temporal": dev.temporal_ui or dev.temporal_address,
        "Data, logs": str(folder.path),
    }
    console.print("[bold green]The gateway is up[/]")
    for name, value in places.items():
        console.print(f"  [dim]{name:<10}[/]  {escape(value)}", soft_wrap=True)


def _readable_lines(text: str) -> str:
    """Show what we say, and under it the last lines of a log."""
    return "\n".join(readable(line) for line in text.splitlines())
