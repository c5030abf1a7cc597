"""``gateway schedule …``."""

from typing import Any

import click

from gateway.cli.api import Api
from gateway.cli.json_input import JsonInput
from gateway.cli.output import Output, moment, with_output
from gateway.cli.reach import with_api


@click.group()
def schedule() -> None:
    """Schedules: jobs that are made again and again."""


@schedule.command()
@click.argument("type_", metavar="TYPE")
@click.option("--name", help="TYPE when none is given.")
@click.option("--cron", help='Five fields, e.g. "0 9 * * MON-FRI".')
@click.option("--every", help='An interval, e.g. "15m", instead of --cron.')
@click.option("--timezone", help="An IANA name for --cron, e.g. America/New_York.")
@click.option("--jitter", help='Fire up to this much later, e.g. "30s".')
@click.option("--overlap", type=click.Choice(("skip", "allow", "queue", "replace")))
@click.option("--catch-up", "catch_up", help="How late a firing may still make its job.")
@click.option("--missed", type=click.Choice(("latest", "all")), help="Which late firings are made up for.")
@click.option("-p", "--payload", type=JsonInput(), default="{}", show_default=True, help="The plugin's config.")
@click.option("--queue", type=click.Choice(("critical", "default", "bulk")))
@with_api
@with_output
def create(
    api: Api, out: Output, *, type_: str, name: str | None, payload: Any, queue: str | None, **times: str | None
) -> None:
    """Schedule jobs of TYPE."""
    job = {"type": type_, "payload": payload} | ({"queue": queue} if queue else {})
    given = {("catchUp" if key == "catch_up" else key): value for key, value in times.items() if value is not None}
    made = api.post("/v1/job-schedules", {"name": name or type_, "job": job, **given})
    _show(out, made)


@schedule.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@with_api
@with_output
def list_schedules(api: Api, out: Output, *, limit: int) -> None:
    """List schedules, newest first."""
    found = api.all("/v1/job-schedules", limit)
    rows = [
        (
            s["id"],
            s["name"],
            s["job"]["type"],
            s.get("cron") or f"every {s.get('every')}",
            "paused" if s["paused"] else moment(s.get("nextFireAt")),
            (s.get("lastFiring") or {}).get("status"),
        )
        for s in found
    ]
    columns = ("id", "name", "type", "when", "next", "last")
    out.table(columns, rows, raw=found, empty="There are no schedules yet.")


@schedule.command()
@click.argument("schedule_id", metavar="SCHEDULE")
@with_api
@with_output
def show(api: Api, out: Output, *, schedule_id: str) -> None:
    """Show a schedule."""
    _show(out, api.get(f"/v1/job-schedules/{schedule_id}"))


@schedule.command()
@click.argument("schedule_id", metavar="SCHEDULE")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@with_api
@with_output
def firings(api: Api, out: Output, *, schedule_id: str, limit: int) -> None:
    """List what became of its firings, newest first."""
    found = api.all(f"/v1/job-schedules/{schedule_id}/firings", limit)
    rows = [(moment(f["scheduledAt"]), f["status"], f.get("jobId"), f.get("reason")) for f in found]
    out.table(("scheduled", "status", "job", "reason"), rows, raw=found, empty="It has not fired yet.")


@schedule.command()
@click.argument("schedule_id", metavar="SCHEDULE")
@with_api
@with_output
def pause(api: Api, out: Output, *, schedule_id: str) -> None:
    """Let it fire no more."""
    _show(out, api.post(f"/v1/job-schedules/{schedule_id}/pause"))


@schedule.command()
@click.argument("schedule_id", metavar="SCHEDULE")
@with_api
@with_output
def resume(api: Api, out: Output, *, schedule_id: str) -> None:
    """Let it fire again from now on."""
    _show(out, api.post(f"/v1/job-schedules/{schedule_id}/resume"))


@schedule.command()
@click.argument("schedule_id", metavar="SCHEDULE")
@with_api
@with_output
def run(api: Api, out: Output, *, schedule_id: str) -> None:
    """Make its job now."""
    firing = api.post(f"/v1/job-schedules/{schedule_id}/run")
    out.fields({"job": firing["jobId"], "status": firing["status"]}, raw=firing)


@schedule.command()
@click.argument("schedule_id", metavar="SCHEDULE")
@click.confirmation_option(prompt="Delete this schedule?")
@with_api
def delete(api: Api, schedule_id: str) -> None:
    """Delete a schedule; the jobs that it made go on."""
    api.delete(f"/v1/job-schedules/{schedule_id}")


def _show(out: Output, found: Any) -> None:
    last = found.get("lastFiring") or {}
    out.fields(
        {
            "id": found["id"],
            "name": found["name"],
            "type": found["job"]["type"],
            "cron": found.get("cron"),
            "every": found.get("every"),
            "timezone": found.get("timezone") if found.get("cron") else None,
            "jitter": found.get("jitter"),
            "overlap": found.get("overlap"),
            "catch up": found.get("catchUp"),
            "missed": found.get("missed"),
            "paused": found.get("paused"),
            "next": moment(found.get("nextFireAt")),
            "last": f"{last['status']} {last.get('jobId') or ''}" if last else None,
        },
        raw=found,
    )
