"""``gateway execution …``."""

from collections.abc import Mapping
from typing import Any

import click

from gateway.cli.api import Api
from gateway.cli.json_input import JsonInput
from gateway.cli.live import follow_execution, steps_table
from gateway.cli.output import Output, error_of, moment, seconds_between, with_output
from gateway.cli.reach import with_api

_STATUSES = ("queued", "running", "paused", "completed", "failed", "canceled", "terminated", "timedOut")


@click.group()
def execution() -> None:
    """Executions: one run of one version of a workflow."""


@execution.command()
@click.argument("name_or_id", metavar="WORKFLOW")
@click.option("-i", "--input", "input_", type=JsonInput(), help="What expressions see as `input` and `trigger`.")
@click.option("--version", type=click.IntRange(min=1), help="Else the published one.")
@click.option("--tag", "tags", multiple=True)
@click.option("--delay", help='Start later, e.g. "5m".')
@click.option("--key", help="Idempotency key: an equal one answers with the first execution.")
@click.option("--watch", "watched", is_flag=True, help="Follow it to its end.")
@with_api
@with_output
def start(
    api: Api,
    out: Output,
    *,
    name_or_id: str,
    input_: Any,
    version: int | None,
    tags: tuple[str, ...],
    delay: str | None,
    key: str | None,
    watched: bool,
) -> None:
    """Start an execution of a workflow, given by id or name."""
    body = {"input": input_, "version": version, "tags": list(tags) or None, "delay": delay}
    started = api.post(
        f"/v1/workflows/{api.workflow_id(name_or_id)}/executions",
        {name: value for name, value in body.items() if value is not None},
        headers={"Idempotency-Key": key} if key else None,
    )
    if watched:
        _watch(api, out, started["id"])
    else:
        out.fields({"id": started["id"], "status": started["status"]}, raw=started)


@execution.command("list")
@click.option("--workflow", "name_or_id", help="Of this workflow, by id or name.")
@click.option("--status", type=click.Choice(_STATUSES))
@click.option("--tag")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@with_api
@with_output
def list_executions(
    api: Api, out: Output, *, name_or_id: str | None, status: str | None, tag: str | None, limit: int
) -> None:
    """List executions, newest first."""
    workflow_id = api.workflow_id(name_or_id) if name_or_id else None
    found = api.all("/v1/executions", limit, workflowId=workflow_id, status=status, tag=tag)
    rows = [
        (
            e["id"],
            e["workflowId"],
            e.get("version"),
            e["status"],
            moment(e.get("startedAt")),
            seconds_between(e.get("startedAt"), e.get("closedAt")),
        )
        for e in found
    ]
    columns = ("id", "workflow", "version", "status", "started", "took")
    out.table(columns, rows, raw=found, empty="There are no such executions.")


@execution.command()
@click.argument("execution_id", metavar="EXECUTION")
@with_api
@with_output
def show(api: Api, out: Output, *, execution_id: str) -> None:
    """Show an execution and its steps."""
    found = api.get(f"/v1/executions/{execution_id}")
    steps = api.get(f"/v1/executions/{execution_id}/steps")["items"]
    predicted = api.get(f"/v1/workflows/{found['workflowId']}/versions/{found['version']}")["plan"]
    out.fields(
        {
            "id": found["id"],
            "workflow": f"{found['workflowId']} version {found.get('version')}",
            "status": found["status"],
            "error": error_of(found),
            "trigger": (found.get("trigger") or {}).get("type"),
            "started": moment(found.get("startedAt")),
            "took": seconds_between(found.get("startedAt"), found.get("closedAt")),
            "history events": _beside(found, predicted, "historyEvents"),
            "billable actions": _beside(found, predicted, "billableActions"),
            "input": found.get("input"),
            "output": found.get("output"),
        },
        raw=found | {"steps": steps, "predicted": predicted},
    )
    if not out.as_json:
        out.console.print(steps_table(steps))


def _beside(found: Mapping[str, Any], predicted: Mapping[str, Any], figure: str) -> str | None:
    """Return what an execution cost, and what had been predicted for one in which all goes well."""
    return None if found[figure] is None else f"{found[figure]} (predicted {predicted[figure]})"


@execution.command()
@click.argument("execution_id", metavar="EXECUTION")
@click.argument("node_id", metavar="NODE")
@click.option("--path", help="Item and round numbers of the loops around the node, e.g. 3,0.")
@with_api
@with_output
def why(api: Api, out: Output, *, execution_id: str, node_id: str, path: str | None) -> None:
    """Say why a node ran, waits, was skipped or has not begun."""
    found = api.get(f"/v1/executions/{execution_id}/why/{node_id}", path=path)
    out.fields(
        {"status": found["status"], "reason": found["reason"], "since": moment(found["since"])}
        | {f"waits for {each['nodeId']}": each["reason"] for each in found["waitingFor"]},
        raw=found,
    )


