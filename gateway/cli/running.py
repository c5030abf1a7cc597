"""``gateway status``, ``logs`` and ``down``: about a running `gateway up`."""

import os
import signal
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import click
import msgspec

from gateway.cli.errors import Failed, Missing
from gateway.cli.log_line import readable
from gateway.cli.output import Output, moment, with_output
from gateway.cli.program import command
from gateway.cli.reach import with_folder
from gateway.up.folder import DataFolder, is_alive

_STOP_PATIENCE = 25.0
_FOLLOW_POLL = 0.25


@click.command()
@with_folder
@with_output
def status(folder: DataFolder, out: Output) -> None:
    """Show what runs and where. Exit code 0 when all of it is ready, else 1."""
    state, dev = folder.read_state(), folder.read_dev()
    held = folder.is_held()
    ready = held and dev is not None
    raw = {"ready": ready, "running": held, "dataDir": str(folder.path)}
    if not held or state is None:
        out.fields({"state": "down", "data": str(folder.path)}, raw=raw)
        out.line(f"\nStart it with {command('up', folder)}")
        raise SystemExit(1)
    children = msgspec.to_builtins(state.children)
    out.fields(
        {
            "state": "ready" if ready else "starting",
            "url": state.url,
            "pid": str(state.pid),
            "since": moment(state.started_at.isoformat()),
            "mails": dev.mail_url if dev else None,
            "temporal": dev.temporal_ui or dev.temporal_address if dev else None,
            "data": str(folder.path),
        },
        raw=raw | {"url": state.url, "pid": state.pid, "children": children},
    )
    if not out.as_json:
        rows = [(c.name, c.state, c.pid, c.restarts, moment(c.since.isoformat())) for c in state.children]
        out.line("")
        out.table(("process", "state", "pid", "restarts", "since"), rows, raw=children, empty="nothing runs")
    if not ready or any(child.state != "ready" for child in state.children):
        raise SystemExit(1)


@click.command()
@click.argument("names", nargs=-1)
@click.option("-f", "--follow", is_flag=True, help="Keep printing what is added.")
@click.option("--raw", is_flag=True, help="Print the lines as they were written.")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=20, show_default=True, help="Last lines of each.")
@with_folder
def logs(folder: DataFolder, *, names: tuple[str, ...], follow: bool, raw: bool, lines: int) -> None:
    """Show what the processes wrote.

    All of them, or those named.
    """
    files = {file.stem: file for file in sorted(folder.logs.glob("*.log"))}
    if unknown := [name for name in names if name not in files]:
        raise Missing(f"There is no log of {', '.join(unknown)}. There are: {', '.join(files) or 'none'}.")
    chosen = {name: files[name] for name in names or files}
    width = max((len(name) for name in chosen), default=0) if len(chosen) > 1 else 0
    for name, line in chain(_last_lines(chosen, lines), _added_lines(chosen) if follow else ()):
        shown = line if raw else readable(line)
        click.echo(f"{name:<{width}}  {shown}" if width else shown)


@click.command()
@with_folder
def down(folder: DataFolder) -> None:
    """Stop a running `gateway up`; return when all of it is gone."""
    state = folder.read_state()
    if state is None or not folder.is_held():
        click.echo(f"Nothing runs on {folder.path}.")
        return
    if not is_alive(state.pid):
        raise Failed(f"`gateway up` (pid {state.pid}) is gone, but a process that it started still runs.")
    os.kill(state.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_PATIENCE
    while folder.is_held():
        if time.monotonic() > deadline:
            raise Failed(f"`gateway up` (pid {state.pid}) did not stop within {_STOP_PATIENCE:g} s.")
        time.sleep(0.1)
    click.echo("Stopped.")


def _last_lines(files: dict[str, Path], count: int) -> Iterator[tuple[str, str]]:
    for name, file in files.items():
        text = file.read_text(encoding="utf-8", errors="replace")
        for line in text.splitlines()[-count:] if count else ():
            yield name, line


def _added_lines(files: dict[str, Path]) -> Iterator[tuple[str, str]]:
    positions = {name: file.stat().st_size for name, file in files.items()}
    while True:
        for name, file in files.items():
            if not file.exists():
                continue
            if file.stat().st_size < positions[name]:
                positions[name] = 0  # set aside and begun anew
            with file.open("rb") as stream:
                stream.seek(positions[name])
                for line in stream:
                    if not line.endswith(b"\n"):
                        break
                    positions[name] += len(line)
                    yield name, line.decode("utf-8", "replace").rstrip("\r\n")
        time.sleep(_FOLLOW_POLL)
