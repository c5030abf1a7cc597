"""``gateway inbound …``."""

import click

from gateway.cli.api import Api
from gateway.cli.output import Output, moment, with_output
from gateway.cli.reach import with_api


@click.group()
def inbound() -> None:
    """What webhooks and CloudEvents brought, as it came."""


@inbound.command("list")
@click.option("--workflow", "workflow_id", help="Only those for this workflow, by its id.")
@click.option("--trigger", "trigger_id", help="Only those for this trigger.")
@click.option("--verdict", type=click.Choice(["accepted", "unreadable", "refused"]), help="Only what ended so.")
@click.option("--after", "received_after", help="Only those that came after this moment, RFC 3339 with an offset.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@with_api
@with_output
def list_events(
    api: Api,
    out: Output,
    *,
    workflow_id: str | None,
    trigger_id: str | None,
    verdict: str | None,
    received_after: str | None,
    limit: int,
) -> None:
    """List events, newest first."""
    found = api.all(
        "/v1/inbound-events",
        limit,
        workflowId=workflow_id,
        triggerId=trigger_id,
        verdict=verdict,
        receivedAfter=received_after,
    )
    rows = [
        (
            event["id"],
            event["workflowId"],
            event["triggerId"],
            event["deliveryId"],
            event["verdict"],
            event.get("executionId"),
            moment(event["receivedAt"]),
        )
        for event in found
    ]
    columns = ("id", "workflow", "trigger", "delivery", "verdict", "execution", "received")
    out.table(columns, rows, raw=found, empty="There are no such events.")


@inbound.command()
@click.argument("event_id", metavar="EVENT")
@with_api
@with_output
def show(api: Api, out: Output, *, event_id: str) -> None:
    """Show an event as it came."""
    event = api.get(f"/v1/inbound-events/{event_id}")
    out.fields(event | {"receivedAt": moment(event["receivedAt"])}, raw=event)


@inbound.command()
@click.argument("event_id", metavar="EVENT")
@click.option("--to", default="published", show_default=True, help="A version by its number, draft, or published.")
@with_api
@with_output
def redeliver(api: Api, out: Output, *, event_id: str, to: str) -> None:
    """Start a new execution with an event as its trigger."""
    version = int(to) if to.isascii() and to.isdigit() else to
    started = api.post(f"/v1/inbound-events/{event_id}/redeliver", {"version": version})
    out.fields({name: started[name] for name in ("id", "version", "status")}, raw=started)
