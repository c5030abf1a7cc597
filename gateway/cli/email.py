"""``gateway email …``."""

from typing import Any

import click

from gateway.cli.api import Api
from gateway.cli.json_input import JsonFile, JsonInput
from gateway.cli.output import Output, moment, with_output
from gateway.cli.reach import with_api


@click.group()
def email() -> None:
    """Mails: who they come from, and the templates of email.sendTemplate."""


@email.command()
@click.option("--from", "from_", help="The sender of mails that name none.")
@click.option("--reply-to", help="Where answers to them go.")
@with_api
@with_output
def sender(api: Api, out: Output, *, from_: str | None, reply_to: str | None) -> None:
    """Show who mails come from, or with an option settle it anew."""
    is_new = from_ is not None or reply_to is not None
    path = "/v1/email-sender"
    shown = api.put(path, {"from": from_ or None, "replyTo": reply_to or None}) if is_new else api.get(path)
    fields = {"from": shown["from"], "reply to": shown["replyTo"], "allowed": ", ".join(shown["allowed"])}
    out.fields(fields, raw=shown)


@email.group()
def template() -> None:
    """Templates of mails, by name."""


@template.command("list")
@with_api
@with_output
def list_templates(api: Api, out: Output) -> None:
    """List templates."""
    found = api.get("/v1/email-templates")["items"]
    rows = [(each["name"], each["subject"], moment(each["updatedAt"])) for each in found]
    out.table(("name", "subject", "updated"), rows, raw=found, empty="There are no templates yet.")


@template.command()
@click.argument("name")
@with_api
@with_output
def show(api: Api, out: Output, *, name: str) -> None:
    """Show a template."""
    _show(out, api.get(f"/v1/email-templates/{name}"))


@template.command()
@click.argument("name")
@click.option("-f", "--file", type=JsonFile(), required=True, help='{"subject": …, "text": …, "html": …}')
@with_api
@with_output
def apply(api: Api, out: Output, *, name: str, file: Any) -> None:
    """Store a template, in place of an earlier one of its name."""
    _show(out, api.put(f"/v1/email-templates/{name}", file))


@template.command()
@click.argument("name")
@click.option("--data", type=JsonInput(), default=dict, help="What it is filled in with.")
@with_api
@with_output
def render(api: Api, out: Output, *, name: str, data: Any) -> None:
    """Fill in a template, and send nothing."""
    _show(out, api.post(f"/v1/email-templates/{name}/render", {"data": data}))


@template.command()
@click.argument("name")
@click.confirmation_option(prompt="Delete this template? Mails that name it will fail.")
@with_api
def delete(api: Api, name: str) -> None:
    """Delete a template."""
    api.delete(f"/v1/email-templates/{name}")


def _show(out: Output, shown: Any) -> None:
    out.fields({part: shown.get(part) for part in ("name", "subject", "text", "html")}, raw=shown)
