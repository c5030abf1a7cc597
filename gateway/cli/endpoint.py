"""``gateway endpoint …``."""

from typing import Any

import click

from gateway.cli.api import Api
from gateway.cli.output import Output, moment, with_output
from gateway.cli.reach import with_api


@click.group()
def endpoint() -> None:
    """Endpoints: where events are told of by webhook."""


@endpoint.command()
@click.argument("url")
@click.option("--event", "events", multiple=True, help='A type, or "invoice.*"; all when none is given.')
@click.option("--description")
@with_api
@with_output
def create(api: Api, out: Output, *, url: str, events: tuple[str, ...], description: str | None) -> None:
    """Keep an endpoint; its signing secret is shown this once."""
    body: dict[str, Any] = {"url": url}
    if events:
        body["events"] = list(events)
    if description:
        body["description"] = description
    _show(out, api.post("/v1/endpoints", body))


@endpoint.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@with_api
@with_output
def list_endpoints(api: Api, out: Output, *, limit: int) -> None:
    """List endpoints, newest first."""
    found = api.all("/v1/endpoints", limit)
    rows = [(e["id"], e["url"], ", ".join(e["events"]), _health(e), moment(e.get("lastDeliveredAt"))) for e in found]
    columns = ("id", "url", "events", "health", "last delivered")
    out.table(columns, rows, raw=found, empty="There are no endpoints yet.")


@endpoint.command()
@click.argument("endpoint_id", metavar="ENDPOINT")
@with_api
@with_output
def show(api: Api, out: Output, *, endpoint_id: str) -> None:
    """Show an endpoint."""
    _show(out, api.get(f"/v1/endpoints/{endpoint_id}"))


@endpoint.command()
@click.argument("endpoint_id", metavar="ENDPOINT")
@click.option("--overlap", help='For so long the secret before signs, too; "24h" when not given.')
@with_api
@with_output
def rotate(api: Api, out: Output, *, endpoint_id: str, overlap: str | None) -> None:
    """Make a new signing secret, which is shown this once."""
    _show(out, api.post(f"/v1/endpoints/{endpoint_id}/rotate", {"overlap": overlap} if overlap else {}))


@endpoint.command()
@click.argument("endpoint_id", metavar="ENDPOINT")
@with_api
@with_output
def test(api: Api, out: Output, *, endpoint_id: str) -> None:
    """Send an endpoint.test event."""
    sent = api.post(f"/v1/endpoints/{endpoint_id}/test")
    out.fields({"delivery": sent["items"][0]["id"]}, raw=sent)


@endpoint.command()
@click.argument("endpoint_id", metavar="ENDPOINT")
@with_api
@with_output
def enable(api: Api, out: Output, *, endpoint_id: str) -> None:
    """Enable an endpoint again."""
    _show(out, api.patch(f"/v1/endpoints/{endpoint_id}", {"enabled": True}))


@endpoint.command()
@click.argument("endpoint_id", metavar="ENDPOINT")
@with_api
@with_output
def disable(api: Api, out: Output, *, endpoint_id: str) -> None:
    """Send nothing more to an endpoint."""
    _show(out, api.patch(f"/v1/endpoints/{endpoint_id}", {"enabled": False}))


@endpoint.command()
@click.argument("endpoint_id", metavar="ENDPOINT")
@click.confirmation_option(prompt="Delete this endpoint, and its deliveries?")
@with_api
def delete(api: Api, endpoint_id: str) -> None:
    """Delete an endpoint."""
    api.delete(f"/v1/endpoints/{endpoint_id}")


def _health(found: Any) -> str:
    if not found["enabled"]:
        return f"disabled: {found['disabled']['reason']}"
    return f"failing, {found['failures']} in a row" if found.get("failingSince") else "ok"


def _show(out: Output, found: Any) -> None:
    out.fields(
        {
            "id": found["id"],
            "url": found["url"],
            "events": ", ".join(found["events"]),
            "description": found.get("description"),
            "health": _health(found),
            "last delivered": moment(found.get("lastDeliveredAt")),
            "secret": found.get("secret"),
            "the one before signs until": moment(found.get("previousSecretUntil")),
        },
        raw=found,
    )
