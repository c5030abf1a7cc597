"""``gateway limits`` and, for the administrator, ``gateway tenant limits``."""

from typing import Any

import click

from gateway.cli.api import Api
from gateway.cli.output import Output, with_output
from gateway.cli.reach import with_api

_CAPS = {
    "concurrentExecutions": "executions at a time",
    "startsPerMinute": "starts per minute",
    "payloadBytes": "bytes of an input",
    "monthlyExecutions": "executions per month",
    "jobsPerMinute": "jobs per minute",
}

_COLUMNS = ("OF", "CAP", "LIMIT", "USED", "SET BY")


@click.command()
@with_api
@with_output
def limits(api: Api, out: Output) -> None:
    """Show the caps of your tenant and its workflows, what is used of them now, and where each comes from."""
    found = api.get("/v1/limits")
    show(out, found["tenant"], raw=found)


def show(out: Output, tenant: dict[str, Any], *, raw: Any) -> None:
    """Print caps as a table."""
    rows = _rows("tenant", tenant["caps"] | {"jobsPerMinute": tenant["jobsPerMinute"]})
    for workflow in tenant["workflows"]:
        rows += _rows_of_workflow(workflow)
    out.table(_COLUMNS, rows, raw=raw, empty="there are no caps")
    out.line(f"\n{tenant['queued']} executions wait for a slot")


def show_workflow(out: Output, workflow: dict[str, Any]) -> None:
    """Print the caps of one workflow, and its policy."""
    policy = [workflow["workflowId"], "over a cap", workflow["policy"], None, workflow["policySource"]]
    out.table(_COLUMNS, [*_rows_of_workflow(workflow), policy], raw=workflow, empty="")


def _rows_of_workflow(workflow: dict[str, Any]) -> list[list[Any]]:
    return [row for row in _rows(workflow["workflowId"], workflow["caps"]) if row[2] is not None]


def _rows(whose: str, caps: dict[str, Any]) -> list[list[Any]]:
    return [
        [whose, title, caps[name]["limit"], caps[name]["used"], caps[name]["source"]]
        for name, title in _CAPS.items()
        if name in caps
    ]
