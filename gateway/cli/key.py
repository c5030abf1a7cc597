"""``gateway key …``."""

import click

from gateway.cli.api import Api
from gateway.cli.output import Output, moment, with_output
from gateway.cli.reach import with_admin_api, with_api

_ROLES = ("owner", "editor", "runner", "viewer", "service")


@click.group()
def key() -> None:
    """API keys: who may call, and what they may do."""


@key.command()
@click.option("--name", required=True)
@click.option("--role", type=click.Choice(_ROLES), default="editor", show_default=True)
@click.option("--scope", "scopes", multiple=True, help="Permission that narrows the role.")
@click.option("--expires-at", help="RFC 3339 time, e.g. 2030-01-01T00:00:00Z.")
@with_api
@with_output
def create(api: Api, out: Output, *, name: str, role: str, scopes: tuple[str, ...], expires_at: str | None) -> None:
    """Make a key of your own tenant; it is shown once."""
    _create(api, out, {"name": name, "role": role}, scopes, expires_at)


@key.command("create-for")
@click.argument("tenant_id", metavar="TENANT")
@click.option("--name", required=True)
@click.option("--role", type=click.Choice(_ROLES), default="owner", show_default=True)
@click.option("--scope", "scopes", multiple=True, help="Permission that narrows the role.")
@click.option("--expires-at", help="RFC 3339 time, e.g. 2030-01-01T00:00:00Z.")
@with_admin_api
@with_output
def create_for(
    api: Api, out: Output, *, tenant_id: str, name: str, role: str, scopes: tuple[str, ...], expires_at: str | None
) -> None:
    """Make a key of any tenant, as the administrator."""
    _create(api, out, {"name": name, "role": role, "tenantId": tenant_id}, scopes, expires_at)


@key.command("list")
@with_api
@with_output
def list_keys(api: Api, out: Output) -> None:
    """List the keys of your own tenant."""
    found = api.all("/v1/api-keys", 1_000)
    rows = [
        (k["id"], k["name"], k["role"], *(moment(k.get(at)) for at in ("lastUsedAt", "expiresAt", "revokedAt")))
        for k in found
    ]
    columns = ("id", "name", "role", "last used", "expires", "revoked")
    out.table(columns, rows, raw=found, empty="There are no keys.")


@key.command()
@click.argument("key_id", metavar="KEY")
@click.option("--overlap", default="24h", show_default=True, help="How long the old key goes on working.")
@click.option("--expires-at", help="RFC 3339 time at which the new key ends.")
@with_api
@with_output
def rotate(api: Api, out: Output, *, key_id: str, overlap: str, expires_at: str | None) -> None:
    """Make a key that takes over from another one of your own tenant; it is shown once."""
    body = {"overlap": overlap} | ({"expiresAt": expires_at} if expires_at else {})
    made = api.post(f"/v1/api-keys/{key_id}/rotate", body)
    shown = {"id": made["id"], "key": made["key"], "old one until": moment(made["previousExpiresAt"])}
    out.fields(shown, raw=made)


@key.command()
@click.argument("key_id", metavar="KEY")
@click.confirmation_option(prompt="Revoke this key for good?")
@with_api
def revoke(api: Api, key_id: str) -> None:
    """Revoke a key of your own tenant, by its id."""
    api.delete(f"/v1/api-keys/{key_id}")


def _create(api: Api, out: Output, body: dict[str, object], scopes: tuple[str, ...], expires_at: str | None) -> None:
    if scopes:
        body["scopes"] = list(scopes)
    if expires_at:
        body["expiresAt"] = expires_at
    made = api.post("/v1/api-keys", body)
    out.fields({"id": made["id"], "role": made.get("role"), "key": made["key"]}, raw=made)
