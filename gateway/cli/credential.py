"""``gateway credential …``."""

from typing import Any

import click

from gateway.cli.api import Api
from gateway.cli.json_input import JsonInput
from gateway.cli.output import Output, moment, with_output
from gateway.cli.reach import with_api


@click.group()
def credential() -> None:
    """Credentials: stored secrets that nodes use by id."""


@credential.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@with_api
@with_output
def list_credentials(api: Api, out: Output, *, limit: int) -> None:
    """List credentials; their data is never shown."""
    found = api.all("/v1/credentials", limit)
    rows = [
        (
            c["id"],
            c["type"],
            c["name"],
            c.get("status"),
            ", ".join(c.get("allowedHosts") or ()) or None,
            moment(c.get("lastUsedAt")),
        )
        for c in found
    ]
    columns = ("id", "type", "name", "status", "hosts", "last used")
    out.table(columns, rows, raw=found, empty="There are no credentials yet.")


@credential.command()
@click.option("--type", "type_", required=True, help="bearer, basic, apiKey, smtp, signing, oauth2, database")
@click.option("--name", required=True)
@click.option(
    "--data",
    type=JsonInput(),
    required=True,
    help="The secret as JSON. Prefer @file or - (standard input): a command line is seen by others.",
)
@click.option(
    "--allow-host", "hosts", multiple=True, help="host[:port] that it may be sent to; any when none is given."
)
@click.option("--allow-plugin", "plugins", multiple=True, help="Plugin that may use it; any when none is given.")
@with_api
@with_output
def create(
    api: Api, out: Output, *, type_: str, name: str, data: Any, hosts: tuple[str, ...], plugins: tuple[str, ...]
) -> None:
    """Store a credential."""
    body: dict[str, Any] = {"type": type_, "name": name, "data": data}
    if hosts:
        body["allowedHosts"] = list(hosts)
    if plugins:
        body["allowedPlugins"] = list(plugins)
    made = api.post("/v1/credentials", body)
    out.fields({"id": made["id"], "type": made.get("type"), "name": made.get("name")}, raw=made)


@credential.command()
@click.argument("credential_id", metavar="CREDENTIAL")
@with_api
@with_output
def authorize(api: Api, out: Output, credential_id: str) -> None:
    """Show the page on which a person authorizes an oauth2 credential, within ten minutes."""
    begun = api.post(f"/v1/credentials/{credential_id}/authorize", {})
    out.fields({"open": begun["url"], "until": moment(begun["expiresAt"])}, raw=begun)


@credential.command()
@with_api
@with_output
def types(api: Api, out: Output) -> None:
    """List the types of credentials and the keys of their data."""
    found = api.get("/v1/credential-types")["items"]
    rows = [(each["type"], ", ".join(_keys(each["dataSchema"]))) for each in found]
    out.table(("type", "data"), rows, raw=found, empty="There are no types.")


@credential.command()
@click.argument("credential_id", metavar="CREDENTIAL")
@click.confirmation_option(prompt="Delete this credential? Nodes that use it will fail.")
@with_api
def delete(api: Api, credential_id: str) -> None:
    """Delete a credential."""
    api.delete(f"/v1/credentials/{credential_id}")


def _keys(schema: Any) -> list[str]:
    required = set(schema.get("required", ()))
    return [name if name in required else f"{name}?" for name in schema["properties"]]
