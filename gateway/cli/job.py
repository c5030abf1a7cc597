"""``gateway job …``."""

from typing import Any

import click

from gateway.cli.api import Api
from gateway.cli.json_input import JsonInput
from gateway.cli.live import follow_job
from gateway.cli.output import Output, moment, with_output
from gateway.cli.reach import with_api


@click.group()
def job() -> None:
    """Jobs: internal chores, on Dramatiq."""


@job.command()
@click.argument("type_", metavar="TYPE")
@click.option("-p", "--payload", type=JsonInput(), default="{}", show_default=True, help="The plugin's config.")
@click.option("--queue", type=click.Choice(("critical", "default", "bulk")))
@click.option("--delay", help='Run later, e.g. "5m".')
@click.option("--tag", "tags", multiple=True)
@click.option("--key", help="Idempotency key: an equal one answers with the first job.")
@click.option("--watch", "watched", is_flag=True, help="Follow it to its end.")
@with_api
@with_output
def enqueue(
    api: Api,
    out: Output,
    *,
    type_: str,
    payload: Any,
    queue: str | None,
    delay: str | None,
    tags: tuple[str, ...],
    key: str | None,
    watched: bool,
) -> None:
    """Enqueue a job of TYPE, e.g. email.send."""
    body = {"type": type_, "payload": payload, "queue": queue, "delay": delay, "tags": list(tags) or None}
    made = api.post(
        "/v1/jobs",
        {name: value for name, value in body.items() if value is not None},
        headers={"Idempotency-Key": key} if key else None,
    )
    if watched:
        _watch(api, out, made["id"])
    else:
        out.fields({"id": made["id"], "status": made["status"]}, raw=made)


@job.command("list")
@click.option("--status", help="Only those with this status.")
@click.option("--type", "type_", help="Only those of this type.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@with_api
@with_output
def list_jobs(api: Api, out: Output, *, status: str | None, type_: str | None, limit: int) -> None:
    """List jobs, newest first."""
    found = api.all("/v1/jobs", limit, status=status, type=type_)
    rows = [
        (j["id"], j.get("type"), j.get("queue"), j["status"], j.get("attempts"), moment(j.get("createdAt")))
        for j in found
    ]
    columns = ("id", "type", "queue", "status", "attempts", "created")
    out.table(columns, rows, raw=found, empty="There are no such jobs.")


@job.command()
@click.argument("job_id", metavar="JOB")
@with_api
@with_output
def show(api: Api, out: Output, *, job_id: str) -> None:
    """Show a job."""
    found = api.get(f"/v1/jobs/{job_id}")
    error = found.get("error")
    out.fields(
        {
            "id": found["id"],
            "type": found.get("type"),
            "queue": found.get("queue"),
            "status": found["status"],
            "attempts": found.get("attempts"),
            "error": f"{error['type']}: {error['message']}" if error else None,
            "result": found.get("result"),
            "created": moment(found.get("createdAt")),
        },
        raw=found,
    )


@job.command()
@click.argument("job_id", metavar="JOB")
@with_api
@with_output
def watch(api: Api, out: Output, *, job_id: str) -> None:
    """Follow a job to its end. Exit code 0 when it completes, else 1."""
    _watch(api, out, job_id)


@job.command()
@click.argument("job_id", metavar="JOB")
@with_api
@with_output
def cancel(api: Api, out: Output, *, job_id: str) -> None:
    """Cancel a job that waits; ask a running one to stop."""
    _act(api, out, job_id, "cancel")


@job.command()
@click.argument("job_id", metavar="JOB")
@with_api
@with_output
def retry(api: Api, out: Output, *, job_id: str) -> None:
    """Try a job again now."""
    _act(api, out, job_id, "retry")


def _act(api: Api, out: Output, job_id: str, action: str) -> None:
    api.post(f"/v1/jobs/{job_id}/{action}")
    found = api.get(f"/v1/jobs/{job_id}")
    out.fields({"id": found["id"], "status": found["status"]}, raw=found)


def _watch(api: Api, out: Output, job_id: str) -> None:
    closed = follow_job(api, job_id, out.watching)
    if out.as_json:
        out.json(closed)
    if closed["status"] != "completed":
        raise SystemExit(1)