@execution.command()
@click.argument("execution_id", metavar="EXECUTION")
@with_api
@with_output
def watch(api: Api, out: Output, *, execution_id: str) -> None:
    """Follow an execution to its end. Exit code 0 when it completes, else 1."""
    _watch(api, out, execution_id)


@execution.command()
@click.argument("execution_id", metavar="EXECUTION")
@with_api
@with_output
def cancel(api: Api, out: Output, *, execution_id: str) -> None:
    """Cancel an execution: its steps may clean up."""
    _end(api, out, execution_id, "cancel")


@execution.command()
@click.argument("execution_id", metavar="EXECUTION")
@with_api
@with_output
def terminate(api: Api, out: Output, *, execution_id: str) -> None:
    """End an execution at once, whatever it does."""
    _end(api, out, execution_id, "terminate")


def _end(api: Api, out: Output, execution_id: str, action: str) -> None:
    api.post(f"/v1/executions/{execution_id}/{action}")
    found = api.get(f"/v1/executions/{execution_id}")
    out.fields({"id": found["id"], "status": found["status"]}, raw=found)


@execution.command()
@click.argument("execution_id", metavar="EXECUTION")
@with_api
@with_output
def pause(api: Api, out: Output, *, execution_id: str) -> None:
    """Let nothing new begin; what runs may finish."""
    _control(api, out, execution_id, "pause")


@execution.command()
@click.argument("execution_id", metavar="EXECUTION")
@with_api
@with_output
def resume(api: Api, out: Output, *, execution_id: str) -> None:
    """Let a paused execution go on."""
    _control(api, out, execution_id, "resume")


@execution.command()
@click.argument("execution_id", metavar="EXECUTION")
@click.argument("node_id", metavar="NODE")
@with_api
@with_output
def skip(api: Api, out: Output, *, execution_id: str, node_id: str) -> None:
    """Skip a node that has not ended; what hangs on it alone is skipped too."""
    _control(api, out, execution_id, "skip", {"nodeId": node_id})


@execution.command()
@click.argument("execution_id", metavar="EXECUTION")
@click.option("--dry-run", is_flag=True, help="Show what would run, and do nothing.")
@with_api
@with_output
def retry(api: Api, out: Output, *, execution_id: str, dry_run: bool) -> None:
    """Let a failed execution go on from its failed nodes."""
    if dry_run:
        _foresee(out, api.post(f"/v1/executions/{execution_id}/retry?dryRun=true"))
    else:
        _control(api, out, execution_id, "retry")


@execution.command()
@click.argument("execution_id", metavar="EXECUTION")
@click.argument("node_id", metavar="NODE")
@click.option("-i", "--input", "input_", type=JsonInput(), help="What the node sees as `input`, else what arrives.")
@click.option("--dry-run", is_flag=True, help="Show what would run, and do nothing.")
@with_api
@with_output
def rerun(api: Api, out: Output, *, execution_id: str, node_id: str, input_: Any, dry_run: bool) -> None:
    """Run a node, and what follows from it, again in a new execution."""
    body = {"fromNode": node_id} | ({} if input_ is None else {"input": input_})
    _again(api, out, f"/v1/executions/{execution_id}/rerun", body, dry_run)


@execution.command()
@click.argument("execution_id", metavar="EXECUTION")
@click.option("--version", type=click.IntRange(min=1), help="Else the same.")
@click.option("--dry-run", is_flag=True, help="Show what would run, and do nothing.")
@with_api
@with_output
def replay(api: Api, out: Output, *, execution_id: str, version: int | None, dry_run: bool) -> None:
    """Run everything again in a new execution, with the same input."""
    body = {} if version is None else {"version": version}
    _again(api, out, f"/v1/executions/{execution_id}/replay", body, dry_run)


def _again(api: Api, out: Output, path: str, body: dict[str, Any], dry_run: bool) -> None:
    if dry_run:
        _foresee(out, api.post(f"{path}?dryRun=true", body))
        return
    started = api.post(path, body)
    out.fields({"id": started["id"], "origin": started["originId"], "status": started["status"]}, raw=started)


def _foresee(out: Output, redo: dict[str, Any]) -> None:
    repeats = [f"{repeat['nodeId']} ({repeat['effect']})" for repeat in redo["repeats"]]
    shown = {"reused": redo["reused"], "runs": redo["runs"], "may act again": repeats}
    out.fields({name: ", ".join(nodes) or "none" for name, nodes in shown.items()}, raw=redo)


def _control(api: Api, out: Output, execution_id: str, verb: str, body: Any = None) -> None:
    found = api.post(f"/v1/executions/{execution_id}/{verb}", body)
    out.fields({"id": found["id"], "status": found["status"]}, raw=found)


def _watch(api: Api, out: Output, execution_id: str) -> None:
    closed = follow_execution(api, execution_id, out.watching)
    if out.as_json:
        out.json(closed)
    if closed["status"] != "completed":
        raise SystemExit(1)
