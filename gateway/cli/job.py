"""``gateway job …``."""

from typing import Any

import click

from gateway.cli.api import Api
from gateway.cli.json_input import JsonInput
from gateway.cli.live import follow_job
from gateway.cli.output import Output, error_of, moment, with_output
from gateway.cli.reach import with_api


@click.group()
def job() -> None:
    """Jobs: internal chores."""


@job.command()
@click.argument("type_", metavar="TYPE")
@click.option("-p", "--payload", type=JsonInput(), default="{}", show_default=True, help="The plugin's config.")
@click.option("-c", "--credential", "credentials", multiple=True, metavar="SLOT=ID", help="Bind a credential.")
@click.option("--queue", type=click.Choice(("critical", "default", "bulk")))
@click.option("--delay", help='Run later, e.g. "5m".')
@click.option("--at", help="Run at a moment, e.g. 2030-01-31T09:00:00Z.")
@click.option("--ttl", help="Give up when it could not be done for this long.")
@click.option("--timeout", help="Of one attempt.")
@click.option("--max-attempts", "maxAttempts", type=click.IntRange(1, 1000))
@click.option("--retry", type=JsonInput(), help='The back-off, e.g. {"maxAttempts": 9, "maxInterval": "1h"}.')
@click.option("--singleton-key", "singletonKey", help="One job with this key is active at a time.")
@click.option("--singleton-wins", "singletonWins", type=click.Choice(("oldest", "newest")))
@click.option("--debounce", help="Begin when none with the singleton key was asked for during this long.")
@click.option("--on-exhausted", "onExhausted", type=click.Choice(("deadLetter", "promote")))
@click.option("--lane", type=click.Choice(("dramatiq", "temporal")), help="Which engine does it.")
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
    credentials: tuple[str, ...],
    tags: tuple[str, ...],
    key: str | None,
    watched: bool,
    **options: Any,
) -> None:
    """Enqueue a job of TYPE, e.g. email.send."""
    bound = dict(_binding(credential) for credential in credentials) or None
    body = {"type": type_, "payload": payload, "credentials": bound, "tags": list(tags) or None, **options}
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
@click.option("--queue", help="Only those of this queue.")
@click.option("--tag", help="Only those with this tag.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@with_api
@with_output
def list_jobs(api: Api, out: Output, *, type_: str | None, limit: int, **filters: str | None) -> None:
    """List jobs, newest first."""
    found = api.all("/v1/jobs", limit, type=type_, **filters)
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
    out.fields(
        {
            "id": found["id"],
            "type": found.get("type"),
            "queue": found.get("queue"),
            "status": found["status"],
            "attempts": found.get("attempts"),
            "execution": found.get("promotedTo"),
            "error": error_of(found),
            "progress": found.get("progress"),
            "result": found.get("result"),
            "tags": found.get("tags"),
            "created": moment(found.get("createdAt")),
        },
        raw=found,
    )


@job.command()
@click.argument("job_id", metavar="JOB")
@with_api
@with_output
def timeline(api: Api, out: Output, *, job_id: str) -> None:
    """List what happened to a job, attempt by attempt, on both engines."""
    found = api.get(f"/v1/jobs/{job_id}/timeline")["items"]
    rows = [
        (
            moment(m["at"]),
            m.get("status") or m["event"],
            m.get("lane"),
            m.get("attempt"),
            moment(m.get("retryAt")),
            m.get("executionId"),
            error_of(m),
        )
        for m in found
    ]
    columns = ("at", "what", "engine", "attempt", "next", "execution", "error")
    out.table(columns, rows, raw=found, empty="Nothing has happened yet.")


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


def _binding(text: str) -> tuple[str, str]:
    slot, _, credential_id = text.partition("=")
    if not slot or not credential_id:
        raise click.BadParameter(f"{text!r} is not like auth=cred_…", param_hint="--credential")
    return slot, credential_id


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
