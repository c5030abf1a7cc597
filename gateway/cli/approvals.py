"""``gateway approvals …``."""

from typing import Any

import click

from gateway.cli.api import Api
from gateway.cli.output import Output, moment, with_output
from gateway.cli.reach import with_api


@click.group()
def approvals() -> None:
    """Approvals: what executions ask of people."""


@approvals.command("list")
@click.argument("execution_id", metavar="EXECUTION")
@with_api
@with_output
def list_approvals(api: Api, out: Output, *, execution_id: str) -> None:
    """List what an execution waits for, a row for each link. Whoever has a link may decide by it."""
    found = api.get(f"/v1/executions/{execution_id}/approvals")["items"]
    rows = [
        (
            _place(asked),
            asked["title"],
            asked["required"],
            moment(asked.get("deadline")),
            link.get("approver") or "–",
            link.get("decision") or "waiting",
            link["url"],
        )
        for asked in found
        for link in asked["links"]
    ]
    columns = ("node", "asks", "needs", "until", "approver", "decision", "link")
    out.table(columns, rows, raw=found, empty="This execution waits for no approval.")


def _place(asked: dict[str, Any]) -> str:
    """Return the node, with the item and round numbers of the loops around it."""
    numbers = ",".join(str(number) for number in asked["path"])
    return f"{asked['nodeId']} [{numbers}]" if numbers else str(asked["nodeId"])
