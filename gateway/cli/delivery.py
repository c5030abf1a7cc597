"""``gateway delivery …``."""

import click

from gateway.cli.api import Api
from gateway.cli.output import Output, moment, with_output
from gateway.cli.reach import with_api


@click.group()
def delivery() -> None:
    """Deliveries: events on their way to endpoints."""


@delivery.command("list")
@click.option("--endpoint", "endpoint_id", help="Only those to this endpoint.")
@click.option("--status", help="held, pending, failing, delivered, failed or canceled.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@with_api
@with_output
def list_deliveries(api: Api, out: Output, *, endpoint_id: str | None, status: str | None, limit: int) -> None:
    """List deliveries, newest first."""
    found = api.all("/v1/deliveries", limit, endpointId=endpoint_id, status=status)
    rows = [
        (d["id"], d["type"], d["endpointId"], d["status"], d["attempts"], d.get("lastStatus"), moment(d["createdAt"]))
        for d in found
    ]
    columns = ("id", "type", "endpoint", "status", "attempts", "answer", "created")
    out.table(columns, rows, raw=found, empty="There are no such deliveries.")


@delivery.command()
@click.argument("delivery_id", metavar="DELIVERY")
@with_api
@with_output
def show(api: Api, out: Output, *, delivery_id: str) -> None:
    """Show the attempts of a delivery."""
    found = api.get(f"/v1/deliveries/{delivery_id}")
    rows = [
        (
            a["number"],
            moment(a["at"]),
            a.get("status"),
            f"{a['latencyMs']:.0f} ms",
            (a.get("error") or {}).get("message"),
        )
        for a in found["attempts"]
    ]
    out.table(("attempt", "at", "answer", "latency", "error"), rows, raw=found, empty="Nothing was attempted yet.")


@delivery.command()
@click.argument("delivery_id", metavar="DELIVERY")
@with_api
@with_output
def redeliver(api: Api, out: Output, *, delivery_id: str) -> None:
    """Deliver again what is closed."""
    found = api.post(f"/v1/deliveries/{delivery_id}/redeliver")
    out.fields({"id": found["id"], "status": found["status"]}, raw=found)
