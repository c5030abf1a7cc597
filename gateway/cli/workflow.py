"""``gateway workflow …``."""

from pathlib import Path
from typing import Any

import click

from gateway.cli.api import Api
from gateway.cli.errors import Failed, Missing
from gateway.cli.json_input import JsonFile, JsonInput
from gateway.cli.limits import show_workflow as show_caps
from gateway.cli.output import Output, error_of, moment, shortened, with_output
from gateway.cli.reach import with_api


@click.group()
def workflow() -> None:
    """Workflows: what users draw."""


@workflow.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@with_api
@with_output
def list_workflows(api: Api, out: Output, *, limit: int) -> None:
    """List workflows, newest first."""
    found = api.all("/v1/workflows", limit)
    rows = [(w["id"], w["name"], w.get("publishedVersion"), _state(w), moment(w.get("updatedAt"))) for w in found]
    out.table(("id", "name", "version", "state", "updated"), rows, raw=found, empty="There are no workflows yet.")


@workflow.command()
@click.argument("name_or_id", metavar="WORKFLOW")
@with_api
@with_output
def show(api: Api, out: Output, *, name_or_id: str) -> None:
    """Show a workflow by id or name."""
    found = api.get(f"/v1/workflows/{api.workflow_id(name_or_id)}")
    out.fields(
        {
            "id": found["id"],
            "name": found["name"],
            "version": found.get("publishedVersion"),
            "state": _state(found),
            "updated": moment(found.get("updatedAt")),
        },
        raw=found,
    )
    if out.as_json:
        return
    triggers = [(t["id"], t["type"], t.get("url"), moment(t.get("nextFireAt"))) for t in found.get("triggers", ())]
    if triggers:
        out.table(("trigger", "type", "url", "next"), triggers, raw=triggers, empty="")
    _show_faults(out, found.get("faults") or [])


@workflow.command()
@click.option(
    "-f", "--file", "definition", type=JsonFile(), required=True, help="The definition; - reads it from stdin."
)
@with_api
@with_output
def validate(api: Api, out: Output, *, definition: Any) -> None:
    """Check a definition without storing it. Exit code 4 when it has errors."""
    result = api.post("/v1/definitions/validate", {"definition": definition})
    if out.as_json:
        out.json(result)
    else:
        _show_faults(out, result["faults"])
        out.line("[green]valid[/]" if result["valid"] else "[red]not valid[/]")
    if not result["valid"]:
        raise SystemExit(4)


@workflow.command()
@click.option(
    "-f", "--file", "definition", type=JsonFile(), required=True, help="The definition; - reads it from stdin."
)
@click.option("--name", help="Of the workflow; else the definition's own.")
@click.option("--publish", is_flag=True, help="Make it the published version.")
@click.option("--activate", is_flag=True, help="Turn its triggers on.")
@with_api
@with_output
def apply(api: Api, out: Output, *, definition: Any, name: str | None, publish: bool, activate: bool) -> None:
    """Create or update a workflow from a file.

    The workflow is found by its name. What is so already is left alone.
    """
    name = name or (definition.get("name") if isinstance(definition, dict) else None)
    if not name:
        raise click.UsageError("The definition has no name: give one with --name.")
    applied = apply_definition(api, name, definition, publish=publish, activate=activate)
    if out.as_json:
        out.json(applied)
        return
    _show_faults(out, applied.get("faults") or [])
    out.line(f"{applied['id']}  [bold]{name}[/]  version {applied.get('publishedVersion') or '–'}  {_state(applied)}")


@workflow.command("dry-run")
@click.argument("name_or_id", metavar="WORKFLOW")
@click.option("-i", "--input", "input_", type=JsonInput(), help="What expressions see as `input` and `trigger`.")
@click.option("--version", type=click.IntRange(min=1), help="Else the published one.")
@click.option("--draft", is_flag=True, help="The draft, instead of a version.")
@click.option("--pins", type=JsonInput(), help="Outputs that nodes are to come to: {node: output}.")
@with_api
@with_output
def dry_run(
    api: Api, out: Output, *, name_or_id: str, input_: Any, version: int | None, draft: bool, pins: Any
) -> None:
    """Show what an execution would come to, and act on nothing. Exit code 1 when it would not complete.

    What would act or read comes to its pinned output, or to one made from its schema.
    """
    if draft and version is not None:
        raise click.UsageError("--draft has no version: leave out --version.")
    given = {"input": input_, "version": version, "pins": pins}
    body = {name: value for name, value in given.items() if value is not None}
    draft_too = "&draft=true" if draft else ""
    found = api.post(f"/v1/workflows/{api.workflow_id(name_or_id)}/executions?dryRun=true{draft_too}", body)
    if out.as_json:
        out.json(found)
    else:
        rows = [(_place(step), step["status"], step["port"], step["source"], _came_to(step)) for step in found["steps"]]
        out.table(("step", "status", "port", "source", "output, or why"), rows, raw=found, empty="")
        out.fields(
            {
                "would be": found["status"],
                "error": error_of(found),
                "would undo": ", ".join(found["undoes"]),
                "would start": found["errorWorkflow"],
                "output": found["output"],
            },
            raw=found,
        )
    if found["status"] != "completed":
        raise SystemExit(1)


@workflow.command()
@click.argument("name_or_id", metavar="WORKFLOW")
@with_api
@with_output
def publish(api: Api, out: Output, *, name_or_id: str) -> None:
    """Publish the draft as a new version."""
    version = api.post(f"/v1/workflows/{api.workflow_id(name_or_id)}/versions")
    out.fields({"version": version["version"]}, raw=version)


