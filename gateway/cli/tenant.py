"""``gateway tenant …``, with the administrator's key."""

import time

import click

from gateway.cli.api import Api
from gateway.cli.errors import Failed
from gateway.cli.limits import show
from gateway.cli.output import Output, moment, with_output
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


@tenant.command()
@click.argument("tenant_id", metavar="TENANT")
@click.option("--allow", "allowed", multiple=True, help="robot@example.com, *@example.com, *@*.example.com or *")
@click.option("--none", is_flag=True, help="Grant nothing any more.")
@with_admin_api
@with_output
def senders(api: Api, out: Output, *, tenant_id: str, allowed: tuple[str, ...], none: bool) -> None:
    """Show what a tenant may send mails as by the installation's server, or grant it anew."""
    path = f"/v1/tenants/{tenant_id}/email-senders"
    shown = api.put(path, {"allowed": list(allowed)}) if allowed or none else api.get(path)
    out.fields({"allowed": ", ".join(shown["allowed"]) or "nothing but that server's own sender"}, raw=shown)


@tenant.command()
@click.argument("tenant_id", metavar="TENANT")
@click.option("--set", "tier_name", type=click.Choice(["basic", "standard", "premium"]), help="Grant this tier.")
@click.option("--weight", type=float, help="Its share of busy workers, instead of the tier's.")
@click.option("--queue", help="Only workers with this --queue run its executions.")
@with_admin_api
@with_output
def tier(
    api: Api, out: Output, *, tenant_id: str, tier_name: str | None, weight: float | None, queue: str | None
) -> None:
    """Show what a tenant is granted of busy workers, or with --set grant it anew."""
    path = f"/v1/tenants/{tenant_id}/tier"
    if tier_name is None and (weight is not None or queue is not None):
        raise click.UsageError("name the tier too, with --set: what is granted is granted as a whole")
    granted = {"tier": tier_name, "weight": weight, "queue": queue}
    shown = api.get(path) if tier_name is None else api.put(path, granted)
    out.fields(shown, raw=shown)


@tenant.command()
@click.argument("tenant_id", metavar="TENANT")
@with_admin_api
@with_output
def keys(api: Api, out: Output, *, tenant_id: str) -> None:
    """List a tenant's data keys, the newest first."""
    found = api.get(f"/v1/tenants/{tenant_id}/keys")["items"]
    rows = [(k["version"], k["state"], moment(k["createdAt"]), moment(k["sealsFrom"])) for k in found]
    out.table(("version", "state", "made", "seals from"), rows, raw=found, empty="There are no keys.")


@tenant.command("rotate-key")
@click.argument("tenant_id", metavar="TENANT")
@with_admin_api
@with_output
def rotate_key(api: Api, out: Output, *, tenant_id: str) -> None:
    """Make a tenant a new data key; what lives long is sealed again with it."""
    made = api.post(f"/v1/tenants/{tenant_id}/keys/rotate", {})
    out.fields({"version": made["version"], "seals from": moment(made["sealsFrom"])}, raw=made)


@tenant.command("destroy-key")
@click.argument("tenant_id", metavar="TENANT")
@click.argument("version", type=int)
@click.confirmation_option(prompt="Destroy this key for good?")
@with_admin_api
def destroy_key(api: Api, tenant_id: str, version: int) -> None:
    """Destroy a retired data key that nothing needs any more."""
    api.delete(f"/v1/tenants/{tenant_id}/keys/{version}")


@tenant.command("limits")
@click.argument("tenant_id")
@click.option("--concurrent-executions", type=click.IntRange(1), help="Executions that are under way at a time.")
@click.option("--starts-per-minute", type=click.IntRange(1))
@click.option("--payload-bytes", type=click.IntRange(1), help="Of one input, as JSON.")
@click.option("--monthly-executions", type=click.IntRange(1))
@click.option("--jobs-per-minute", type=click.IntRange(1))
@click.option("--reset", is_flag=True, help="Take the installation's caps, but for those given.")
@with_admin_api
@with_output
def tenant_limits(api: Api, out: Output, *, tenant_id: str, reset: bool, **given: int | None) -> None:
    """Show the caps of a tenant, or change those given; a change holds at once."""
    path = f"/v1/tenants/{tenant_id}/limits"
    found = api.get(path)
    caps = {_camel(name): value for name, value in given.items() if value is not None}
    if caps or reset:
        now = {**found["caps"], "jobsPerMinute": found["jobsPerMinute"]}
        kept = {name: cap["limit"] for name, cap in now.items() if cap["source"] == "tenant" and not reset}
        found = api.put(path, kept | caps)
    show(out, found, raw=found)


def _camel(option: str) -> str:
    first, *others = option.split("_")
    return first + "".join(other.title() for other in others)


@tenant.command()
@click.argument("tenant_id", metavar="TENANT")
@click.confirmation_option(prompt="End all that this tenant has going, and make everything of it unreadable for good?")
@click.option("--wait", type=click.FloatRange(min=0), default=60.0, show_default=True, help="Seconds to wait.")
@with_admin_api
@with_output
def shred(api: Api, out: Output, *, tenant_id: str, wait: float) -> None:
    """Shred a tenant: it is absent at once; its executions are ended, its keys destroyed, its rows deleted.

    The command may be repeated, to see how far it is; what it began goes on without it.
    """
    path = f"/v1/tenants/{tenant_id}"
    found = api.delete(path)
    deadline = time.monotonic() + wait
    while found.get("shreddedAt") is None and time.monotonic() < deadline:
        time.sleep(0.5)
        found = api.get(path)
    shown = {"id": tenant_id, "closed": moment(found["closedAt"]), "shredded": moment(found.get("shreddedAt"))}
    out.fields(shown, raw=found)
    if found.get("shreddedAt") is None:
        raise Failed("It is closed, and not shredded yet: is a jobs worker running?")
