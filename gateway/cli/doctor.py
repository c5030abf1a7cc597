"""``gateway doctor``: says whether everything that a gateway needs is in place."""

import asyncio
import os

import click
import msgspec
from rich.markup import escape

from gateway.cli.checks import examine
from gateway.cli.output import Output, with_output
from gateway.cli.reach import with_folder
from gateway.up.folder import DataFolder
from gateway.up.temporal import NAMESPACE

_SIGNS = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "error": "[red]✗[/]"}


@click.command()
@with_folder
@with_output
def doctor(folder: DataFolder, out: Output) -> None:
    """Check that everything needed is in place.

    Settings, database, Redis, Temporal, master key, disk and clocks: those of a running `gateway up`, or of the
    environment. Exit code 1 when something is wrong.
    """
    findings = asyncio.run(examine(_environment(folder), folder.path))
    if out.as_json:
        out.json([msgspec.to_builtins(finding) for finding in findings])
    for finding in findings:
        out.line(f"{_SIGNS[finding.verdict]} [bold]{finding.what}[/]  {escape(finding.detail)}")
        if finding.remedy and finding.verdict != "ok":
            out.line(f"    [dim]→[/] {escape(finding.remedy)}")
    if any(finding.verdict == "error" for finding in findings):
        raise SystemExit(1)


def _environment(folder: DataFolder) -> dict[str, str]:
    """The settings of a running `up`, under those that the environment gives."""
    dev = folder.read_dev()
    if dev is None:
        return dict(os.environ)
    running = {
        "GATEWAY_DATABASE_URL": dev.database_url,
        "GATEWAY_REDIS_URL": dev.redis_url,
        "GATEWAY_MASTER_KEY_FILE": str(folder.path / "master.key"),
        "TEMPORAL_ADDRESS": dev.temporal_address,
        "TEMPORAL_NAMESPACE": NAMESPACE,
    }
    return running | dict(os.environ)