@workflow.command()
@click.argument("name_or_id", metavar="WORKFLOW")
@with_api
@with_output
def activate(api: Api, out: Output, *, name_or_id: str) -> None:
    """Turn a workflow's triggers on."""
    _switch(api, out, name_or_id, "activate")


@workflow.command()
@click.argument("name_or_id", metavar="WORKFLOW")
@with_api
@with_output
def deactivate(api: Api, out: Output, *, name_or_id: str) -> None:
    """Turn a workflow's triggers off."""
    _switch(api, out, name_or_id, "deactivate")


@workflow.command()
@click.argument("name_or_id", metavar="WORKFLOW")
@click.option("--format", "form", type=click.Choice(["python"]), default="python", show_default=True)
@click.option("--version", type=click.IntRange(min=1), help="Instead of the published one.")
@click.option(
    "--output", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write here instead of printing."
)
@with_api
def export(api: Api, *, name_or_id: str, form: str, version: int | None, file: Path | None) -> None:
    """Write a version as code: one Python module with a Temporal workflow.

    Serve it with `gateway worker user-workflows --module FILE`.
    """
    id = api.workflow_id(name_or_id)
    if version is None:
        version = api.get(f"/v1/workflows/{id}").get("publishedVersion")
    if version is None:
        raise Missing(f"Nothing of {name_or_id!r} is published; see `gateway workflow publish`.")
    text = api.text(f"/v1/workflows/{id}/versions/{version}/export", format=form)
    if file is None:
        click.echo(text, nl=False)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failed(f"{file} cannot be written: {error.strerror}.") from error


@workflow.command()
@click.argument("name_or_id", metavar="WORKFLOW")
@click.confirmation_option(prompt="Delete this workflow and its triggers?")
@with_api
def delete(api: Api, name_or_id: str) -> None:
    """Delete a workflow."""
    api.delete(f"/v1/workflows/{api.workflow_id(name_or_id)}")


@workflow.command("limits")
@click.argument("name_or_id", metavar="WORKFLOW")
@click.option("--concurrent-executions", "concurrentExecutions", type=click.IntRange(1), help="Under way at a time.")
@click.option("--starts-per-minute", "startsPerMinute", type=click.IntRange(1))
@click.option("--payload-bytes", "payloadBytes", type=click.IntRange(1), help="Of one input, as JSON.")
@click.option("--monthly-executions", "monthlyExecutions", type=click.IntRange(1))
@click.option("--policy", type=click.Choice(["queue", "reject", "replaceOldest", "skip"]), help="Over a cap.")
@click.option("--reset", is_flag=True, help="Take what the published version draws, but for what is given.")
@with_api
@with_output
def limits(api: Api, out: Output, *, name_or_id: str, reset: bool, **given: Any) -> None:
    """Show the caps of a workflow, or change those given without a new version; a change holds at once."""
    path = f"/v1/workflows/{api.workflow_id(name_or_id)}/limits"
    found = api.get(path)
    changed = {name: value for name, value in given.items() if value is not None}
    if changed or reset:
        kept = {name: cap["limit"] for name, cap in found["caps"].items() if cap["source"] == "override"}
        if found["policySource"] == "override":
            kept["policy"] = found["policy"]
        found = api.put(path, changed if reset else kept | changed)
    show_caps(out, found)


def apply_definition(api: Api, name: str, definition: Any, *, publish: bool, activate: bool) -> dict[str, Any]:
    """Make the workflow called `name` be as described, and return it as it then is.

    What is so already is left alone: applied twice, a definition makes one version.
    """
    known = api.find_workflow(name)
    if known is None:
        known = api.post("/v1/workflows", {"name": name, "definition": definition})
    elif known["draft"] != definition:
        api.put(f"/v1/workflows/{known['id']}/draft", definition)
    path = f"/v1/workflows/{known['id']}"
    if publish and not _is_published(api, path, known.get("publishedVersion"), definition):
        api.post(f"{path}/versions")
    if activate and not known.get("active"):
        api.post(f"{path}/activate")
    applied: dict[str, Any] = api.get(path)
    return applied


def _is_published(api: Api, path: str, version: int | None, definition: Any) -> bool:
    return version is not None and bool(api.get(f"{path}/versions/{version}")["definition"] == definition)


def _switch(api: Api, out: Output, name_or_id: str, action: str) -> None:
    id = api.workflow_id(name_or_id)
    api.post(f"/v1/workflows/{id}/{action}")
    found = api.get(f"/v1/workflows/{id}")
    out.fields({"id": id, "name": found["name"], "state": _state(found)}, raw=found)


def _state(workflow: dict[str, Any]) -> str:
    if workflow.get("active"):
        return "active"
    return "published" if workflow.get("publishedVersion") else "draft"


def _place(step: dict[str, Any]) -> str:
    return ".".join((step["nodeId"], *map(str, step["path"])))


def _came_to(step: dict[str, Any]) -> str:
    if error := error_of(step):
        return error
    shown = [] if step["source"] is None else [shortened(step["output"])]
    return "; ".join([*shown, *([step["reason"]] if step["reason"] else [])])


def _show_faults(out: Output, faults: list[dict[str, Any]]) -> None:
    if faults:
        rows = [(f.get("severity"), f.get("pointer") or "/", f.get("message"), f.get("code")) for f in faults]
        out.table(("", "where", "what", "code"), rows, raw=faults, empty="")
