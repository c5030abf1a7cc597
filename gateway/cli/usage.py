"""``gateway usage``."""

import click

from gateway.cli.api import Api
from gateway.cli.output import Output, moment, with_output
from gateway.cli.reach import with_api


@click.command()
@click.option("--since", help="RFC 3339 time; by default the beginning of this month.")
@click.option("--until", help="RFC 3339 time; by default now.")
@with_api
@with_output
def usage(api: Api, out: Output, *, since: str | None, until: str | None) -> None:
    """Show what your tenant has used, and what that may cost."""
    used = api.get("/v1/usage", since=since, until=until)
    executions, jobs, cost = used["executions"], used["jobs"], used.get("estimatedCost")
    fields = {
        "since": moment(used["since"]),
        "until": moment(used["until"]),
        "executions": executions["executions"],
        "steps": executions["steps"],
        "history events": executions["historyEvents"],
        "billable actions": executions["billableActions"],
        "jobs": jobs["jobs"],
        "attempts of jobs": jobs["attempts"],
        "estimated cost": "no price table" if cost is None else f"{cost['amount']} {cost['currency']}",
    }
    out.fields(fields, raw=used)
