"""``gateway plugin …``."""

import json

import click
from rich.syntax import Syntax

from gateway.cli.api import Api
from gateway.cli.output import Output, with_output
from gateway.cli.reach import with_api


@click.group()
def plugin() -> None:
    """Plugins: what nodes and jobs can do."""


@plugin.command("list")
@with_api
@with_output
def list_plugins(api: Api, out: Output) -> None:
    """List plugins."""
    found = api.all("/v1/plugins", 10_000)
    rows = [(p["id"], p.get("version"), p.get("effect"), ", ".join(p.get("ports") or ()), _summary(p)) for p in found]
    out.table(("id", "version", "effect", "ports", "what it does"), rows, raw=found, empty="There are no plugins.")


@plugin.command()
@click.argument("plugin_id", metavar="PLUGIN")
@with_api
@with_output
def show(api: Api, out: Output, *, plugin_id: str) -> None:
    """Show a plugin and the JSON Schema of its config."""
    found = api.get(f"/v1/plugins/{plugin_id}")
    out.fields(
        {
            "id": found["id"],
            "version": found.get("version"),
            "effect": found.get("effect"),
            "ports": ", ".join(found.get("ports") or ()),
            "description": found.get("description"),
        },
        raw=found,
    )
    if not out.as_json:
        out.line("\n[dim]config[/]")
        out.console.print(Syntax(json.dumps(found["configSchema"], indent=2), "json", background_color="default"))


def _summary(plugin: dict[str, str]) -> str:
    return (plugin.get("description") or "").partition("\n")[0]
