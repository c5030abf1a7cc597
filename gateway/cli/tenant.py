"""``gateway tenant …``, with the administrator's key."""

import click

from gateway.cli.api import Api
from gateway.cli.output import Output, with_output
from gateway.cli.program import program
from gateway.cli.reach import with_admin_api


@click.group()
def tenant() -> None:
    """Tenants: who owns workflows, jobs and credentials."""


@tenant.command()
@click.argument("name")
@with_admin_api
@with_output
def create(api: Api, out: Output, *, name: str) -> None:
    """Make a tenant."""
    made = api.post("/v1/tenants", {"name": name})
    out.fields({"id": made["id"], "name": made.get("name", name)}, raw=made)
    out.line(f"\nGive it its first key with [bold]{program()} key create-for {made['id']} --name NAME[/]")
