"""``gateway demo``: the example workflow, installed and run for all to see."""

import time
from typing import Any

import click
import httpx
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from gateway.cli.api import Api
from gateway.cli.errors import Failed, Unreachable
from gateway.cli.live import follow_execution, follow_job
from gateway.cli.output import make_console, printable
from gateway.cli.program import command
from gateway.cli.reach import open_api, with_folder
from gateway.cli.workflow import apply_definition
from gateway.demo import price_alert
from gateway.up.folder import DataFolder

_MAIL_PATIENCE = 30.0
_MAIL_POLL = 0.2


@click.command()
@with_folder
def demo(folder: DataFolder) -> None:
    """Run the example workflow and show its mails.

    Installs it on a running `gateway up` first, if it is not there yet.
    """
    console = make_console()
    run_demo(folder, console)
    show_next(folder, console)


def run_demo(folder: DataFolder, console: Console) -> None:
    """Show the example from its definition to both mails.

    Raises:
        Failed: it does not end as it should.
    """
    dev = folder.read_dev()
    if dev is None:
        raise Unreachable(f"No gateway is ready on {folder.path}. Start one with `gateway up`.")
    with open_api(folder) as api:
        for title, message_id in _run_example(api, console):
            console.print(_mail_panel(_await_mail(dev.mail_url, message_id), title))


def _run_example(api: Api, console: Console) -> list[tuple[str, str]]:
    """Run it to its end; return who sent each mail, and its message id."""
    definition = price_alert()
    workflow = apply_definition(api, definition["name"], definition, publish=True, activate=True)
    console.print(
        f"\n[bold]{escape(workflow['name'])}[/] ({workflow['id']}, version {workflow['publishedVersion']}) runs on "
        "weekdays at 9:00 in New York, and now:"
    )
    started = api.post(f"/v1/workflows/{workflow['id']}/executions")
    execution = follow_execution(api, started["id"], console)
    if execution["status"] != "completed":
        raise Failed(f"The example did not complete; see `gateway execution show {execution['id']}`.")
    outputs = {step["nodeId"]: step["output"] for step in api.get(f"/v1/executions/{execution['id']}/steps")["items"]}
    console.print("\nIts last step queued a job:")
    job = follow_job(api, outputs["receipt"]["jobId"], console)
    if job["status"] != "completed":
        raise Failed(f"The job of the example did not complete; see `gateway job show {job['id']}`.")
    return [
        ("by a step on Temporal", outputs["mail"]["messageId"]),
        ("by a job on Dramatiq", job["result"]["messageId"]),
    ]


def show_next(folder: DataFolder, console: Console) -> None:
    console.print("\n[dim]Try next:[/]")
    for text in ("execution list", "workflow show 'Price alert'", "job list", "plugin list"):
        console.print(f"  {escape(command(text, folder))}", soft_wrap=True)


def _await_mail(mail_url: str, message_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + _MAIL_PATIENCE
    while time.monotonic() < deadline:
        try:
            mails = httpx.get(mail_url, trust_env=False).json()
        except httpx.TransportError as error:
            raise Unreachable(f"The mail catcher does not answer at {mail_url} ({error}).") from None
        for mail in mails:
            if mail["messageId"].strip("<>") == message_id.strip("<>"):
                return dict(mail)
        time.sleep(_MAIL_POLL)
    raise Failed(f"The mail {message_id} was sent but did not arrive at {mail_url}; is GATEWAY_SMTP_URL set?")


def _mail_panel(mail: dict[str, Any], sender: str) -> Panel:
    body = f"[dim]From[/]     {escape(mail['from'])}\n[dim]To[/]       {escape(mail['to'])}\n"
    body += f"[dim]Subject[/]  [bold]{escape(mail['subject'])}[/]\n\n{escape(printable(mail['text'] or ''))}"
    return Panel(body, title=f"Mail sent {sender}", title_align="left", expand=False, padding=(0, 2))
