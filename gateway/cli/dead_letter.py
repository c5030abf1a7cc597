"""``gateway dead-letter …``."""

from collections.abc import Callable
from typing import Any

import click

from gateway.cli.api import Api
from gateway.cli.json_input import JsonInput
from gateway.cli.output import Output, error_of, moment, with_output
from gateway.cli.reach import with_api


@click.group("dead-letter")
def dead_letter() -> None:
    """Dead letters: jobs that failed for good, kept until somebody decides."""


def _filtered(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which dead letters are meant, named as the API names them."""
    for option in reversed(
        (
            click.option("--type", "type", help="Only those of this type."),
            click.option("--tag", help="Only those with this tag."),
            click.option("--error", "errorType", help='Only those that failed so, e.g. "http.503", or "http" for all.'),
            click.option("--died-after", "closedAfter", help="At or after a moment, e.g. 2030-01-31T09:00:00Z."),
            click.option("--died-before", "closedBefore", help="Before a moment."),
        )
    ):
        command = option(command)
    return command


@dead_letter.command("list")
@_filtered
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@with_api
@with_output
def list_letters(api: Api, out: Output, *, limit: int, **filters: str | None) -> None:
    """List dead letters, newest first."""
    found = api.all("/v1/dead-letters", limit, **filters)
    rows = [(j["id"], j["type"], j["attempts"], moment(j.get("closedAt")), error_of(j)) for j in found]
    columns = ("id", "type", "attempts", "died", "error")
    out.table(columns, rows, raw=found, empty="There are no such dead letters.")


@dead_letter.command()
@click.argument("job_id", metavar="JOB")
@with_api
@with_output
def show(api: Api, out: Output, *, job_id: str) -> None:
    """Show a dead letter, its payload included."""
    _show(out, api.get(f"/v1/jobs/{job_id}"))


@dead_letter.command()
@click.argument("job_id", metavar="JOB")
@click.option("-p", "--payload", type=JsonInput(), required=True, help="Instead of the one that it has.")
@with_api
@with_output
def edit(api: Api, out: Output, *, job_id: str, payload: Any) -> None:
    """Give a dead letter another payload before it is replayed."""
    _show(out, api.patch(f"/v1/dead-letters/{job_id}", {"payload": payload}))


@dead_letter.command()
@click.argument("job_ids", metavar="[JOB]...", nargs=-1)
@_filtered
@click.option("--all", "everything", is_flag=True, help="All there are, when nothing narrows them down.")
@click.option("--rate", type=click.FloatRange(0, 1000, min_open=True), help="So many a second; 10 when not said.")
@click.option("--max-error-rate", type=click.FloatRange(0, 1), help="Stop when more than this share fails again.")
@with_api
@with_output
def replay(
    api: Api,
    out: Output,
    *,
    job_ids: tuple[str, ...],
    everything: bool,
    rate: float | None,
    max_error_rate: float | None,
    **filters: str | None,
) -> None:
    """Start dead letters over: those that are named, or those that the options mean."""
    wanted: dict[str, Any] = {name: value for name, value in filters.items() if value is not None}
    if job_ids:
        wanted["ids"] = list(job_ids)
    if not wanted and not everything:
        raise click.UsageError("name dead letters, narrow them down with options, or say --all")
    speed = {"ratePerSecond": rate, "maxErrorRate": max_error_rate}
    body = {"filter": wanted, **{name: value for name, value in speed.items() if value is not None}}
    _show_replay(out, api.post("/v1/dead-letters/replay", body))


@dead_letter.command()
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@with_api
@with_output
def replays(api: Api, out: Output, *, limit: int) -> None:
    """List replays, newest first."""
    found = api.all("/v1/dead-letters/replays", limit)
    rows = [
        (r["id"], r["status"], r["replayed"], r["completed"], r["failed"], r["open"], moment(r["createdAt"]))
        for r in found
    ]
    columns = ("id", "status", "put back", "completed", "failed again", "under way", "created")
    out.table(columns, rows, raw=found, empty="Nothing was replayed yet.")


@dead_letter.command("replay-status")
@click.argument("replay_id", metavar="REPLAY")
@with_api
@with_output
def replay_status(api: Api, out: Output, *, replay_id: str) -> None:
    """Show how far a replay is, and what has become of what it put back."""
    _show_replay(out, api.get(f"/v1/dead-letters/replays/{replay_id}"))


@dead_letter.command("replay-stop")
@click.argument("replay_id", metavar="REPLAY")
@with_api
@with_output
def replay_stop(api: Api, out: Output, *, replay_id: str) -> None:
    """Put no more back."""
    _show_replay(out, api.post(f"/v1/dead-letters/replays/{replay_id}/stop"))


def _show(out: Output, found: dict[str, Any]) -> None:
    out.fields(
        {
            "id": found["id"],
            "type": found["type"],
            "status": found["status"],
            "attempts": found["attempts"],
            "error": error_of(found),
            "payload": found["payload"],
            "tags": found["tags"],
            "execution": found.get("promotedTo"),
            "died": moment(found.get("closedAt")),
        },
        raw=found,
    )


def _show_replay(out: Output, found: dict[str, Any]) -> None:
    out.fields(
        {
            "id": found["id"],
            "status": found["status"],
            "reason": found.get("reason"),
            "rate": f"{found['ratePerSecond']:g} a second",
            "put back": found["replayed"],
            "completed": found["completed"],
            "failed again": found["failed"],
            "under way": found["open"],
        },
        raw=found,
    )
