"""``gateway audit``."""

import click

from gateway.cli.api import Api
from gateway.cli.output import Output, moment, with_output
from gateway.cli.reach import with_api


@click.command()
@click.option("--action", help="Operation of the API, e.g. publish_draft.")
@click.option("--actor", help="Id of a key.")
@click.option("--object", "object_id", help="Id of what was acted on, or made.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@with_api
@with_output
def audit(api: Api, out: Output, *, action: str | None, actor: str | None, object_id: str | None, limit: int) -> None:
    """List who did what to which object, newest first."""
    query = {"action": action, "actor": actor, "objectId": object_id}
    found = api.all("/v1/audit", limit, **{name: value for name, value in query.items() if value is not None})
    rows = [
        (
            moment(record["at"]),
            record["actor"],
            record["action"],
            record.get("objectId") or record.get("outcome", {}).get("madeId", ""),
            record.get("outcome", {}).get("status", "unknown"),
        )
        for record in found
    ]
    out.table(("at", "actor", "action", "object", "status"), rows, raw=found, empty="Nobody has done anything yet.")
